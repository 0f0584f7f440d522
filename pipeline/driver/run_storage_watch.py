"""Watches the run directory and the database's file, and reserves disk space for the last commits."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from ...errors import RecordStuck
from ...exit_codes import SITE
from ...filesystems import NO_ROOM, size_in_words, why_not
from ..campaign.events import StopRequested
from ..record import RecordStorage, RunDirectory

log = logging.getLogger(__name__)

CHECK_PERIOD = 1.0
"""Seconds between two checks that the run directory exists."""

CHECKS = 2
"""Checks in a row that must miss it before it counts as deleted: on a network file system one may fail by chance."""

RESERVE = 4_000_000
"""Bytes reserved beside an SQLite database. They are freed when its disk is full, so that trials which have ended
by then can still be committed."""


class StorageWatch:
    """Ends the campaign when its run directory, or the database's file, is deleted.

    Running trials can still finish and count: their workers have what they need, and the database is elsewhere or has
    been written again. But new blocks could not start, so the campaign ends.

    Args:
        run: The run directory.
        storage: The record, which notices when its file is deleted.
        clock: Seconds, for the period of the checks.

    Attributes:
        trouble: Why the run directory cannot be written, as a sentence; empty while it can.
    """

    def __init__(self, run: RunDirectory, storage: RecordStorage, clock: Callable[[], float] = time.monotonic):
        self.run, self.storage, self._clock = run, storage, clock
        self.trouble = ""
        self._checked = -1e18
        self._missed = 0
        self._saved = ""

    def stop_requests(self) -> list[StopRequested]:
        """Requests to end the campaign, one for each reason."""
        return [*self._of_database(), *self._of_directory()]

    def _of_database(self) -> list[StopRequested]:
        saved = self.storage.database.saved
        if saved == self._saved:
            return []
        self._saved = saved
        log.error("%s", saved)
        return [StopRequested("finish", f"{saved}; pilotune resume continues", SITE)]

    def _of_directory(self) -> list[StopRequested]:
        now = self._clock()
        if self._missed >= CHECKS or now - self._checked < CHECK_PERIOD:
            return []
        self._checked = now
        self._missed = self._missed + 1 if _gone(self.run.channel_key) else 0
        if self._missed < CHECKS:
            return []
        what = f"the run directory {self.run.path} was deleted"
        log.error("%s", what)
        return [StopRequested("finish", f"{what}; pilotune resume continues in a new one", SITE)]

    def on_write(self, error: OSError | None) -> None:
        """A file of the run directory was written (None), or writing it failed. Each change is logged once."""
        trouble = "" if error is None else f"the run directory cannot be written: {why_not(error, self.run.path)}"
        if bool(trouble) != bool(self.trouble):
            log.warning("%s", trouble or "the run directory can be written again")
        self.trouble = trouble


def _gone(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except OSError:  # the file system does not answer, which says nothing about the file
        return False
    return False


class DiskReserve:
    """Disk space that is reserved beside an SQLite database; a context manager.

    A file of random bytes holds the space, since file systems that compress would shorten any other.

    Args:
        database: The database's file; None where the database is no file, and nothing is reserved.
        study: The study's name, part of the file's name: one driver at a time works on a study, and uses the file that
            a dead one left.
        size: Bytes.
    """

    def __init__(self, database: Path | None, study: str, size: int = RESERVE):
        self.database, self.size = database, size
        self.path = database.with_name(f"{database.name}-reserve-{study}") if database else None

    def __enter__(self) -> DiskReserve:
        """Reserve the space. Raises RecordStuck where there is none, since there would be none for the study either."""
        if self.path is None or self.database is None:
            return self
        try:
            if not self.path.exists() or self.path.stat().st_size < self.size:
                self._fill(self.path)
        except OSError as error:
            self.free()
            if error.errno in NO_ROOM:
                why = why_not(error, self.database.parent)
                need = f"a campaign needs at least {size_in_words(self.size)} free beside its database"
                raise RecordStuck(f"the database {self.database} has no space to grow: {why}; {need}") from None
            log.warning("no disk space is reserved for the database: %s", error)
        return self

    def _fill(self, path: Path) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(self.size))

    def free(self) -> bool:
        """Free the space for the database; returns whether any was reserved."""
        if self.path is None:
            return False
        try:
            self.path.unlink()
        except OSError:
            return False
        return True

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self.free()
