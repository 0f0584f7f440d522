"""The schedulers on which the suite of campaigns runs, and the words that are expected of each."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...support import slurm
from ...support.campaigns import LONG, LoginNode, login, running_jobs, write_site
from ...support.local import Here, processes, until

N4 = threading.Lock()
"""Held by the one campaign that uses node n4 of the Slurm, or sets it down."""

NOT_ON_N4 = "#SBATCH --exclude=n4"


@dataclass(frozen=True)
class Words:
    """What users are to read in the scheduler's own words.

    Attributes:
        setup_failed: Printed when the site file's ``setup`` fails in a block.
        unknown_queue, unknown_account: Printed when the scheduler refuses a block.
        walltime: In the log when a block used up its walltime.
        cancelled: In the log when a block was ended by hand; ``{job}`` is the scheduler's id.
        node_failure: In the log when a block's node went down; empty where the scheduler does not tell.
        server_away: In the status while the scheduler does not answer.
        job_limit: In the log when the queue takes no more jobs of the user.
    """

    setup_failed: Sequence[str]
    unknown_queue: str
    unknown_account: str
    walltime: str
    cancelled: Sequence[str]
    node_failure: str = ""
    server_away: str = ""
    job_limit: str = ""


@dataclass(frozen=True)
class Lab:
    """A scheduler with four nodes on which campaigns run: emulated, except for Slurm.

    Attributes:
        name: In the names of the tests.
        scheduler: As the site file calls it.
        nodes: Host names.
        launcher: The one that starts workers on all nodes of a block of several.
        words: What is expected of the scheduler.
        queue: The default one.
        long_trials: Two trials that take longer than a walltime of one minute; the second one never
            reports, and so cannot yield.
        minute: Settings of a machine on which a minute is as long as ``long_trials`` expect.
        bad_setup: A ``setup`` that fails with ``conda: command not found``.
        bad_queue, bad_account: Names that the scheduler does not know.
        rerun: An option of a block that lets the scheduler run it again.
        rerun_wait: Settings of the emulated machine for that.
        no_history: Settings of a machine that forgets jobs once they have ended.
        spread: Keys of a pool whose blocks are to share no node.
        blocks_at_first: Of the two blocks that a campaign on all nodes may have.
        gpu_pool, gpu_machine: Of a campaign whose trials take a GPU each: keys of its pool, settings of the machine.
        ranks_pool: Keys of a pool whose trials take several nodes.
        pool: Keys that each pool has.
        machine: Settings that each emulated machine has.
    """

    name: str
    scheduler: str
    nodes: Sequence[str]
    launcher: str
    words: Words
    queue: str
    long_trials: Sequence[Mapping[str, Any]]
    bad_setup: str
    bad_queue: str
    bad_account: str
    minute: Mapping[str, Any] = field(default_factory=dict)
    rerun: str = ""
    rerun_wait: Mapping[str, Any] = field(default_factory=dict)
    no_history: Mapping[str, Any] = field(default_factory=dict)
    spread: Mapping[str, Any] = field(default_factory=dict)
    blocks_at_first: int = 2
    gpu_pool: Mapping[str, Any] = field(default_factory=dict)
    gpu_machine: Mapping[str, Any] = field(default_factory=dict)
    ranks_pool: Mapping[str, Any] = field(default_factory=dict)
    pool: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)

    @property
    def accounts(self) -> Mapping[str, Any]:
        """Settings of a machine that knows the account ``proj`` and no other."""
        return {"accounts": ["proj"]}

    def network(self, key: str) -> Mapping[str, Any]:
        """A site file's ``network``, with its ``address`` or ``interface``; empty where all nodes are this host."""
        return {}

    def login(
        self, folder: Path, pool: Mapping[str, Any] | None = None, site: Mapping[str, Any] | None = None, **machine: Any
    ) -> AbstractContextManager[LoginNode]:
        """A user's folder, with a site file of one pool, on the login node of a machine.

        Args:
            folder: A new one.
            pool: More keys of the pool ``cpu``.
            site: More keys of the site file.
            machine: More settings of the emulated machine; Slurm has none.
        """
        settings = {"nodes": 4, **self.machine, **machine}
        return login(folder, self.scheduler, {**self.pool, **(pool or {})}, site, **settings)

    def all_nodes(
        self, folder: Path, pool: Mapping[str, Any] | None = None, site: Mapping[str, Any] | None = None, **machine: Any
    ) -> AbstractContextManager[LoginNode]:
        """The same for a campaign that needs all four nodes at once."""
        return self.login(folder, pool, site, **machine)


