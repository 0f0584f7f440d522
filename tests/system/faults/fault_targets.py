"""Finds the process with a given role in a campaign on this machine, starting from a running trial."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from ...support.local import Here, processes, until
from .attempt_record import Start
from .experiment import Experiment


def parent(pid: int) -> int:
    """The parent of a process; 0 if the process is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def ancestors(pid: int) -> list[int]:
    """All ancestors of a process, the nearest first; without init."""
    found: list[int] = []
    while (pid := parent(pid)) > 1:
        found.append(pid)
    return found


def running(experiment: Experiment) -> Start:
    """Wait for an attempt of the newest driver that has begun and is not about to end."""

    def find() -> Start | None:
        assert experiment.driver is not None
        assert experiment.driver.poll() is None, f"the campaign has ended:\n{experiment.printed()}"
        folder, record = experiment.run_folder(), experiment.record()
        for start in record.running() if folder else ():
            steps = [step for number, attempt, step, _, _ in record.steps
                     if (number, attempt) == (start.number, start.attempt)]  # fmt: skip
            if steps and max(steps) < experiment.steps - 1 and folder in " ".join(map(words, ancestors(start.pid))):
                return start
        return None

    start: Start = until(find, f"a trial runs:\n{experiment.log()[-2000:]}")
    return start


def target_of(experiment: Experiment, part: Callable[[int], int]) -> int:
    """The process with a role for a running trial. ``part``: finds it from the trial's process."""

    def find() -> int:
        try:
            return part(running(experiment).pid)
        except LookupError:
            return 0

    pid: int = until(find, "there is a process with that role")
    return pid


# -- roles, each found from the process of a trial; LookupError if that has ended meanwhile -------------------------


def trial(pid: int) -> int:
    return pid


def worker(trial: int) -> int:
    """Its worker, the parent of its fork server."""
    found = parent(parent(trial))
    if found <= 1:
        raise LookupError
    return found


def manager(trial: int) -> int:
    """The node's worker pool: the outermost of the processes that it has forked."""
    found = [each for each in ancestors(trial) if "node.worker_pool" in words(each)]
    if not found:
        raise LookupError
    return found[-1]


def step_daemon(trial: int) -> int:
    """Slurm's daemon of the job that the trial runs in."""
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
    """Parsl's interchange of that driver."""
    found = [pid for pid, line in processes(here).items() if "htex.interchange" in line and parent(pid) == driver.pid]
    assert len(found) == 1, found
    return found[0]


def below(pid: int) -> list[int]:
    """A process and all its descendants, parents first."""
    parents = {int(folder.name): parent(int(folder.name)) for folder in Path("/proc").glob("[0-9]*")}
    found = [pid]
    for each in found:
        found += [child for child, above in parents.items() if above == each]
    return found


def send(number: signal.Signals, pids: Iterable[int]) -> None:
    """Send a signal to each process that still exists."""
    for pid in pids:
        assert pid > 1, pid  # 0 is this process's own group
        with suppress(ProcessLookupError):
            os.kill(pid, number)
