"""Connects to the database: one connection, transactions, and its errors as sentences."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from ...errors import RecordAway, RecordLost, RecordStarting, RecordStuck, UserError
from ...filesystems import NO_ROOM, filesystem_of, why_not
from . import password, tables
from .db_errors import fault_of, inode_of, is_starting, save_open_database, words
from .rundir import make_private, why_no_regular_file, why_untrusted_database

BUSY_SECONDS = 15
"""Seconds that a statement waits for another process's lock; then the commit fails and is tried again later."""
CONNECT_SECONDS = 10
"""Seconds to wait for a PostgreSQL server to accept a connection."""


def on_network(path: Path) -> bool:
    """Whether ``path`` is on a file system shared between hosts, where SQLite's write-ahead log must not be used."""
    return filesystem_of(path).network


def prepare_file(path: Path) -> None:
    """Create the folder (mode 0700) and an empty database file (0600) if they are missing.

    Raises:
        UserError: It cannot be created, or others could change it.
        RecordStuck: The file system is full.
    """
    problem = why_no_regular_file(path)
    if problem:
        raise UserError(problem, file=path)
    try:
        make_private(path.parent)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        problem = why_untrusted_database(path)
        if problem:
            raise UserError(problem, file=path)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise RecordStuck(f"the database {path} cannot be written: {why_not(error, path.parent)}") from None
        raise UserError(f"the database cannot be written there: {error.strerror}", file=path) from None