@dataclass(frozen=True)
class SlurmLab(Lab):
    """The tests' real Slurm, which all campaigns share: each one uses some cores of its nodes.

    Attributes:
        slurm: The running one; None until the fixture ``campaigns`` has started it.
    """

    slurm: slurm.Lab | None = None

    @property
    def accounts(self) -> Mapping[str, Any]:
        return {}  # this Slurm has accounts already, and refuses others

    def network(self, key: str) -> Mapping[str, Any]:
        assert self.slurm is not None
        return {"network": {key: {"address": self.slurm.head, "interface": self.slurm.network.bridge}[key]}}

    def login(
        self, folder: Path, pool: Mapping[str, Any] | None = None, site: Mapping[str, Any] | None = None, **machine: Any
    ) -> AbstractContextManager[LoginNode]:
        assert self.slurm is not None
        assert not machine, "the settings of a real Slurm stay"
        options = [NOT_ON_N4, *(pool or {}).get("options", [])]
        return nullcontext(SlurmLogin(self.slurm, folder, {**(pool or {}), "options": options}, site))

    @contextmanager
    def all_nodes(
        self, folder: Path, pool: Mapping[str, Any] | None = None, site: Mapping[str, Any] | None = None, **machine: Any
    ) -> Iterator[LoginNode]:
        assert self.slurm is not None
        assert not machine, "the settings of a real Slurm stay"
        with N4:
            yield SlurmLogin(self.slurm, folder, pool or {}, site)


class SlurmLogin(LoginNode):
    """A user of the tests' Slurm."""

    def __init__(self, lab: slurm.Lab, folder: Path, pool: Mapping[str, Any], site: Mapping[str, Any] | None = None):
        super().__init__(Here(folder, **lab.environment), lab)
        # Blocks of one core, so that several fit on a node.
        usual = {"exclusive": False, "cores_per_node": 1, **({} if "shapes" in pool else {"walltime": "10m"})}
        write_site(self.here, "slurm", {**usual, **pool}, **{"account": slurm.ACCOUNTS[0], **(site or {})})

    def cancel(self, job: str) -> None:
        self.machine.run("scancel", job)

    def rerun(self, job: str) -> None:
        self.machine.run("scontrol", "requeue", job)

    def suspend(self, job: str) -> None:
        self.machine.run("scontrol", "suspend", job)

    def resume(self, job: str) -> None:
        self.machine.run("scontrol", "resume", job)

    @property
    def scheduler(self) -> str:
        return "slurm"

    def runs_of(self, job: str) -> int:
        return int(self.machine.job(job)["Restarts"]) + 1

    def submitted(self) -> int:
        return len(running_jobs(self.here))

    def nothing_is_left(self) -> None:
        def jobs() -> set[str]:
            return set(running_jobs(self.here)) & set(self.machine.run("squeue", "-h", "-o", "%i").stdout.split())

        until(lambda: not jobs(), "no job is left", LONG)
        until(lambda: not processes(self.here), "no process of the user is left", LONG)


def equal_trials(seconds: int) -> list[Mapping[str, Any]]:
    """Two trials of a second an epoch and 1.2 times as long as ``seconds``."""
    trial = {"epochs": int(1.2 * seconds), "seconds": 1.0}
    return [trial, {**trial, "how": "deaf", "every": 5}]


ECHO_SETUP = "echo 'conda: command not found' >&2\nexit 1"
START_FAILED = "ended before any worker could reach the driver"

