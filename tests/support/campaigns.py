"""Runs campaigns side by side: site and study files, an objective that notes each epoch, and the results."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
import yaml
from optuna.trial import FrozenTrial

from .emulators.install import Emulated, install
from .local import NOTE, Here, ended, processes, until

LONG = 240.0
"""Seconds within which each wait of a campaign ends, also on a machine with much other work."""

LAST_OF_LOG = 8_000
"""Characters of a driver's log that a failure shows."""

Case = Callable[..., Any]
Test = TypeVar("Test", bound=Callable[..., None])
Key = TypeVar("Key")

# -- side by side ------------------------------------------------------------------------------------------------


def campaign(case: Case, *others: Case) -> Callable[[Test], Test]:
    """Marks a test of the result of ``case``, a function that runs a campaign.

    ``side_by_side`` calls it in a thread before the test is due, with a new folder and its own further arguments.
    ``others``: further campaigns that the test asks for itself.
    """

    def mark(test: Test) -> Test:
        test.case, test.cases = case, (case, *others)  # type: ignore[attr-defined]
        return test

    return mark


@contextmanager
def in_threads(calls: Mapping[Key, Callable[[], Any]], at_once: int) -> Iterator[Mapping[Key, Future[Any]]]:
    """Make the calls in their order, ``at_once`` of them at a time; those not yet begun are dropped at the end."""
    with ThreadPoolExecutor(at_once) as threads:
        try:
            yield {key: threads.submit(call) for key, call in calls.items()}
        finally:
            threads.shutdown(cancel_futures=True)


def told_by_drivers(case: Case, folder: Path, *given: Any) -> Any:
    """Call ``case(folder, *given)``. If it fails, the traceback ends with the logs of the drivers in ``folder``."""
    try:
        return case(folder, *given)
    except BaseException as failure:
        for log in sorted(folder.rglob("driver.log")):
            failure.add_note(f"{log.relative_to(folder)}:\n{log.read_text(errors='replace')[-LAST_OF_LOG:]}")
        raise


@contextmanager
def side_by_side(
    request: pytest.FixtureRequest, folder: Path, at_once: int, *given: Any
) -> Iterator[Mapping[Case, Future[Any]]]:
    """Run the campaigns of all tests of this module that are selected, in their order, ``at_once`` at a time.

    Each is called with a folder below ``folder`` and ``given``.
    """
    tests = [item.function for item in request.session.items if getattr(item, "module", None) is request.module]
    cases: list[Case] = list(dict.fromkeys(case for test in tests for case in getattr(test, "cases", ())))
    calls = {case: partial(told_by_drivers, case, folder / case.__name__, *given) for case in cases}
    with in_threads(calls, at_once) as running:
        yield running


# -- sites and studies ------------------------------------------------------------------------------------------------


def write_site(here: Here, scheduler: str, pool: Mapping[str, Any], **more: Any) -> Path:
    """Write ``lab.yaml`` with one pool ``cpu``; the scheduler is polled every second. ``more``: keys of the site."""
    usual = {"workers_per_node": 1} if "shapes" in pool else {"walltime": "10m", "workers_per_node": 1}
    pools = {"cpu": {**usual, **pool}}
    site = {"name": "lab", "scheduler": scheduler, "poll": "1s", "runs": str(here.runs), **more, "pools": pools}
    return here.write("lab.yaml", yaml.safe_dump(site, sort_keys=False))


EPOCHS = (
    NOTE
    + """
import socket, subprocess, time

def hosts():
    lines = (STUDY / "notes").read_text().split()
    return {line.split(":")[3] for line in lines}

def objective(trial):
    wish = trial.params
    saved = trial.checkpoint_dir / "epoch"
    first = int(saved.read_text()) + 1 if saved.exists() else 1
    if "helper" in wish["how"]:  # it outlives its parent, and the job's session does not have it
        subprocess.Popen(["sleep", "3600"], start_new_session=True)
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    for epoch in range(first, wish["epochs"] + 1):
        time.sleep(wish["seconds"])
        if epoch % wish["every"] == 0:
            draft = saved.with_name("draft")
            draft.write_text(str(epoch))
            draft.replace(saved)
        note(trial.number, trial.attempt, epoch, socket.gethostname(), gpus, os.environ["PILOTUNE_POOL"])
        if wish["how"] == "together" and len(hosts()) >= wish["hosts"]:
            break
        if "deaf" not in wish["how"]:
            trial.report(epoch, step=epoch)
        if "told" in wish["how"] and (STUDY / "go").exists():
            break
    return float(trial.number)
"""
)
"""An objective that computes epochs, notes each of them, and saves every ``every``-th one.

``how``: ``reports`` reports each epoch; ``deaf`` reports none, and so cannot yield; ``until told`` ends when the file
``go`` exists; ``together`` ends when epochs were computed on ``hosts`` hosts.
"""

