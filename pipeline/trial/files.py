"""The files of a trial: every path in its folder, and how files are written there."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

CLOCKS = 2.0
"""Seconds by which a file server's clock may be behind the node's; NTP keeps them within much less."""

MOST_LOOKED_AT = 200
"""Most files of a checkpoint that the driver looks at to learn when it was saved."""

CHECKPOINT = re.compile(r"checkpoint-(\d{1,9})$")
WORK = re.compile(r"work-(\d{1,9})$")
PROCESS = re.compile(r"process-(\d{1,9})(?:-(\d{1,9}))?$")
ARTIFACTS = re.compile(r"artifacts-(\d{1,9})$")
"""Names that carry an attempt's number: its checkpoint folder, its working directory, the notes of its processes, the
folder of its artifacts."""

SNAPSHOT = re.compile(r"snapshot-(\d{1,18})$")
"""Name of a copy of the trial's checkpoint, with the last step that it holds."""


@dataclass(frozen=True)
class TrialFiles:
    """The paths of one trial's files, under ``<run directory>/trials/<number>/`` (mode 0700).

    No other code joins these paths. Files of an attempt carry its number. The checkpoint folder is handed from attempt
    to attempt by a rename, so that an attempt that was given up, and still writes, does not find it any more (see
    :mod:`pilotune.pipeline.worker.node.fencing`).

    Attributes:
        directory: The trial's folder.

    >>> TrialFiles(Path("/runs/digits/c1/trials/7")).stdout(2).name
    'stdout-2.txt'
    """

    directory: Path

    @property
    def checkpoint(self) -> Path:
        """A symbolic link to the newest attempt's checkpoint folder, for people; its name never changes."""
        return self.directory / "checkpoint"

    def checkpoint_of(self, attempt: int) -> Path:
        """Where an attempt finds what earlier ones saved, and saves its own checkpoints."""
        return self.directory / f"checkpoint-{attempt}"

    @property
    def parent_checkpoint(self) -> Path:
        """A copy of the checkpoint of the trial that this one is a child of."""
        return self.directory / "parent-checkpoint"

    def newest_checkpoint(self) -> tuple[int, Path | None]:
        """The newest checkpoint folder and its attempt; (-1, None) where there is none. Raises OSError.

        A folder without a number, as old run directories have, counts as that of attempt 0.
        """
        found: tuple[int, Path | None] = (-1, None)
        with os.scandir(self.directory) as entries:
            for entry in entries:
                named = CHECKPOINT.match(entry.name)
                plain = entry.name == self.checkpoint.name and entry.is_dir(follow_symlinks=False)
                number = int(named[1]) if named else 0 if plain else -1
                if number > found[0] and entry.is_dir():
                    found = number, Path(entry.path)
        return found

    def snapshot(self, step: int) -> Path:
        """A copy of the checkpoint as it was after this step, from which other trials may start."""
        return self.directory / f"snapshot-{step}"

    def snapshots(self) -> list[Path]:
        """All copies of the checkpoint, by ascending step. Raises OSError."""
        steps = sorted(int(found[1]) for name in os.listdir(self.directory) if (found := SNAPSHOT.match(name)))
        return [self.snapshot(step) for step in steps]

    def artifacts(self, attempt: int) -> Path:
        """Where the attempt writes its artifacts; there once it has named one."""
        return self.directory / f"artifacts-{attempt}"

    def process(self, attempt: int, rank: int = 0) -> Path:
        """Host, pid and start time of the process that runs the attempt, or ran it, as one of its ranks."""
        return self.directory / (f"process-{attempt}-{rank}" if rank else f"process-{attempt}")

    def processes(self) -> list[tuple[int, Path]]:
        """The attempt and the path of each note of a process, by ascending attempt. Raises OSError."""
        found = [(named, entry) for entry in os.listdir(self.directory) if (named := PROCESS.match(entry))]
        return sorted((int(named[1]), self.directory / entry) for named, entry in found)

    def attempts_with(self, pattern: re.Pattern[str]) -> list[int]:
        """Numbers of attempts that have a file named like ``pattern`` (WORK, ARTIFACTS), ascending. Raises OSError."""
        return sorted(int(found[1]) for name in os.listdir(self.directory) if (found := pattern.match(name)))

    def work(self, attempt: int) -> Path:
        """The working directory of an attempt."""
        return self.directory / f"work-{attempt}"

    def stdout(self, attempt: int) -> Path:
        """What the attempt prints."""
        return self.directory / f"stdout-{attempt}.txt"

    def stderr(self, attempt: int) -> Path:
        """What the attempt prints to stderr."""
        return self.directory / f"stderr-{attempt}.txt"

    def rank_output(self, attempt: int, host: str) -> Path:
        """What the ranks of the attempt other than rank 0 print on a node, stdout and stderr."""
        return self.directory / f"ranks-{attempt}-{host}.txt"

    def rank_outputs(self, attempt: int) -> list[Path]:
        """What there is of :meth:`rank_output` of an attempt, by name; none where the folder cannot be read."""
        try:
            names = sorted(os.listdir(self.directory))
        except OSError:
            return []
        return [self.directory / name for name in names if name.startswith(f"ranks-{attempt}-")]

    def launcher_output(self, attempt: int) -> Path:
        """What the launcher of the attempt's ranks prints, where a launcher starts them."""
        return self.directory / f"launcher-{attempt}.txt"

    def meeting(self, attempt: int) -> Path:
        """Where the ranks that a launcher starts find their worker, and the key with which they prove themselves."""
        return self.directory / f"meeting-{attempt}.json"

    def outcome(self, attempt: int) -> Path:
        """How the attempt ended, as JSON, written by an atomic rename before the worker returns it."""
        return self.directory / f"outcome-{attempt}.json"

    def params(self, attempt: int) -> Path:
        """The parameters as JSON, for a command."""
        return self.directory / f"params-{attempt}.json"

    def reports(self, attempt: int) -> Path:
        """Where a command writes its JSON-line reports."""
        return self.directory / f"reports-{attempt}.jsonl"

    def report_log(self, attempt: int) -> Path:
        """The attempt's reports, each written before it is sent (see :mod:`.report_log`)."""
        return self.directory / f"reported-{attempt}.jsonl"

    def holds_checkpoint(self) -> bool:
        """Whether the newest checkpoint folder contains anything; False where it cannot be read."""
        try:
            _, folder = self.newest_checkpoint()
            return folder is not None and bool(os.listdir(folder))
        except OSError:
            return False

    def saved_since(self, attempt: int, moment: float) -> bool:
        """Whether anything in an attempt's checkpoint folder was written since ``moment``, Unix seconds."""
        folders = os.walk(self.checkpoint_of(attempt))
        saved = (Path(folder, name) for folder, _, names in folders for name in names)
        try:
            return any(path.stat().st_mtime >= moment - CLOCKS for path in saved)
        except OSError:  # files are being replaced right now, or the file system cannot be reached
            return True

    def last_saved(self) -> float | None:
        """When a file in the newest checkpoint folder was last written, Unix seconds; None where there is none.

        Of a folder with very many files, only some are looked at.
        """
        try:
            _, newest = self.newest_checkpoint()
            folders = os.walk(newest) if newest is not None else ()
            files = (Path(at, name) for at, _, names in folders for name in names)
            return max((path.stat().st_mtime for path in islice(files, MOST_LOOKED_AT)), default=None)
        except OSError:  # files are being replaced right now, or the file system cannot be reached
            return None

    def create(self, attempt: int) -> None:
        """Make the folders that an attempt needs, except its checkpoint folder. Raises OSError."""
        for folder in (self.directory, self.work(attempt)):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def other_checkpoints(directory: str, attempt: int) -> bool:
    """Whether a trial's folder holds a checkpoint folder of an attempt other than this one. Raises OSError.

    For a process that was just forked, without patterns and paths.
    """
    own = f"checkpoint-{attempt}"
    return any(name.startswith("checkpoint-") and name != own for name in os.listdir(directory))


def write_atomically(path: Path, text: str, sync: Callable[[int], None] = os.fsync) -> None:
    """Write ``text`` so that a reader sees all of it or nothing, even after a crash; mode 0600.

    Args:
        path: The file; replaced where it exists.
        text: Its content, written as UTF-8.
        sync: Called with the file's descriptor before it gets its name.

    Raises:
        OSError: It names ``path``. The temporary file is removed.
    """
    left = memoryview(text.encode())
    folder, name = os.path.split(path)
    part = os.path.join(folder, f".{name}.{os.getpid()}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            while left:
                left = left[os.write(descriptor, left) :]
            sync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise OSError(error.errno, error.strerror, str(path)) from error