SLURM = SlurmLab(
    "slurm",
    "slurm",
    slurm.NODES,
    "srun",
    Words(
        setup_failed=(f"{START_FAILED} (FAILED: NonZeroExitCode: exit code 1)", "conda: command not found"),
        unknown_queue="pool cpu: the scheduler refused the block: sbatch: error: invalid partition specified: nowhere",
        unknown_account="Invalid account or account/partition combination specified",
        walltime="ended: walltime (TIMEOUT",
        cancelled=("job {job}, ended: cancelled (CANCELLED",),
    ),
    queue="batch",
    # Slurm ends jobs up to 30 s after their walltime, so the trial that cannot yield has to be longer.
    long_trials=[{"epochs": 60, "seconds": 1.0}, {"epochs": 95, "seconds": 1.0, "how": "deaf", "every": 5}],
    bad_setup="conda activate tuning || exit 1",
    bad_queue="nowhere",
    bad_account="somebody",
    rerun="#SBATCH --requeue",
    spread={"options": ["#SBATCH --gres=place:1"]},  # each node has one
    gpu_pool={"cores_per_node": 2, "launcher": "srun"},
    ranks_pool={"launcher": "srun", "cores_per_node": 2},
)

PBS = Lab(
    "pbs",
    "pbs",
    ["node1", "node2", "node3", "node4"],
    "mpiexec",
    Words(
        setup_failed=(START_FAILED, "conda: command not found"),
        unknown_queue="pool cpu: the scheduler refused the block: qsub: Unknown queue",
        unknown_account="qsub: Request rejected.  Reason:  No active allocation found for project nobody",
        walltime="exceeded resource walltime, Exit_status -29",
        cancelled=("job {job}, ended: cancelled", "and terminated"),
        node_failure="ended: node failure",
        server_away="cannot connect to server pbshead",
        job_limit="would exceed queue workq's per-user limit",
    ),
    queue="workq",
    long_trials=equal_trials(60),
    bad_setup=ECHO_SETUP,
    bad_queue="nosuch",
    bad_account="nobody",
    rerun="#PBS -r y",
    rerun_wait={"requeue_wait": 3.0},
    no_history={"history": False},
    ranks_pool={"launcher": "mpiexec"},
    machine={
        "history": True,
        "late": 0.5,
        "kill_delay": 10.0,
        "exiting": 0.3,
        "starting": 0.2,
        "node_fail_requeue": 2.0,
    },
)

COBALT_WORDS = Words(
    setup_failed=(f"{START_FAILED} (exit code 1)", "Its last output: conda: command not found"),
    unknown_queue="the scheduler refused the block: <Fault 1001: \"trying to add job to non-existent queue 'nosuch'",
    unknown_account="<Fault 1001: 'Project nobody does not exist or has no allocation'>",
    walltime="maximum execution time exceeded; initiating job termination",
    cancelled=("job {job}, ended: cancelled (user delete requested with signal SIGTERM",),
    server_away="component error: Failed to connect to queue-manager",
    job_limit="The limit of 1 jobs per user in the 'default' queue has been reached",
)


def cobalt(name: str, system: str, nodes: Sequence[str]) -> Lab:
    return Lab(
        name,
        "cobalt",
        nodes,
        "aprun",
        COBALT_WORDS,
        queue="default",
        long_trials=equal_trials(45),
        bad_setup=ECHO_SETUP,
        bad_queue="nosuch",
        bad_account="nobody",
        minute={"minute": 45.0},
        blocks_at_first=1,
        gpu_pool={"launcher": "single"},
        gpu_machine={"nodes": 1, "gpus": 2},
        pool={"launcher": "aprun"},
        machine={"system": system, "late": 0.5, "force_kill_delay": 10.0, "exiting": 0.3, "starting": 0.2},
    )


# On the Cray a block's script runs on a node of its own, and aprun starts the workers on the block's nodes.
CRAY = cobalt("cobalt-cray", "cray", ["nid00001", "nid00002", "nid00003", "nid00004"])
CLUSTER = cobalt("cobalt-cluster", "cluster", ["node1", "node2", "node3", "node4"])
