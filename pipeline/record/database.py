"""Where the database is and how it is reached: URLs, one connection, transactions, and its errors as sentences."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, IntegrityError, OperationalError, SQLAlchemyError

from ...errors import RecordAway, RecordLost, RecordStuck, UserError
from ...filesystems import NO_ROOM, filesystem_of, why_not
from ...yamlfile import is_text
from . import password, tables
from .db_errors import fault_of, inode_of, save_open_database, words
from .rundir import make_private, strangers_file

BUSY_SECONDS = 15
"""How long a statement waits for another process's lock before the commit is given up for now."""
CONNECT_SECONDS = 10
_POSTGRES = ("postgresql", "postgres", "postgresql+psycopg")


def normalize_url(url: str, folder: Path | None = None) -> str:
    """The URL as SQLAlchemy is to get it.

    ``sqlite:///FILE`` becomes absolute (relative ones count from ``folder``, by default the working directory);
    ``postgresql://`` is given its driver. Raises UserError for a password in the URL, a database in memory, and any
    other database; no message repeats the password.
    """
    try:
        parsed = sa.make_url(url if is_text(url) else "")
    except (ArgumentError, ValueError):
        raise UserError("the storage is to be a URL: sqlite:///study.db or postgresql://host/database") from None
    if parsed.password is not None or any("pass" in key.lower() and key != "passfile" for key in parsed.query):
        raise UserError(
            "the storage URL holds a password, which would end up in logs and process lists; take it out and give it "
            "by PGPASSWORD, ~/.pgpass or a service file"
        )
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return _sqlite_url(parsed, folder or Path.cwd())
    if parsed.drivername in _POSTGRES:
        return parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=True)
    raise UserError(f"no storage for {parsed.drivername!r}: use sqlite:///study.db or postgresql://host/database")


def _sqlite_url(parsed: sa.URL, folder: Path) -> str:
    if parsed.host:
        raise UserError(f"an SQLite URL has three slashes and a path: sqlite:///{parsed.host}/{parsed.database or ''}")
    name = parsed.database
    if not name or name == ":memory:" or name.startswith("file:"):
        raise UserError("a study is to outlive its process: name a file, as in sqlite:///study.db")
    path = Path(os.path.abspath(folder / Path(name).expanduser()))
    return str(parsed.set(drivername="sqlite", database=str(path)))


def on_network(path: Path) -> bool:
    """Whether ``path`` lies on a file system shared between hosts, where SQLite's write-ahead log must not be used."""
    return filesystem_of(path).network


def prepare_file(path: Path) -> None:
    """Make the folder (0700) and an empty database file (0600) where they are missing.

    Raises UserError when it cannot, RecordStuck where there is no room.
    """
    try:
        make_private(path.parent)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        problem = strangers_file(path)
        if problem:
            raise UserError(problem, file=path)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise RecordStuck(f"the database {path} cannot be written: {why_not(error, path.parent)}") from None
        raise UserError(f"the database cannot be written there: {error.strerror}", file=path) from None


