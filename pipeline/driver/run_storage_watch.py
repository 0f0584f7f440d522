"""What a campaign stands on: its run directory, its database's file, and a little room for the last commits."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from ...errors import RecordStuck
from ...filesystems import NO_ROOM, size_in_words, why_not
from ..campaign.events import Asked
from ..campaign.outcomes import SITE
from ..record import RecordStorage, RunDirectory

log = logging.getLogger(__name__)

LOOK = 1.0
"""Seconds between looks at the run directory."""

LOOKS = 2
"""So many looks in a row have to miss it: on a network file system one may be a lapse."""

RESERVE = 4_000_000
"""Bytes beside an SQLite database that are given to it when its disk is full, for what has ended by then."""


class StorageWatch:
    """Says so when the run directory, or the database's file, is deleted under the campaign.

    Trials that run can finish, and count: their workers have what they need, and the database is elsewhere, or has been
    written again. New blocks could not start, so the campaign ends then.

    Attributes:
        trouble: What is wrong with the run directory now, as a sentence; empty while it takes what is written.
    """

    def __init__(self, run: RunDirectory, storage: RecordStorage, clock: Callable[[], float] = time.monotonic):
        self.run, self.storage, self._clock = run, storage, clock
        self.trouble = ""
        self._looked = -1e18
        self._missed = 0
        self._told = ""

    def asked(self) -> list[Asked]:
        """That the campaign is to end, once for each reason."""
        return [*self._of_database(), *self._of_directory()]

    def _of_database(self) -> list[Asked]:
        saved = self.storage.database.saved
        if saved == self._told:
            return []
        self._told = saved
        log.error("%s", saved)
        return [Asked("finish", f"{saved}; pilotune resume goes on", SITE)]

    def _of_directory(self) -> list[Asked]:
        now = self._clock()
        if self._missed >= LOOKS or now - self._looked < LOOK:
            return []
        self._looked = now
        self._missed = self._missed + 1 if _gone(self.run.channel_key) else 0
        if self._missed < LOOKS:
            return []
        what = f"the run directory {self.run.path} was deleted"
        log.error("%s", what)
        return [Asked("finish", f"{what}; pilotune resume goes on in another", SITE)]

    def wrote(self, error: OSError | None) -> None:
        """A file of the run directory was written, or ``error`` came of it. Said once, not each time."""
        trouble = "" if error is None else f"the run directory cannot be written: {why_not(error, self.run.path)}"
        if bool(trouble) != bool(self.trouble):
            log.warning("%s", trouble or "the run directory can be written again")
        self.trouble = trouble


def _gone(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except OSError:  # the file system is away, not the file
        return False
    return False


class DiskReserve:
    """Room on the file system of an SQLite database, held by a file of random bytes, which no file system shortens.

    Args:
        database: The database's file; None where it is no file.
        study: The study's name: one driver at a time works on it, and takes over what a dead one left.
        size: Bytes.
    """

    def __init__(self, database: Path | None, study: str, size: int = RESERVE):
        self.database, self.size = database, size
        self.path = database.with_name(f"{database.name}-reserve-{study}") if database else None

    def __enter__(self) -> DiskReserve:
        """Raises RecordStuck where there is no room for it: there would be none for the study either."""
        if self.path is None or self.database is None:
            return self
        try:
            if not self.path.exists() or self.path.stat().st_size < self.size:
                self._fill(self.path)
        except OSError as error:
            self.give()
            if error.errno in NO_ROOM:
                why = why_not(error, self.database.parent)
                need = f"a campaign needs at least {size_in_words(self.size)} beside its database"
                raise RecordStuck(f"the database {self.database} has no room to grow: {why}; {need}") from None
            log.warning("no room is kept for the database: %s", error)
        return self

    def _fill(self, path: Path) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(self.size))

    def give(self) -> bool:
        """Give the room to the database; whether there was any."""
        if self.path is None:
            return False
        try:
            self.path.unlink()
        except OSError:
            return False
        return True

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self.give()
