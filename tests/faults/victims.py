"""Which process plays which part in a campaign on this machine, found from a trial that runs."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ..local import Here, processes, until
from .experiment import Experiment
from .ledger import Start


def parent(pid: int) -> int:
    """0 where there is no such process any more."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def ancestors(pid: int) -> list[int]:
    """The nearest first, up to init."""
    found: list[int] = []
    while (pid := parent(pid)) > 1:
        found.append(pid)
    return found


def running(experiment: Experiment) -> Start:
    """An attempt in its midst, of the newest driver."""

    def look() -> Start | None:
        assert experiment.driver is not None
        assert experiment.driver.poll() is None, f"the campaign has ended:\n{experiment.said()}"
        folder, ledger = experiment.run_folder(), experiment.ledger()
        for start in ledger.running() if folder else ():
            steps = [step for number, attempt, step, _, _ in ledger.steps
                     if (number, attempt) == (start.number, start.attempt)]  # fmt: skip
            if steps and max(steps) < experiment.steps - 1 and folder in " ".join(map(words, ancestors(start.pid))):
                return start
        return None

    start: Start = until(look, f"a trial runs:\n{experiment.log()[-2000:]}")
    return start


def worker(trial: int) -> int:
    """The worker whose trial has this process: its fork server lies between."""
    return parent(parent(trial))


def manager(trial: int) -> int:
    """Parsl's worker pool above a trial's process."""
    return _above(trial, "process_worker_pool.py")


def step_daemon(trial: int) -> int:
    """Slurm's, of the job that a trial runs in."""
    return _above(trial, "slurmstepd")


def _above(pid: int, program: str) -> int:
    return next(each for each in ancestors(pid) if program in words(each))


def words(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
    return ""


def interchange(here: Here, driver: subprocess.Popen[bytes]) -> int:
    """Parsl's, of that driver."""
    found = [pid for pid, line in processes(here).items() if "HTEX interchange" in line and parent(pid) == driver.pid]
    assert len(found) == 1, found
    return found[0]


def below(pid: int) -> list[int]:
    """A process and all its descendants, from the top."""
    parents = {int(folder.name): parent(int(folder.name)) for folder in Path("/proc").glob("[0-9]*")}
    found = [pid]
    for each in found:
        found += [child for child, above in parents.items() if above == each]
    return found


def send(number: signal.Signals, pids: Iterable[int]) -> None:
    """To each that is still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
