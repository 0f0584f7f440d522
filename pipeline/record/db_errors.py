"""Classifies database errors (does waiting help, or must someone intervene?) and restores a deleted SQLite file."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError, SQLAlchemyError

from ...errors import RecordAway, RecordLost, RecordStuck
from ...filesystems import unwritable
from .password import secret
from .rundir import make_private

AWAY = (OperationalError, InterfaceError, InternalError, sa.exc.TimeoutError)
"""Errors of the database itself, not of the statement."""

_UNWRITABLE = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
    }
)
_BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_DISK_FULL, _READ_ONLY, _LOCKED = "53100", "25006", "55P03"
_REFUSED = ("28", "42501", "3D000", "3F000", "42P01")
"""Access is denied, or the database or schema does not exist."""

# A failed connection has no SQLSTATE, only a message: https://www.psycopg.org/psycopg3/docs/api/errors.html
_REFUSED_WORDS = re.compile(
    r"authentication failed|no password supplied|not permitted to log in|no pg_hba\.conf entry|"
    r"(database|role) \".*\" does not exist|permission denied for database"
)


# SQLSTATE 57P03, which psycopg does not pass on for a failed connection.
_STARTING_WORDS = re.compile(
    r"the database system is (starting up|shutting down|in recovery mode|not (yet )?accepting connections)|"
    r"[Cc]onsistent recovery state"
)


def fault_of(error: BaseException, path: Path | None) -> RecordAway | None:
    """The error as a fault of the database; None when the statement is at fault.

    Args:
        error: The exception, as SQLAlchemy raised it.
        path: SQLite's file; None on PostgreSQL.

    Returns:
        RecordAway when waiting helps, RecordStuck when someone must intervene, RecordLost when nothing helps.
    """
    if not isinstance(error, SQLAlchemyError):
        return None
    cause = getattr(error, "orig", None)
    if path is not None and isinstance(cause, sqlite3.Error):
        found = _of_sqlite(cause, path)
    else:
        found = _of_server(str(getattr(cause, "sqlstate", None) or ""), error)
    if found is None and isinstance(error, AWAY):
        return RecordAway(f"the database failed: {words(error)}")
    return found


def is_starting(error: BaseException) -> bool:
    """Whether a PostgreSQL server cannot be used yet, or for the moment, but runs."""
    return isinstance(error, SQLAlchemyError) and _STARTING_WORDS.search(words(error)) is not None


def _of_sqlite(error: sqlite3.Error, path: Path) -> RecordAway | None:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _BROKEN:
        return RecordLost(f"the database {path} is corrupt ({words(error)})")
    if code == sqlite3.SQLITE_ERROR and "no such table" in str(error):
        return RecordLost(f"the tables of the database {path} are missing ({words(error)})")
    if code in _UNWRITABLE:
        why = unwritable(path.parent)
        return RecordStuck(f"the database {path} cannot be written: {why or words(error)}")
    return None


def _of_server(state: str, error: SQLAlchemyError) -> RecordAway | None:
    text = words(error)
    if state == _DISK_FULL:
        return RecordStuck(f"the database server's disk is full ({text})")
    if state == _READ_ONLY:
        return RecordStuck(f"the database is read-only: it is a standby server or was set read-only ({text})")
    if state == _LOCKED:
        held = "another program holds the lock on the study; the server closes an idle transaction after two minutes"
        return RecordAway(f"{held} ({text})")
    if state.startswith(_REFUSED) or (not state and isinstance(error, AWAY) and _REFUSED_WORDS.search(text)):
        return RecordStuck(f"the database server denies access ({text})")
    return None


def words(error: BaseException) -> str:
    """The first line of the database's message, without SQL, parameters and passwords."""
    text = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
    text = text.splitlines()[0]
    return text.replace(secret(), "…") if secret() else text


# -- an SQLite file that is deleted or replaced while it is open ---------------------------------------------------


def inode_of(path: Path) -> int | None:
    """The file's inode; None when there is no file. Raises OSError when it cannot be looked up."""
    try:
        return path.stat().st_ino
    except (FileNotFoundError, NotADirectoryError):
        return None


def save_open_database(connection: Any, path: Path) -> Path:
    """Write a deleted database from its open connection to ``path``, or beside it when another file is there now.

    Returns the new file. The connection is closed once the copy is complete, and stays open when it cannot be
    written. Raises OSError and sqlite3.Error.
    """
    make_private(path.parent)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    os.close(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o600))
    try:
        with contextlib.closing(sqlite3.connect(part)) as copy:
            connection.backup(copy)
        target = path
        if path.exists():
            target = path.with_name(f"{path.name}.{time.strftime('%Y%m%d-%H%M%S')}")
        connection.close()
        if target == path:  # SQLite would apply a leftover log to the new file
            for log in ("-wal", "-shm", "-journal"):
                path.with_name(path.name + log).unlink(missing_ok=True)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target
