"""Runs commands of an emulated machine in a folder, as a user on its login node does."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..environment import variables
from .install import Emulated

PATIENCE = 60.0
"""Seconds within which whatever a test waits for happens."""


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait until ``condition()`` is true; return its value."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} s in vain until {what}"
        time.sleep(0.05)
    return found


class Desk:
    """Runs commands of a machine in ``folder``."""

    def __init__(self, emulated: Emulated, folder: Path):
        self.emulated, self.folder = emulated, folder
        self.environment = {**variables(), **emulated.env}

    def run(self, *words: object, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in words],
            cwd=self.folder,
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE,
        )

    def good(self, *words: object, **more: str) -> str:
        """Run a command that has to succeed and print nothing on stderr; return its output."""
        done = self.run(*words, **more)
        assert (done.returncode, done.stderr) == (0, ""), f"{words}: {done.returncode}\n{done.stderr}"
        return done.stdout

    def script(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o700)
        return path

    def events(self, job: int, name: str) -> list[dict[str, Any]]:
        return [event for event in self.emulated.accounting() if (event["event"], event["job"]) == (name, job)]

    def wait_for(self, job: int, event: str, times: int = 1) -> dict[str, Any]:
        """Wait until an event of a job has happened ``times`` times; return the last one."""
        until(lambda: len(self.events(job, event)) >= times, f"job {job} has {event}")
        return self.events(job, event)[-1]

    def text(self, name: str) -> str:
        return (self.folder / name).read_text()
