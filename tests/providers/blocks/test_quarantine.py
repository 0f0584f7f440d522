"""Blocks and workers on quarantined hosts, with a fake scheduler."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from pilotune.pipeline.trial.protocol import AttemptSpec, ObjectiveSpec
from pilotune.pipeline.worker.run_attempt import run_attempt
from pilotune.providers.blocks.monitor import PoolSnapshot
from pilotune.providers.blocks.pool_blocks import ASSEMBLY_TIME, LOSS_LIMIT, PAUSES
from pilotune.providers.htex.executors import host_of
from pilotune.providers.htex.pool import ParslPool
from pilotune.providers.node.agent import Launch, command_line, pool_name
from pilotune.providers.schedulers.jobs import SubmitRefused
from pilotune.providers.schedulers.slurm import SlurmBlocks
from pilotune.providers.site import PoolSpec, Site

from ...support.trial_driver import make_spec
from .test_monitor import MINUTE, Lab


class Ward(Lab):
    """Blocks of two nodes, one worker pool of two workers on each."""

    def __init__(self, folder: Path, *, excludes: bool = False, **counts: int):
        super().__init__(folder, **counts)
        self.blocks._excluding = self.scheduler.excludes = excludes

    def join(self, number: str, host: str, tasks: int = 0) -> None:
        """A worker pool of the block connects."""
        self.connect(number, tasks)
        self.connected[f"{number} {host}"] = {**self.connected.pop(number), "manager": f"{host}-1", "host": host}

    def finish(self, *hosts: str) -> None:
        """The trials there end."""
        for each in self.connected.values():
            if each["host"] in hosts:
                each["tasks"] = 0

    def leave(self, number: str) -> None:
        """The worker pools of a block disconnect."""
        self.connected = {key: each for key, each in self.connected.items() if each["block_id"] != number}

    def quarantine(self, *hosts: str) -> None:
        self.blocks.quarantined |= set(hosts)

    def land_badly(self) -> None:
        """The newest block is placed on quarantined hosts, and is ended."""
        number = self.blocks.blocks[-1].number
        for host in ("bad", "worse"):
            self.join(number, host)
        self.turn(seconds=1.0)
        self.leave(number)
        self.turn(seconds=1.0)


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    return Ward(tmp_path)


# -- blocks -----------------------------------------------------------------------------------------------------------


def test_worker_pools_on_a_quarantined_host_get_no_more_trials_and_do_not_count(ward: Ward) -> None:
    ward.join("0", "good", tasks=2)
    ward.join("0", "bad", tasks=1)
    ward.turn(demand=2)
    assert (ward.blocks.workers, ward.blocks.capacity, ward.blocks.hosts) == (4, 4, {"good", "bad"})
    ward.quarantine("bad")
    ward.turn(demand=2)
    assert ward.held == ["bad-1"]
    assert (ward.blocks.workers, ward.blocks.capacity, ward.blocks.hosts) == (2, 3, {"good"}), "what runs there goes on"
    ward.finish("good", "bad")
    ward.turn(demand=2)
    assert (ward.blocks.capacity, ward.living) == (2, ["0"]), "the good half of the block stays"
    ward.join("0", "late")
    ward.join("0", "bad")
    ward.turn(demand=2)
    assert ward.held == ["bad-1", "bad-1"], "one that connects later as well"


def test_a_block_whose_hosts_are_all_quarantined_ends_when_its_trials_have_and_the_next_is_kept_away(
    tmp_path: Path,
) -> None:
    ward = Ward(tmp_path, excludes=True)
    for host in ("bad", "worse"):
        ward.join("0", host, tasks=1)
    ward.turn(demand=2)
    ward.quarantine("worse", "bad")
    ward.turn(demand=2)
    assert ward.living == ["0"], "what runs there goes on"
    ward.finish("bad", "worse")
    ward.turn(demand=2)
    assert ward.living == ["1"]
    assert ward.blocks.blocks[0].released == "quarantined: bad, worse"
    assert ward.scheduler.kept_away == [(), ("bad", "worse")]
    assert not ward.blocks.note


def test_a_block_is_not_ended_before_all_its_nodes_had_time_to_connect(ward: Ward) -> None:
    ward.quarantine("bad")
    ward.join("0", "bad")
    ward.turn(demand=2)
    ward.turn(demand=2, seconds=ASSEMBLY_TIME / 2)
    assert ward.living == ["0"]
    ward.join("0", "good")
    for _ in range(3):
        ward.turn(demand=2)
    assert ward.living == ["0"]


def test_if_the_scheduler_cannot_exclude_hosts_replacements_pause_and_end(ward: Ward) -> None:
    ward.quarantine("bad", "worse")
    for count in range(1, LOSS_LIMIT):
        ward.land_badly()
        assert len(ward.scheduler.submitted) == count
        assert "next block at" in ward.blocks.note
        assert "was on bad, worse, quarantined" in ward.blocks.note
        pause = PAUSES[min(count, len(PAUSES)) - 1]
        ward.turn(demand=2, seconds=pause - 5.0)
        assert len(ward.scheduler.submitted) == count
        ward.turn(demand=2, seconds=10.0)
        assert len(ward.scheduler.submitted) == count + 1
    ward.land_badly()
    ward.turn(demand=2, seconds=3600.0)
    assert f"{LOSS_LIMIT} blocks in a row were on quarantined hosts" in ward.blocks.failure


def test_a_block_on_another_host_ends_the_row(ward: Ward) -> None:
    ward.quarantine("bad", "worse")
    for _ in range(LOSS_LIMIT - 1):
        ward.land_badly()
        ward.turn(demand=2, seconds=PAUSES[-1])
    number = ward.blocks.blocks[-1].number
    ward.join(number, "good")
    ward.turn(demand=4, seconds=1.0)
    for _ in range(2):
        ward.turn(demand=4, seconds=PAUSES[-1])
        ward.land_badly()
    assert not ward.blocks.failure
    assert "in a row were on quarantined hosts" not in ward.blocks.note


def test_if_the_scheduler_does_not_know_the_hosts_blocks_are_submitted_without_exclusion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward = Ward(tmp_path, init=0, excludes=True)
    submit = ward.scheduler.submit

    def knows_none(*arguments: str) -> str:
        if ward.scheduler.excluded:
            raise SubmitRefused("sbatch: error: invalid node name specified", transient=False)
        return str(submit(*arguments))

    monkeypatch.setattr(ward.scheduler, "submit", knows_none)
    ward.quarantine("bad", "worse")
    ward.turn(demand=2)
    assert (ward.living, ward.blocks.failure) == (["0"], "")
    ward.land_badly()
    assert "next block at" in ward.blocks.note, "from then on it pauses as others do"


def test_a_refusal_for_another_reason_is_reported_in_the_schedulers_words(tmp_path: Path) -> None:
    ward = Ward(tmp_path, init=0, excludes=True)
    ward.quarantine("bad")
    ward.scheduler.refuses = SubmitRefused("invalid partition", transient=False)
    ward.turn(demand=2)
    assert ward.blocks.failure == "the scheduler refused the block: invalid partition"


# -- several pools ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("avoid", "home"),
    [([], "large"), (["a"], "large"), (["a", "b"], "small"), (["c"], "large"), (["a", "b", "c"], "large")],
)
def test_an_attempt_goes_to_a_pool_with_hosts_that_are_to_run_it(avoid: list[str], home: str) -> None:
    managed = SimpleNamespace(dropped=False, executor=SimpleNamespace(bad_state_is_set=False))
    snapshot = PoolSnapshot(
        workers={"large": 8, "small": 1}, hosts={"large": frozenset({"a", "b"}), "small": frozenset({"c"})}
    )
    monitor = SimpleNamespace(pools={"large": managed, "small": managed}, snapshot=snapshot)
    pool = SimpleNamespace(monitor=monitor, _load={"large": 1, "small": 1})
    assert ParslPool._choose(pool, AttemptSpec.from_dict(make_spec(Path("/tmp"), ObjectiveSpec(), avoid=avoid))) == home


# -- Slurm ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "excluded", "words"),
    [
        ((), (), []),
        ((), ("n1", "n2.cluster.edu"), ["--exclude=n1,n2"]),
        (("#SBATCH --exclude=n[7-9]",), (), []),
        (("#SBATCH --exclude=n[7-9]",), ("n1",), ["--exclude=n[7-9],n1"]),
        (("#SBATCH -C gpu -x n4", "#SBATCH --comment=a-x"), ("n1",), ["--exclude=n4,n1"]),
    ],
)
def test_slurm_excludes_hosts_of_the_site_file_and_of_the_quarantine(
    options: tuple[str, ...], excluded: tuple[str, ...], words: list[str], tmp_path: Path
) -> None:
    """The option on the command line replaces the one in the script."""
    pool = PoolSpec("cpu", walltime=MINUTE, options=options)
    provider = SlurmBlocks.for_pool(Site("lab", "slurm", (pool,), tmp_path), pool, "")
    provider.excluded = excluded
    assert provider.submit_command(tmp_path / "a.sh") == ["sbatch", "--parsable", *words, str(tmp_path / "a.sh")]


# -- workers ----------------------------------------------------------------------------------------------------------


def test_the_driver_knows_a_worker_pools_host_by_its_name() -> None:
    name = pool_name()
    assert command_line(Launch(("--uid={uid}",)), "0", name, []) == [f"--uid={name}"]
    assert host_of(name) == socket.gethostname()
    assert host_of("node-17.cluster.edu-0123456789ab") == "node-17.cluster.edu"
    assert pool_name() != name, "two on one host are two"


def test_a_worker_declines_what_its_host_is_to_leave_to_others(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, ObjectiveSpec(command="false"), avoid=["elsewhere", socket.gethostname()])
    outcome = run_attempt(spec)
    assert (outcome["kind"], outcome["host"]) == ("declined", socket.gethostname())
    assert outcome["leaving"] is False, "its worker pool is not held for that: it may run others"
    assert not (tmp_path / "trials").exists()
