"""Where everything of a trial lies. One object owns every file name; nobody else joins paths."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

CLOCKS = 2.0
"""Seconds by which a file server's clock may be behind the node's."""


@dataclass(frozen=True)
class TrialFiles:
    """The files of one trial, under ``<run directory>/trials/<number>/``, mode 0700.

    Files of an attempt carry its number; the checkpoint folder is shared by all attempts.
    """

    directory: Path

    @property
    def checkpoint(self) -> Path:
        """Kept across attempts; the objective writes what it needs to go on from here."""
        return self.directory / "checkpoint"

    def work(self, attempt: int) -> Path:
        """The working directory of an attempt."""
        return self.directory / f"work-{attempt}"

    def stdout(self, attempt: int) -> Path:
        return self.directory / f"stdout-{attempt}.txt"

    def stderr(self, attempt: int) -> Path:
        return self.directory / f"stderr-{attempt}.txt"

    def outcome(self, attempt: int) -> Path:
        """How the attempt ended, as JSON, written by an atomic rename before the worker returns it."""
        return self.directory / f"outcome-{attempt}.json"

    def params(self, attempt: int) -> Path:
        """The parameters as JSON, for the command form."""
        return self.directory / f"params-{attempt}.json"

    def reports(self, attempt: int) -> Path:
        """Where a command writes its JSON-line reports."""
        return self.directory / f"reports-{attempt}.jsonl"

    def saved_since(self, moment: float) -> bool:
        """Whether anything in the checkpoint folder was written since ``moment``, Unix seconds."""
        saved = (Path(folder, name) for folder, _, names in os.walk(self.checkpoint) for name in names)
        try:
            return any(path.stat().st_mtime >= moment - CLOCKS for path in saved)
        except OSError:  # it is being written right now, or the file system is away
            return True

    def create(self, attempt: int) -> None:
        """Make the folders an attempt needs."""
        for folder in (self.directory, self.checkpoint, self.work(attempt)):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` so that a reader sees all of it or nothing, also after a crash; mode 0600."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
