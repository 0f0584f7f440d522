"""Numbered places for test Slurms on this machine; what a killed owner left in one is ended by the next owner."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

from ..environment import variables
from .network import Network

ROOT = Path("/tmp/pilotune-slurm")
PLACES = 16
JOBS_END = 8.0
"""Seconds until jobs that do not end are killed."""


class Place:
    """A number, which addresses, ports and names derive from, and a folder.

    Who claims it holds a lock until its process ends. ``lab.json`` lists the daemons by process id.
    """

    def __init__(self, index: int, lock: IO[str]):
        self.index, self._lock = index, lock
        self.folder = ROOT / str(index)
        self._note = self.folder / "lab.json"

    @classmethod
    def claim(cls, keep: bool) -> Self:
        """Claim a free place; what an earlier owner left in it is ended first."""
        for index in range(PLACES):
            place = cls._lock_of(index)
            if place is None:
                continue
            if place._kept:
                place._lock.close()
                continue
            place._end()
            place.folder.mkdir()
            place._write({"keep": keep, "processes": {}})
            return place
        raise RuntimeError(
            f"{PLACES} Slurms of tests run here already; python -m tests.support.slurm stop ends those kept"
        )

    @classmethod
    def kept(cls) -> list[Self]:
        """The places of Slurms that were started to be kept."""
        places = [place for index in range(PLACES) if (place := cls._lock_of(index))]
        for place in places:
            if not place._kept:
                place._lock.close()
        return [place for place in places if place._kept]

    @classmethod
    def end_left(cls, index: int) -> None:
        """End what a killed owner left in a place, unless that has another owner."""
        place = cls._lock_of(index)
        if place is not None:
            place._end()
            place._lock.close()

    @classmethod
    def _lock_of(cls, index: int) -> Self | None:
        ROOT.mkdir(mode=0o755, exist_ok=True)
        if ROOT.stat().st_uid != os.geteuid():
            raise RuntimeError(f"{ROOT} belongs to somebody else")
        lock = open(ROOT / f"{index}.lock", "w")  # noqa: SIM115
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            return None
        return cls(index, lock)

    @property
    def _kept(self) -> bool:
        return bool(self._read().get("keep"))

    def note(self, name: str, pid: int) -> None:
        """Note a daemon, so that it can be ended."""
        data = self._read()
        data["processes"][name] = [pid, _began(pid)]
        self._write(data)

    def end_daemon(self, name: str) -> None:
        _kill([self._read()["processes"][name][0]], signal.SIGTERM)

    def _read(self) -> dict:
        return json.loads(self._note.read_text()) if self._note.exists() else {}

    def _write(self, data: dict) -> None:
        new = self._note.with_suffix(".new")
        new.write_text(json.dumps(data))
        new.rename(self._note)

    def end(self) -> None:
        """End all jobs and daemons, remove the network and the folder, and give the place back."""
        self._end()
        self._lock.close()

    def _end(self) -> None:
        processes = {name: pid for name, (pid, began) in self._read().get("processes", {}).items()
                     if began and _began(pid) == began}  # fmt: skip
        if "slurmctld" in processes:
            self._end_jobs()
        slurm = [pid for name, pid in processes.items() if name.startswith("slurm")]
        _kill(slurm, signal.SIGTERM)
        network = Network(self.index, tuple(f"n{number}" for number in range(1, 5)))
        _kill(network.processes(), signal.SIGKILL)
        _kill(list(processes.values()), signal.SIGKILL)
        network.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end_jobs(self) -> None:
        environment = {**variables(), "SLURM_CONF": str(self.folder / "slurm.conf")}

        def ask(*words: str) -> list[str]:
            done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=JOBS_END)
            return done.stdout.split()

        deadline = time.monotonic() + JOBS_END
        with suppress(subprocess.TimeoutExpired):  # slurmctld does not answer: what runs on the nodes is killed anyway
            while (numbers := ask("squeue", "-h", "-o", "%i")) and time.monotonic() < deadline:
                ask("scancel", "--signal=KILL", "--full", *numbers)
                ask("scancel", *numbers)
                time.sleep(0.5)


def _began(pid: int) -> int:
    """Start of a process in ticks since boot, which identifies it together with its id; 0 if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def _kill(pids: list[int], number: signal.Signals) -> None:
    """Signal processes and wait until they are gone."""
    began = {pid: _began(pid) for pid in pids}
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(start and _began(pid) == start for pid, start in began.items()):
        time.sleep(0.05)
    for pid in pids:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