ENDLESS, DEAF = {"how": "until told"}, {"how": "deaf until told"}
TOGETHER = {"how": "together", "hosts": 4}

HELPED = {"how": "deaf until told, with a helper"}

DEFAULTS: Mapping[str, Any] = {"epochs": 100_000, "seconds": 0.1, "every": 1, "hosts": 1, "how": "reports"}
HOWS = ["reports", "deaf", "until told", "deaf until told", "together", HELPED["how"]]


def write_study(here: Here, *trials: Mapping[str, Any], **more: Any) -> Path:
    """Write ``epochs.yaml`` with EPOCHS and these trials, each with DEFAULTS for what it leaves out."""
    points = [{**DEFAULTS, **trial, "n": n} for n, trial in enumerate(trials)]
    study = {
        "direction": "maximize",
        "space": {
            "n": {"int": [0, 99]},
            "epochs": {"int": [1, 100_000]},
            "seconds": {"float": [0.0, 10.0]},
            "every": {"int": [1, 100_000]},
            "hosts": {"int": [1, 99]},
            "how": {"choice": HOWS},
        },
        "sampler": "random",
        "start_from": {"enqueue": points},
        "budget": {"trials": len(points)},
        **more,
    }
    return here.study("epochs", EPOCHS, yaml.safe_dump(study, sort_keys=False))


# -- results ----------------------------------------------------------------------------------------------


class Epoch(NamedTuple):
    """An epoch that was computed: by which attempt of which trial, and where."""

    number: int
    attempt: int
    epoch: int
    host: str
    gpus: str
    pool: str


def computed(here: Here) -> list[Epoch]:
    """The epochs that trials noted, in order."""
    found = []
    for line in here.lines("notes"):
        number, attempt, epoch, host, gpus, pool = line.split(":")
        found.append(Epoch(int(number), int(attempt), int(epoch), host, gpus, pool))
    return found


def computed_again(epochs: list[Epoch], every: int = 1) -> list[Epoch]:
    """Epochs that were computed although their trial had saved them already, or by an attempt with a successor.

    ``every``: How often the trials save.
    """
    saved: dict[int, tuple[int, int]] = {}  # trial -> the attempt that saved last, and its epoch
    wrong = []
    for each in epochs:
        attempt, last = saved.get(each.number, (0, 0))
        if each.attempt < attempt or each.epoch <= last:
            wrong.append(each)
        if each.epoch % every == 0:
            saved[each.number] = (each.attempt, each.epoch)
    return wrong


@dataclass(frozen=True)
class Result:
    """A campaign that has ended.

    Attributes:
        here: The user's folder.
        code: Exit code of ``pilotune run``.
        out, err: What it printed.
        trials: The study, as plain Optuna reads it.
        epochs: What the trials noted.
        ends: Job name -> how that block ended, by the campaign's record.
        jobs: Job name -> the scheduler's id.
        log: The driver's log.
    """

    here: Here
    code: int
    out: str
    err: str
    trials: list[FrozenTrial]
    epochs: list[Epoch]
    ends: dict[str, str]
    jobs: dict[str, str]
    log: str

    @property
    def hosts(self) -> set[str]:
        """The hosts on which epochs were computed."""
        return {each.host for each in self.epochs}

    def attempts(self, number: int) -> int:
        """How many attempts of a trial computed an epoch."""
        return len({each.attempt for each in self.epochs if each.number == number})


def run_folder(here: Here, name: str = "epochs") -> Path:
    """The run directory of the newest campaign."""
    return max((here.runs / name).glob("2*-*/"), key=lambda path: path.name)


def records(here: Here, name: str = "epochs") -> list[dict[str, Any]]:
    """The events of the newest campaign's job log; none before it is written."""
    path = run_folder(here, name) / "jobs.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def running_jobs(here: Here, name: str = "epochs") -> list[str]:
    """The scheduler's ids of the jobs that the newest campaign submitted, in order."""
    return [event["job"] for event in records(here, name) if event["event"] == "submitted"]


