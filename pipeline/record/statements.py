"""The SQL of commits and syncs as text, with all differences between SQLite and PostgreSQL.

These statements run at every tick and for every trial. They are passed to the database driver as text, because
SQLAlchemy's compiler takes several times as long as the database. Rows are tuples in the order of the columns named
here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from ..attributes import PAUSED, PREFIX, RUNG
from .database import Database

Row = tuple[Any, ...]

_INTEGER, _TEXT, _FLOAT, _TIME = "integer", "text", "float8", "timestamp"


@dataclass(frozen=True)
class _Target:
    """A table that rows are written to.

    Attributes:
        table: Its name.
        columns: Name and PostgreSQL type of each column that is written, the unique key first.
        keys: How many columns the unique key has.
    """

    table: str
    columns: tuple[tuple[str, str], ...]
    keys: int


def _attribute(table: str, owner: str) -> _Target:
    return _Target(table, ((owner, _INTEGER), ("key", _TEXT), ("value_json", _TEXT)), 2)


_TARGETS = {
    "params": _Target(
        "trial_params",
        (("trial_id", _INTEGER), ("param_name", _TEXT), ("param_value", _FLOAT), ("distribution_json", _TEXT)),
        2,
    ),
    "values": _Target(
        "trial_values",
        (("trial_id", _INTEGER), ("objective", _INTEGER), ("value", _FLOAT), ("value_type", "trialvaluetype")),
        2,
    ),
    "steps": _Target(
        "trial_intermediate_values",
        (
            ("trial_id", _INTEGER),
            ("step", _INTEGER),
            ("intermediate_value", _FLOAT),
            ("intermediate_value_type", "trialintermediatevaluetype"),
        ),
        2,
    ),
    "trial_user": _attribute("trial_user_attributes", "trial_id"),
    "trial_system": _attribute("trial_system_attributes", "trial_id"),
    "study_user": _attribute("study_user_attributes", "study_id"),
    "study_system": _attribute("study_system_attributes", "study_id"),
}
_NEW = (
    ("study_id", _INTEGER),
    ("number", _INTEGER),
    ("state", "trialstate"),
    ("datetime_start", _TIME),
    ("datetime_complete", _TIME),
)
_STATE = (("trial_id", _INTEGER), ("state", "trialstate"), ("datetime_start", _TIME), ("datetime_complete", _TIME))

PARTS = {
    "params": ("trial_params", "param_id", "param_name, param_value, distribution_json"),
    "steps": (
        "trial_intermediate_values",
        "trial_intermediate_value_id",
        "step, intermediate_value, intermediate_value_type",
    ),
    "user": ("trial_user_attributes", "trial_user_attribute_id", "key, value_json"),
    "system": ("trial_system_attributes", "trial_system_attribute_id", "key, value_json"),
}
"""What a trial collects while it runs: table, its primary key, and the columns read after the trial's id."""

STANDING = (PAUSED, PREFIX + RUNG)
"""The user attributes that say at which rung a trial is. The second one is of earlier versions."""


