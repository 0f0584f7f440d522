"""The simulation's database: real SQLite that fails on demand and records who changed what."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa
from sqlalchemy.exc import InterfaceError, OperationalError

from pilotune.pipeline.record import RecordStorage
from pilotune.pipeline.record.database import Database

from .surroundings import Surroundings

STUDY = "simulated"

_LOG = "INSERT INTO audit (moment, campaign, what, trial, key, value) SELECT moment(), writer(),"
_CHANGED = "AFTER UPDATE ON {} WHEN OLD.{} IS NOT NEW.{}"
AUDIT = (
    "CREATE TABLE audit (seq INTEGER PRIMARY KEY, moment INTEGER, campaign TEXT, what TEXT, trial INTEGER, key, value)",
    f"CREATE TRIGGER a1 AFTER INSERT ON trials BEGIN {_LOG} 'new', NEW.trial_id, NEW.number, NEW.state; END",
    f"CREATE TRIGGER a2 AFTER UPDATE ON trials WHEN OLD.state IS NOT NEW.state BEGIN "
    f"{_LOG} 'state', NEW.trial_id, OLD.state, NEW.state; END",
    f"CREATE TRIGGER a3 AFTER INSERT ON trial_intermediate_values BEGIN "
    f"{_LOG} 'report', NEW.trial_id, NEW.step, NEW.intermediate_value; END",
    f"CREATE TRIGGER a4 AFTER INSERT ON trial_values BEGIN {_LOG} 'value', NEW.trial_id, NEW.objective, NEW.value; END",
    *(
        f"CREATE TRIGGER b{place} {_CHANGED.format(table, column, column)} BEGIN "
        f"{_LOG} 'rewritten', NEW.trial_id, '{column}', NEW.{column}; END"
        for place, (table, column) in enumerate(
            [
                ("trial_intermediate_values", "intermediate_value"),
                ("trial_values", "value"),
                ("trial_params", "param_value"),
                ("trials", "number"),
            ]
        )
    ),
    *(
        f"CREATE TRIGGER c{place} AFTER {event} ON trial_system_attributes "
        f"WHEN NEW.key IN ('pilotune:attempt', 'pilotune:campaign') BEGIN "
        f"{_LOG} NEW.key, NEW.trial_id, NULL, NEW.value_json; END"
        for place, event in enumerate(["INSERT", "UPDATE"])
    ),
    *(
        f"CREATE TRIGGER e{place} AFTER {event} ON trial_user_attributes WHEN NEW.key = 'noted' BEGIN "
        f"{_LOG} 'note', NEW.trial_id, NULL, NEW.value_json; END"
        for place, event in enumerate(["INSERT", "UPDATE"])
    ),
    "CREATE TRIGGER d AFTER DELETE ON trials BEGIN SELECT RAISE(ABORT, 'a trial is deleted'); END",
)
"""Triggers that record every change to a trial in the table ``audit``; ``moment`` numbers the transactions."""


def template(folder: Path) -> Path:
    """A database with Optuna's tables, an empty study and the audit; made once, since that takes longer than a seed."""
    path = folder / "template.db"
    storage = RecordStorage(f"sqlite:///{path}", autocommit=False)
    optuna.create_study(storage=storage, study_name=STUDY, direction="minimize")
    storage.commit()
    storage.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=DELETE")
    for statement in AUDIT:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return path


def copy(template_path: Path, folder: Path) -> Path:
    """Copy the template to a name that this process uses for all its seeds, so that statements are compiled once."""
    path = folder / f"{os.getpid()}.db"
    for old in folder.glob(f"{path.name}-*"):
        old.unlink()
    shutil.copyfile(template_path, path)
    return path


_engines: dict[str, sa.Engine] = {}
_audience: list[Surroundings] = []  # the world whose seed runs


def audience(world: Surroundings) -> None:
    """Let the audit's triggers ask this world for the moment and the writer."""
    _audience[:] = [world]


def _engine(url: str) -> sa.Engine:
    if url not in _engines:
        engine = sa.create_engine(
            url,
            connect_args={"check_same_thread": False, "timeout": 0},
            isolation_level="AUTOCOMMIT",
            poolclass=sa.NullPool,
        )
        sa.event.listen(engine, "connect", _furnish)
        _engines[url] = engine
    return _engines[url]