def finish(here: Here, process: Any, name: str = "epochs") -> Result:
    """Wait for a campaign's end, whatever its exit code."""
    out, err = process.communicate(timeout=LONG)
    assert (here.runs / name).exists(), f"no campaign began: {out}{err}"
    events = records(here, name)
    return Result(
        here,
        process.returncode,
        out,
        err,
        here.optuna(name).trials,
        computed(here),
        {event["name"]: event["ended"] for event in events if event["event"] == "ended"},
        {event["name"]: event["job"] for event in events if event["job"]},
        (run_folder(here, name) / "driver.log").read_text(),
    )


# -- on a login node ---------------------------------------------------------------------------------------------------


@contextmanager
def login(
    folder: Path, scheduler: str, pool: Mapping[str, Any], site: Mapping[str, Any] | None, **machine: Any
) -> Iterator[LoginNode]:
    """A user on the login node of a new emulated machine, with a site file.

    Args:
        folder: A new folder for both.
        scheduler: Of the machine: ``pbs`` or ``cobalt``.
        pool: More keys of the pool ``cpu``.
        site: More keys of the site file.
        machine: Settings of the machine, see emulators/install.py.
    """
    with install(folder / scheduler, scheduler, **machine) as emulated:
        here = Here(folder / "home", **emulated.env)
        network = {"address": "127.0.0.1"}  # all nodes are this host
        write_site(here, scheduler, {"cores_per_node": 2, **pool}, network=network, **(site or {}))
        yield LoginNode(here, emulated)


JOB_VARIABLES = {"pbs": "PBS_JOBID", "cobalt": "COBALT_JOBID", "slurm": "SLURM_JOB_ID"}
"""What tells a process the id of its job, by scheduler."""


class LoginNode:
    """A user on a machine's login node: the user's folder ``here``, and the emulated ``machine``."""

    def __init__(self, here: Here, machine: Emulated):
        self.here, self.machine = here, machine

    def start(self, *trials: Mapping[str, Any], **study: Any) -> AbstractContextManager[subprocess.Popen[str]]:
        """Start ``pilotune run`` with a study of these trials."""
        write_study(self.here, *trials, **study)
        return self.start_again()

    def start_again(self) -> AbstractContextManager[subprocess.Popen[str]]:
        """Start ``pilotune run`` with the study that is there."""
        return ended(self.here.start("run", "epochs.yaml", "--site", "lab"))

    def let_trials_end(self) -> None:
        """Trials that run ``until told`` end."""
        self.here.write("go", "")

    def cancel(self, job: str) -> None:
        """End a job by hand."""
        self.command("qdel", job)

    def rerun(self, job: str) -> None:
        """Have the scheduler put a running job back into its queue."""
        self.machine.rerun(job)

    def suspend(self, job: str) -> None:
        """Have the scheduler suspend a running job."""
        self.command("qsig", "-s", "suspend", job)

    def resume(self, job: str) -> None:
        """Let a suspended job go on."""
        self.command("qsig", "-s", "resume", job)

    def left_of(self, job: str) -> dict[int, str]:
        """The processes that were started by a job and still run: command lines by process id."""
        found, mark = {}, f"{JOB_VARIABLES[self.scheduler]}={job}"
        for pid, words in processes(self.here).items():
            with suppress(OSError):
                if mark in Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0"):
                    found[pid] = words
        return found

    @property
    def scheduler(self) -> str:
        """The machine's scheduler."""
        return str(self.machine.machine.read().scheduler)

    def runs_of(self, job: str) -> int:
        """How often the scheduler has started a job."""
        return self.machine.job(job).runs

    def submitted(self) -> int:
        """How many jobs the scheduler was given, whether or not the campaign recorded them."""
        return len([entry for entry in self.machine.accounting() if entry["event"] == "submitted"])

    def command(self, *words: str) -> None:
        """Run a command of the scheduler, which has to succeed."""
        subprocess.run(words, cwd=self.here.folder, env=self.here.environment, check=True, capture_output=True)

    def await_epochs(self, trials: int, attempt: int = 1, epochs: int = 3) -> None:
        """Wait until ``trials`` trials have computed ``epochs`` epochs in an attempt, or a later one."""

        def reached() -> bool:
            far = {each.number for each in computed(self.here) if each.attempt >= attempt and each.epoch >= epochs}
            return len(far) >= trials

        until(reached, f"{trials} trials have computed {epochs} epochs in attempt {attempt}", LONG)

    def finish(self, process: subprocess.Popen[str]) -> Result:
        """Wait for the campaign's end; nothing of it may be left running."""
        result = finish(self.here, process)
        self.nothing_is_left()
        return result

    def nothing_is_left(self) -> None:
        """Wait until no job is left, and no process of a job or of the user."""
        until(lambda: not self.machine.processes(), "no job is left", LONG)
        assert not [job for job in self.machine.jobs() if job.phase != "ended"]
        until(lambda: not processes(self.here), "no process of the user is left", LONG)

    def run_ranks(self) -> tuple[Result, list[list[str]]]:
        """Two trials side by side, each with two ranks on each of two nodes; the host names that their ranks wrote."""
        here = self.here
        here.write("rank.sh", 'echo "$(uname -n)" >> "$1"\n')
        here.write("trial.sh", RANKS_TRIAL.replace("STUDY", str(here.folder)))
        here.write("epochs.yaml", RANKS.replace("STUDY", str(here.folder)))
        with self.start_again() as process:
            return self.finish(process), [here.lines(f"ranks-{n}") for n in range(2)]

    def run_python_ranks(self, trial: str = "{nodes: 2, ranks: 4}") -> Result:
        """Three trials, each with a Python objective in two ranks on each of two nodes; the last one is pruned.

        The ranks meet at rank 0, as ``torch.distributed`` does, and note where they are and what they hear.
        """
        here = self.here
        here.study("epochs", MEETING, f"{PYTHON_RANKS}trial: {trial}\n")
        with self.start_again() as process:
            return self.finish(process)


