"""Which process plays which part in a campaign on this machine, found from a trial that runs."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from ...support.local import Here, processes, until
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


def victim(experiment: Experiment, part: Callable[[int], int]) -> int:
    """The process that plays ``part`` for a trial that runs."""

    def look() -> int:
        try:
            return part(running(experiment).pid)
        except LookupError:
            return 0

    pid: int = until(look, "there is a process to choose")
    return pid


# -- parts, each found from the process of a trial; LookupError where that has ended meanwhile -------------------------


def trial(pid: int) -> int:
    return pid


def worker(trial: int) -> int:
    """Its fork server lies between."""
    found = parent(parent(trial))
    if found <= 1:
        raise LookupError
    return found


def manager(trial: int) -> int:
    """Parsl's worker pool."""
    return _above(trial, "process_worker_pool.py")


def step_daemon(trial: int) -> int:
    """Slurm's, of the job that the trial runs in."""
    return _above(trial, "slurmstepd")


def _above(pid: int, program: str) -> int:
    for each in ancestors(pid):
        if program in words(each):
            return each
    raise LookupError


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
        assert pid > 1, pid  # 0 is this process's own group
        with suppress(ProcessLookupError):
            os.kill(pid, number)