def _furnish(connection: sqlite3.Connection, record: object) -> None:
    connection.create_function("moment", 0, lambda: _audience[0].moment)
    connection.create_function("writer", 0, lambda: _audience[0].writer)
    connection.execute("PRAGMA journal_mode=MEMORY")
    connection.execute("PRAGMA synchronous=OFF")


class FaultyLink(Database):
    """A driver's connection.

    Each statement may fail, before or after it is executed, with or without losing the connection; the driver may be
    killed or suspended before and after each. Where it simulates a server, reads see each commit of others.
    """

    def __init__(self, url: str, world: Surroundings, driver: Any):
        super().__init__(url)
        self.world, self.driver = world, driver
        self.inside = False
        self._bare = False  # in a read transaction of a server, which has no stable snapshot
        self._severed = False
        self._result: Any = None

    def _engine(self, url: sa.URL, arguments: dict[str, Any]) -> sa.Engine:
        return _engine(str(url))

    def _configure(self, connection: sa.Connection) -> None:
        """Nothing: the engine has already done it."""

    def data_version(self) -> tuple[int, int] | None:
        return None if self.world.case.server else super().data_version()

    @property
    def single_driver(self) -> bool:
        return not self.world.case.server

    def clock(self) -> float:
        return self.world.clock_of(self.driver)

    def begin(self, *, write: bool) -> None:
        if not write and self.world.case.server:
            self._bare = True
            return
        self.inside = True  # before begin(), in which the driver may be suspended
        super().begin(write=write)
        if write:
            self.world.transact(self.driver)

    def commit(self) -> None:
        if self._bare:
            self._bare = False
            return
        super().commit()
        self.inside = False

    def rollback(self) -> None:
        self.inside, bare, self._bare = False, self._bare, False
        if not bare:
            super().rollback()

    def drop(self) -> None:
        self._severed = self._bare = False
        self._cut()

    def sever(self) -> None:
        """The server closes the connection; every statement fails until it is opened again."""
        self._severed = True
        self._cut()

    def _cut(self) -> None:
        """Close the connection; SQLite rolls an open transaction back, as a server does."""
        self.inside = False
        self._close_result()
        super().drop()

    def run(self, statement: Any, rows: Any = None) -> Any:
        what = str(statement).split(" ", 1)[0].lower() if isinstance(statement, str) else "a statement"
        self.world.point(f"before {what}")
        self._fail_perhaps(statement, "before")
        result = self._result = self._run(statement, rows)
        try:
            self._fail_perhaps(statement, "after")
            self.world.point(f"after {what}")
            if self._severed:
                raise _error("the connection is closed")
        except BaseException:
            self._close_result()
            raise
        return result

    def _close_result(self) -> None:
        """Close the last cursor: while open, it would block other writers."""
        result, self._result = self._result, None
        if result is not None:
            result.close()

    def _run(self, statement: Any, rows: Any) -> Any:
        result = super().run(statement, rows)
        if result.returns_rows and self.driver.points + 1 in self.driver.naps:
            return result.freeze()()  # read at once, since the driver may be suspended before it reads the rows
        return result

    def rows(self, statement: str, row: Any = None) -> list[Any]:
        return list(map(tuple, self.run(statement, row).all()))  # what was read at once has no cursor

    def _fail_perhaps(self, statement: Any, when: str) -> None:
        if self.driver.dead:
            raise AssertionError("a dead driver runs SQL")
        if self._severed:
            raise _error("the connection is closed")
        if when == "before" and self.world.locked_against(self.driver) and statement == "BEGIN IMMEDIATE":
            raise _error("database is locked")
        failing = self.world.database_fails(statement)
        if not failing:
            return
        self.world.saw[f"database failed {when} {'COMMIT' if statement == 'COMMIT' else 'a statement'}"] += 1
        if failing == "severed":
            self.sever()
        raise _error("the server does not answer")


def _error(words: str) -> OperationalError | InterfaceError:
    kind = InterfaceError if "closed" in words else OperationalError
    return kind("", {}, sqlite3.OperationalError(words))