MEETING = (
    NOTE
    + """
import socket, time

def meet(address):
    while True:
        try:
            return socket.create_connection(address, 60)
        except ConnectionRefusedError:  # rank 0 is late
            time.sleep(0.05)

def objective(trial):
    address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    if trial.rank == 0:
        with socket.create_server(address, backlog=8) as server:
            others = [server.accept()[0] for _ in range(trial.world_size - 1)]
            heard = sum(int(each.makefile().readline()) for each in others)
    else:
        with meet(address) as first:
            first.sendall(b"%d\\n" % trial.rank)
            heard = 6
    where = socket.gethostname(), os.environ["LOCAL_RANK"], os.environ["GROUP_RANK"], trial.world_size, heard
    last = "complete"
    for step in range(1, 4):
        try:
            trial.report(1.0 - trial.params["n"] / 10, step=step)
        except BaseException as error:
            last = type(error).__name__
            raise
        finally:
            if step == 3 or last != "complete":
                with open(STUDY / "ranks", "a") as file:
                    print(trial.number, trial.rank, *where, step, last, sep=":", file=file)
    return float(heard)
"""
)
PYTHON_RANKS = """
direction: maximize
space: {n: {int: [0, 2]}}
sampler: random
pruner: {name: threshold, lower: 0.85, n_warmup_steps: 2}
start_from: {enqueue: [{n: 0}, {n: 1}, {n: 2}]}
budget: {trials: 3}
"""

RANKS = """
name: epochs
command: {run: 'sh STUDY/trial.sh {n} {launcher}', reports: file}
direction: maximize
space: {n: {int: [0, 1]}}
sampler: random
start_from: {enqueue: [{n: 0}, {n: 1}]}
budget: {trials: 2}
trial: {nodes: 2, ranks_per_node: 2}
"""
RANKS_TRIAL = """
n=$1
shift
"$@" sh STUDY/rank.sh STUDY/ranks-$n
echo "{\\"value\\": $(wc -l < STUDY/ranks-$n)}" >> "$PILOTUNE_REPORTS"
"""


# -- checks -----------------------------------------------------------------------------------------------------------


def check_nodes(seen: Result, nodes: Sequence[str], blocks: int) -> None:
    """Each of the four trials ran once, on a node of its own, in ``blocks`` blocks."""
    assert seen.code == 0, seen.out + seen.err
    assert sorted(seen.hosts) == sorted(nodes)
    assert [trial.value for trial in seen.trials] == [0.0, 1.0, 2.0, 3.0]
    assert [seen.attempts(number) for number in range(4)] == [1, 1, 1, 1]
    assert len(seen.jobs) == blocks