class Database:
    """One connection to the database, opened at the first use and again after it broke.

    Not safe for several threads: the owner holds a lock around its use. Transactions begin and end with explicit
    statements (the driver is in autocommit mode), because a writer on SQLite must begin with ``BEGIN IMMEDIATE``: one
    that reads first and writes later can be refused half-way.

    An SQLite file that is deleted while it is open is written again from the open connection (see ``saved``).

    Args:
        url: As ``normalize_url`` returns it. The database must have Optuna's tables; ``open_database`` creates them.

    Attributes:
        dialect: ``"sqlite"`` or ``"postgresql"``.
        path: SQLite's file; None on PostgreSQL.
        saved: One sentence on an SQLite file that was deleted while it was open and is written again; else empty.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     database = open_database(f"sqlite:///{folder}/study.db")
        ...     with database.reading():
        ...         count = database.run("SELECT count(*) FROM studies").scalar()
        ...     database.drop()
        >>> count
        0
    """

    def __init__(self, url: str):
        self.url = url
        parsed = sa.make_url(url)
        self.dialect = parsed.get_backend_name()
        self.path = Path(parsed.database) if self.dialect == "sqlite" and parsed.database else None
        arguments: dict[str, Any] = {"check_same_thread": False, "timeout": BUSY_SECONDS}
        if self.path is None:
            arguments = {
                "connect_timeout": CONNECT_SECONDS,
                "keepalives_idle": 30,
                "keepalives_interval": 10,
                "keepalives_count": 3,
                "tcp_user_timeout": 30_000,
                "application_name": "pilotune",
                **password.arguments(),
            }
        self.engine = self._engine(parsed, arguments)
        self._connection: sa.Connection | None = None
        self._opened = 0
        self._clock_offset = 0.0
        self._inode: int | None = None  # of SQLite's file when it was opened; None before, or once it is written again
        self._size = 0  # bytes of that file at the last transaction
        self._only_copy = False  # the file is gone, and the open connection holds what was in it
        self.saved = ""

    def _engine(self, url: sa.URL, arguments: dict[str, Any]) -> sa.Engine:
        return sa.create_engine(
            url, connect_args=arguments, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool, hide_parameters=True
        )

    @property
    def connection(self) -> sa.Connection:
        """The open connection. Raises RecordLost when SQLite's file is not the one that was opened before."""
        if self._connection is None:
            if self._moved():
                raise RecordLost(f"the database file {self.path} was deleted or replaced while the campaign ran")
            connection = self.engine.connect()
            try:
                self._configure(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
            self._opened += 1
            if self.path is not None:
                with contextlib.suppress(OSError):
                    self._inode = inode_of(self.path)
        return self._connection

    def _configure(self, connection: sa.Connection) -> None:
        if self.path is not None:
            mode = "DELETE" if on_network(self.path) else "WAL"
            connection.exec_driver_sql(f"PRAGMA journal_mode={mode}")
            # With NORMAL a power loss would lose the last commits, which have been acted upon.
            connection.exec_driver_sql("PRAGMA synchronous=FULL")
            return
        # A driver that is stopped inside a transaction must not block the others for ever.
        connection.exec_driver_sql(f"SET lock_timeout = '{BUSY_SECONDS}s'")
        connection.exec_driver_sql("SET idle_in_transaction_session_timeout = '120s'")
        # All queries have an index, but until the server has analyzed a new study's rows it would not use the index.
        connection.exec_driver_sql("SET enable_seqscan = off")
        now = connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one()
        self._clock_offset = float(now) - time.monotonic()

    def run(self, statement: Any, rows: Any = None) -> Any:
        """Execute a statement; returns SQLAlchemy's CursorResult.

        Args:
            statement: SQL text with the driver's own placeholders, or an SQLAlchemy statement.
            rows: Arguments: one row, or a list of rows; tuples for text, mappings for SQLAlchemy statements.
        """
        if isinstance(statement, str):
            return self.connection.exec_driver_sql(statement, rows)
        return self.connection.execute(statement, rows)

    def rows(self, statement: str, row: Any = None) -> list[Any]:
        """All rows that a statement as text finds, as the database driver's tuples: many rows cost half as much so."""
        result = self.run(statement, row)
        try:
            return list(result.cursor.fetchall())
        except self.engine.dialect.loaded_dbapi.Error as error:  # SQLite reads the rows only now
            raise sa.exc.DBAPIError.instance(statement, row, error, self.engine.dialect.loaded_dbapi.Error) from error
        finally:
            result.close()

    def begin(self, *, write: bool) -> None:
        """Begin a transaction; ``write``: one that locks an SQLite database for writing at once."""
        if self._connection is not None and self._moved():
            self._save()
        self._check_size()
        self.run("BEGIN IMMEDIATE" if write and self.dialect == "sqlite" else "BEGIN")

    def commit(self) -> None:
        self.run("COMMIT")

    def rollback(self) -> None:
        """Roll the transaction back. When that fails the connection is closed, which rolls it back too."""
        if self._connection is None:
            return
        try:
            self.run("ROLLBACK")
        except SQLAlchemyError:
            self.drop()

    def _moved(self) -> bool:
        """Whether SQLite's file was deleted or replaced since it was opened, so that writes to it would be lost."""
        if self.path is None or self._inode is None:
            return False
        try:
            return inode_of(self.path) != self._inode
        except OSError:
            return False

    def _check_size(self) -> None:
        """Check an SQLite file that has become smaller: it was truncated, or compacted by VACUUM. Raises RecordLost.

        SQLite itself detects a truncated file late. Only the size is compared: opening and closing the file here
        would release SQLite's POSIX locks.
        """
        if self.path is None or self._connection is None:
            return
        before = self._size
        with contextlib.suppress(OSError):
            self._size = self.path.stat().st_size
        if self._size < before:
            self.check()

    def check(self) -> None:
        """Check all pages of an SQLite file; on PostgreSQL, do nothing.

        Raises:
            RecordLost: The file is corrupt.
            RecordAway: It cannot be read now.
        """
        if self.path is None or self._only_copy:
            return
        self.drop()
        with self.reading():
            found = self.run("PRAGMA quick_check(1)").scalar()
        if found != "ok":
            raise RecordLost(f"the database {self.path} is corrupt ({found})")

    def _save(self) -> None:
        """Write an open database whose file is gone into a file again.

        Raises:
            RecordStuck: That failed; the connection stays open.
            RecordLost: Another file is in its place, so the copy is beside it.
        """
        assert self.path is not None
        assert self._connection is not None
        gone = f"the database file {self.path} was deleted or replaced while the campaign ran"
        self._only_copy = True
        try:
            target = save_open_database(self._connection.connection.dbapi_connection, self.path)
        except (OSError, sqlite3.Error) as error:
            why = why_not(error, self.path.parent) if isinstance(error, OSError) else words(error)
            raise RecordStuck(f"{gone}, and its content cannot be written again: {why}") from error
        self._only_copy, self._size = False, 0
        self.drop()
        if target != self.path:
            self._inode = -1
            raise RecordLost(f"{gone}; its content is in {target}")
        self._inode = None
        self.saved = f"{gone}; its content has been written there again"

    def fault(self, error: BaseException) -> RecordAway | None:
        """The error as a fault of the database; None when it is none (see :func:`fault_of`)."""
        return fault_of(error, self.path)

    def drop(self) -> None:
        """Close the connection; the next statement opens another one."""
        if self._only_copy:
            return
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.invalidate()
            with contextlib.suppress(Exception):
                connection.close()

    def reading(self) -> contextlib.AbstractContextManager[None]:
        """A transaction that only reads; faults of the database are raised as RecordAway."""
        return self._transaction(write=False)

    def writing(self) -> contextlib.AbstractContextManager[None]:
        """A transaction that writes, for changes that may safely be repeated; faults are raised as RecordAway."""
        return self._transaction(write=True)

    @property
    def single_driver(self) -> bool:
        """Whether a study in this database can have only one driver at a time, as on SQLite."""
        return self.dialect == "sqlite"

    @contextlib.contextmanager
    def _transaction(self, write: bool) -> Iterator[None]:
        try:
            self.begin(write=write)
            yield
            self.commit()
        except BaseException as error:
            fault = self.fault(error)
            if fault is None:
                self.rollback()
                raise
            self.drop()
            raise fault from error

    def data_version(self) -> tuple[int, int] | None:
        """A value that changes when another connection changed the database, or this one was opened again.

        None on PostgreSQL, which has no such counter.
        """
        if self.path is None:
            return None
        version = int(self.run("PRAGMA data_version").scalar_one())
        return self._opened, version

    def clock(self) -> float:
        """Unix seconds by the clock that all drivers of a study share: the server's, or this host's for SQLite.

        Accurate to the network's delay. Setting this host's clock does not change the server's.
        """
        return time.time() if self.path is not None else time.monotonic() + self._clock_offset


def open_database(url: str) -> Database:
    """Connect, create Optuna's tables if there are none, and check their version.

    Args:
        url: As ``normalize_url`` returns it.

    Raises:
        UserError: One of these steps failed.
        RecordStarting: The database server starts, stops or recovers.
        RecordStuck: The file system of an SQLite file takes no writes.
    """
    database = Database(url)
    if database.path is not None:
        prepare_file(database.path)
    try:
        if not _has_tables(database):
            _create_tables(database)
            database.drop()  # what is in SQLite's write-ahead log moves into the file
        _check_version(database)
    except (SQLAlchemyError, sqlite3.Error) as error:
        database.drop()
        fault = database.fault(error)
        if database.path is not None and isinstance(fault, RecordStuck) and not isinstance(fault, RecordLost):
            raise fault from None
        where = database.path or sa.make_url(url).render_as_string(hide_password=True)
        if is_starting(error):
            raise RecordStarting(f"the database server of {where} is not ready ({words(error)})") from None
        raise UserError(f"the database cannot be opened: {words(error)}", file=where) from None
    return database


def _has_tables(database: Database) -> bool:
    return sa.inspect(database.connection).has_table("alembic_version")


def _create_tables(database: Database) -> None:
    """Create Optuna's tables; its own storage would do it as well, and takes half a second to import."""
    for attempt in (1, 2):
        # Two processes may create the same tables at once; the slower one finds them at its second attempt.
        try:
            database.begin(write=True)
            tables.create(database.connection)
            database.commit()
        except (OperationalError, IntegrityError, sa.exc.ProgrammingError):
            database.rollback()
            if attempt == 2:
                raise
            time.sleep(0.5)
        else:
            return


def _check_version(database: Database) -> None:
    schema = database.run(sa.select(tables.version_info.c.schema_version)).scalar()
    revision = database.run("SELECT version_num FROM alembic_version").scalar()
    if (schema, revision) != (tables.SCHEMA_VERSION, tables.REVISION):
        database.drop()
        raise UserError(
            f"the database has Optuna's schema {schema} ({revision}), but this version of Pilotune needs "
            f"{tables.SCHEMA_VERSION} ({tables.REVISION}): run `optuna storage upgrade --storage URL`, or "
            "name another database",
            file=database.path,
        )