class Statements:
    """The SQL of one dialect.

    Attributes:
        lock: Lock a study's row for writing. Argument: study id.
        attribute: One system attribute of a study. Arguments: study id, key.
        user, system: All user or system attributes of a study. Argument: study id.
        new_trials: Trials of a study with higher ids. Arguments: study id, trial id.
        trials, states: Rows, or states only, of a set of trials. Argument: ``ids``.
        left: Ids of the trials of a first set that no longer run, and of a second set that no longer wait.
        whole: Part (``values`` and ``standing`` too) -> its rows of a set of trials. Argument: ``ids``.
        later: Part -> its rows with a higher primary key. Arguments: key, ``ids``.
        highest_keys: The oldest transaction in progress, the next one to come (both 0 on SQLite, where a transaction
            that writes is alone), and the highest primary key of each of ``PARTS``.
    """

    def __init__(self, dialect: str):
        self._server = dialect == "postgresql"
        self._writes = {name: self._upsert(target) for name, target in _TARGETS.items()}
        self._new, self._state = self._insert_new(), self._update_state()
        among = self._among("trial_id")
        # "+" before a column keeps both databases from using that column's index: new rows are found by primary key.
        self.lock = self._text("SELECT study_id FROM studies WHERE study_id = ?" + " FOR UPDATE" * self._server)
        self.attribute = self._text("SELECT value_json FROM study_system_attributes WHERE study_id = ? AND key = ?")
        self.user, self.system = (
            self._text(f"SELECT key, value_json FROM study_{kind}_attributes WHERE study_id = ?")
            for kind in ("user", "system")
        )
        trials = "SELECT trial_id, number, state, datetime_start, datetime_complete FROM trials"
        self.new_trials = self._text(f"{trials} WHERE +study_id = ? AND trial_id > ? ORDER BY trial_id")
        self.trials = self._text(f"{trials} WHERE {among} ORDER BY trial_id")
        self.states = self._text(f"SELECT trial_id, state FROM trials WHERE {among}")
        self.left = self._text(
            f"SELECT trial_id FROM trials WHERE {among} AND state <> 'RUNNING' "
            f"UNION ALL SELECT trial_id FROM trials WHERE {among} AND state <> 'WAITING'"
        )
        self.whole = {
            name: self._text(f"SELECT trial_id, {columns} FROM {table} WHERE {among} ORDER BY trial_id, {key}")
            for name, (table, key, columns) in PARTS.items()
        }
        self.whole["values"] = self._text(
            f"SELECT trial_id, value, value_type FROM trial_values WHERE {among} ORDER BY trial_id, objective"
        )
        keys = ", ".join(f"'{key}'" for key in STANDING)
        self.whole["standing"] = self._text(
            f"SELECT trial_id, key, value_json FROM trial_user_attributes WHERE {among} AND key IN ({keys}) "
            "ORDER BY trial_id, trial_user_attribute_id"
        )
        self.later = {
            name: self._text(
                f"SELECT trial_id, {columns} FROM {table} WHERE {key} > ? AND {self._among('+trial_id')} ORDER BY {key}"
            )
            for name, (table, key, columns) in PARTS.items()
        }
        highest = ", ".join(f"(SELECT max({key}) FROM {table})" for table, key, _ in PARTS.values())
        self.highest_keys = f"SELECT 0, 0, {highest}"
        if self._server:
            self.highest_keys = (
                f"SELECT txid_snapshot_xmin(now), txid_snapshot_xmax(now), {highest} FROM txid_current_snapshot() now"
            )

    def _text(self, sql: str) -> str:
        return sql.replace("?", "%s") if self._server else sql

    def _among(self, column: str) -> str:
        if self._server:
            return f"{column} = ANY(?::integer[])"
        return f"{column} IN (SELECT value FROM json_each(?))"

    def ids(self, db_ids: Iterable[int]) -> str:
        """A set of trials as one argument of a statement."""
        return ("{%s}" if self._server else "[%s]") % ",".join(map(str, db_ids))

    # Writing

    def _rows(self, columns: Sequence[tuple[str, str]]) -> str:
        """Rows sent to PostgreSQL as one JSON array for each column: the cheapest for the client, in one round trip."""
        chosen = ", ".join(f"c{place}::{kind}" for place, (_, kind) in enumerate(columns))
        arrays = ", ".join(["json_array_elements_text(%s::json)"] * len(columns))
        names = ", ".join(f"c{place}" for place in range(len(columns)))
        return f"SELECT {chosen} FROM ROWS FROM ({arrays}) AS rows({names})"

    def _insert(self, table: str, columns: Sequence[tuple[str, str]]) -> str:
        names = ", ".join(name for name, _ in columns)
        if self._server:
            return f"INSERT INTO {table} ({names}) {self._rows(columns)}"
        return f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})"

    def _upsert(self, target: _Target) -> str:
        names = [name for name, _ in target.columns]
        keys, rest = names[: target.keys], names[target.keys :]
        changes = ", ".join(f"{name} = excluded.{name}" for name in rest)
        insert = self._insert(target.table, target.columns)
        return f"{insert} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changes}"

    def _insert_new(self) -> str:
        if self._server:
            return f"{self._insert('trials', _NEW)} RETURNING trial_id, number"
        return self._insert("trials", (("trial_id", _INTEGER), *_NEW))

    def _update_state(self) -> str:
        names = [name for name, _ in _STATE]
        if not self._server:
            return f"UPDATE trials SET {', '.join(f'{name} = ?' for name in names[1:])} WHERE trial_id = ?"
        changes = ", ".join(f"{name} = new.{name}" for name in names[1:])
        rows = self._rows(_STATE).replace("rows(", "r(")
        return (
            f"UPDATE trials SET {changes} FROM ({rows}) AS new({', '.join(names)}) WHERE trials.trial_id = new.trial_id"
        )

    def _packed(self, rows: list[Row]) -> Any:
        return tuple(json.dumps(column) for column in zip(*rows, strict=True)) if self._server else rows

    def write(self, database: Database, name: str, rows: list[Row]) -> None:
        """Insert rows, or overwrite those whose unique key exists. ``name``: a key of ``_TARGETS``."""
        if rows:
            database.run(self._writes[name], self._packed(rows))

    def write_states(self, database: Database, rows: list[Row]) -> None:
        """Overwrite state, start and end of trials; rows are (trial id, state, start, end)."""
        if rows:
            rows = rows if self._server else [(*row[1:], row[0]) for row in rows]
            database.run(self._state, self._packed(rows))

    def insert_trials(self, database: Database, rows: list[Row]) -> dict[int, int]:
        """Insert new trials of a study; rows are (study id, number, state, start, end). Returns their ids by number."""
        if self._server:
            return {number: db_id for db_id, number in database.run(self._new, self._packed(rows))}
        # Nobody else writes meanwhile; SQLite itself would use the highest id plus one as well.
        first = database.run("SELECT coalesce(max(trial_id), 0) + 1 FROM trials").scalar_one()
        database.run(self._new, [(first + place, *row) for place, row in enumerate(rows)])
        return {row[1]: first + place for place, row in enumerate(rows)}


@cache
def statements(dialect: str) -> Statements:
    """The statements for ``"sqlite"`` or ``"postgresql"``, made once."""
    return Statements(dialect)