class Database:
    """One connection to the database, opened at the first use and again after it broke; used under a lock of its owner.

    Transactions are begun and ended by statements of our own (the driver is in autocommit), since SQLite's writer must
    begin with ``BEGIN IMMEDIATE``: one that reads first and writes later can be refused half-way.

    Attributes:
        saved: What happened to an SQLite file that was deleted while it was open, and where what it held is now; empty
            where nothing did.
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
        self._inode: int | None = None  # of SQLite's file, once it was opened
        self._size = 0  # of that file, when it was last looked at
        self._held = False  # the open connection has what no file has
        self.saved = ""

    def _engine(self, url: sa.URL, arguments: dict[str, Any]) -> sa.Engine:
        return sa.create_engine(
            url, connect_args=arguments, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool, hide_parameters=True
        )

    @property
    def connection(self) -> sa.Connection:
        if self._connection is None:
            if self._moved():
                raise RecordLost(f"the database file {self.path} was deleted or replaced while the campaign ran")
            connection = self.engine.connect()
            try:
                self._greet(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
            self._opened += 1
            if self.path is not None:
                with contextlib.suppress(OSError):
                    self._inode = inode_of(self.path)
        return self._connection

    def _greet(self, connection: sa.Connection) -> None:
        if self.path is not None:
            mode = "DELETE" if on_network(self.path) else "WAL"
            connection.exec_driver_sql(f"PRAGMA journal_mode={mode}")
            # NORMAL would lose the last commits at a power loss, and they have been acted upon.
            connection.exec_driver_sql("PRAGMA synchronous=FULL")
            return
        # A driver that is stopped inside a transaction must not keep the others from the study for ever.
        connection.exec_driver_sql(f"SET lock_timeout = '{BUSY_SECONDS}s'")
        connection.exec_driver_sql("SET idle_in_transaction_session_timeout = '120s'")
        # All that is asked for has an index; before the server has counted a new study's rows it would not use it.
        connection.exec_driver_sql("SET enable_seqscan = off")
        now = connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one()
        self._clock_offset = float(now) - time.monotonic()

    def run(self, statement: Any, rows: Any = None) -> Any:
        """Execute a statement, one row of arguments or a list of them with it; its CursorResult.

        SQL text goes to the driver as it is, with its kind of placeholders, and rows are tuples; an SQLAlchemy
        statement takes them by name.
        """
        if isinstance(statement, str):
            return self.connection.exec_driver_sql(statement, rows)
        return self.connection.execute(statement, rows)

    def begin(self, *, write: bool) -> None:
        if self._connection is not None and self._moved():
            self._save()
        self._look_at_size()
        self.run("BEGIN IMMEDIATE" if write and self.dialect == "sqlite" else "BEGIN")

    def commit(self) -> None:
        self.run("COMMIT")

    def rollback(self) -> None:
        """Take the transaction back; a connection that cannot is dropped, which takes it back too."""
        if self._connection is None:
            return
        try:
            self.run("ROLLBACK")
        except SQLAlchemyError:
            self.drop()

    def _moved(self) -> bool:
        """Whether SQLite's file is not the one that was opened; what was written to that one would be nowhere."""
        if self.path is None or self._inode is None:
            return False
        try:
            return inode_of(self.path) != self._inode
        except OSError:
            return False

    def _look_at_size(self) -> None:
        """An SQLite file that shrinks was cut off, which who has it open notices late, or tidied up by VACUUM.

        It is not read beside SQLite: to close it again would take SQLite's locks away. Raises RecordLost.
        """
        if self.path is None or self._connection is None:
            return
        before = self._size
        with contextlib.suppress(OSError):
            self._size = self.path.stat().st_size
        if self._size < before:
            self.check()

    def check(self) -> None:
        """Read all of an SQLite file afresh. Raises RecordLost where it is broken, RecordAway."""
        if self.path is None or self._held:
            return
        self.drop()
        with self.reading():
            found = self.run("PRAGMA quick_check(1)").scalar()
        if found != "ok":
            raise RecordLost(f"the database {self.path} is broken ({found})")

    def _save(self) -> None:
        """Write an open database, whose file is gone, into a file again. Raises RecordStuck where that fails, and
        RecordLost where another file is in its place."""
        assert self.path is not None
        assert self._connection is not None
        gone = f"the database file {self.path} was deleted or replaced while the campaign ran"
        self._held = True
        try:
            target = save_open_database(self._connection.connection.dbapi_connection, self.path)
        except (OSError, sqlite3.Error) as error:
            why = why_not(error, self.path.parent) if isinstance(error, OSError) else words(error)
            raise RecordStuck(f"{gone}, and what it held cannot be written again: {why}") from error
        self._held, self._size = False, 0
        self.drop()
        if target != self.path:
            self._inode = -1
            raise RecordLost(f"{gone}; what it held is in {target}")
        self._inode = None
        self.saved = f"{gone}; what it held is written there again"

    def fault(self, error: BaseException) -> RecordAway | None:
        """The database's fault that an error tells of, as :func:`fault_of` has it."""
        return fault_of(error, self.path)

    def drop(self) -> None:
        """Close the connection; the next statement opens another."""
        if self._held:
            return
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.invalidate()
            with contextlib.suppress(Exception):
                connection.close()

    def reading(self) -> contextlib.AbstractContextManager[None]:
        """A transaction that only reads; errors of the connection become RecordAway."""
        return self._transaction(write=False)

    def writing(self) -> contextlib.AbstractContextManager[None]:
        """A transaction of its own that writes, for what may be done twice without harm."""
        return self._transaction(write=True)

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
        """Changes when another connection changed the database, or this one was opened again; None on PostgreSQL."""
        if self.path is None:
            return None
        version = int(self.run("PRAGMA data_version").scalar_one())
        return self._opened, version

    def clock(self) -> float:
        """Unix seconds by the database server's clock (this host's for SQLite), good to the network's delay.

        This host's clock may be set meanwhile: that does not move the server's.
        """
        return time.time() if self.path is not None else time.monotonic() + self._clock_offset


def open_link(url: str) -> Database:
    """Connect, make Optuna's tables where there are none, and check their version.

    Raises UserError when any of it fails, RecordStuck where SQLite's file system takes no writes.
    """
    database = Database(url)
    if database.path is not None:
        prepare_file(database.path)
    try:
        if not _has_tables(database):
            _create_tables(database)
        _check_version(database)
    except (SQLAlchemyError, sqlite3.Error) as error:
        database.drop()
        fault = database.fault(error)
        if database.path is not None and isinstance(fault, RecordStuck) and not isinstance(fault, RecordLost):
            raise fault from None
        where = database.path or sa.make_url(url).render_as_string(hide_password=True)
        raise UserError(f"the database cannot be opened: {words(error)}", file=where) from None
    return database


def _has_tables(database: Database) -> bool:
    return sa.inspect(database.connection).has_table("alembic_version")


def _create_tables(database: Database) -> None:
    from optuna.storages import RDBStorage

    database.drop()
    escaped = database.url.replace("{", "{{").replace("}", "}}")
    for attempt in (1, 2):
        # Two processes may create the same tables at once; the second finds them there at its second try.
        try:
            given = {"application_name": "pilotune", **password.arguments()}
            storage = RDBStorage(escaped, engine_kwargs={} if database.path else {"connect_args": given})
        except (OperationalError, IntegrityError, sa.exc.ProgrammingError):
            if attempt == 2:
                raise
            time.sleep(0.5)
        else:
            storage.remove_session()
            storage.engine.dispose()
            return


def _check_version(database: Database) -> None:
    schema = database.run(sa.select(tables.version_info.c.schema_version)).scalar()
    revision = database.run("SELECT version_num FROM alembic_version").scalar()
    if (schema, revision) != (tables.SCHEMA_VERSION, tables.REVISION):
        database.drop()
        raise UserError(
            f"the database has Optuna's schema {schema} ({revision}), this version works with {tables.SCHEMA_VERSION} "
            f"({tables.REVISION}): run `optuna storage upgrade --storage URL`, or name another database",
            file=database.path,
        )
