"""Reads what an audit needs of a study from its database, with a few statements over all trials."""

from __future__ import annotations

import json
from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ....grammar import count as counted
from ...attributes import (
    ARTIFACTS,
    ATTEMPT,
    ATTEMPTS,
    COPIED,
    DIRECTORY,
    EXIT,
    HEARD,
    LEARNED,
    LEASE,
    LEFT,
    OWNER,
    PAUSED,
    REPEATS,
)
from ...noise import Repetition, read_repetitions
from ...record import Lease
from ...record.tables import (
    OF_STUDY,
    OF_TRIAL,
    load_float,
    studies,
    study_directions,
    study_system_attributes,
    trial_intermediate_values,
    trial_params,
    trial_system_attributes,
    trial_user_attributes,
    trial_values,
    trials,
)
from ..reading import clock_of
from ..trial_facts import WORDS
from .files import NOTHING, Reports

if TYPE_CHECKING:
    from ...record.database import Database

UNIQUE = (
    (trial_values, "objective", "values of objective"),
    (trial_intermediate_values, "step", "reports of step"),
    (trial_params, "param_name", "parameters named"),
    (trial_user_attributes, "key", "user attributes named"),
    (trial_system_attributes, "key", "system attributes named"),
)
"""Table, column and name of what a trial must not have twice."""

USER = {
    EXIT: "exit",
    ATTEMPTS: "attempts",
    DIRECTORY: "directory",
    PAUSED: "paused",
    LEARNED: "learned",
}
SYSTEM = {
    OWNER: "owner",
    ATTEMPT: "attempt",
    LEFT: "left",
    COPIED: "copied",
    HEARD: "heard",
    REPEATS: "repetitions",
    ARTIFACTS: "artifacts",
}
"""User and system attributes that the audit reads -> fields of :class:`RecordedTrial`."""

MAX_INTEGRITY_ERRORS = 5
"""Most findings of SQLite's integrity check that are reported."""


@dataclass(slots=True)
class RecordedTrial:
    """A trial as the database has it. Attributes of Pilotune are None if they are not set.

    Attributes:
        number: The trial's number.
        state: A word of ``tables.STATES``.
        exit: How it ended, according to Pilotune.
        attempts: Number of attempts, recorded at its end.
        attempt: The latest attempt that may have begun; 0 if none.
        owner: The campaign that is responsible for it; None if a program other than Pilotune runs it.
        left: If another campaign took it over: who had started its latest attempt, and where.
        directory: Its folder, recorded at its end.
        learned: The trial of another study that it was copied from.
        copied: The trial that it is a copy of, in the study that was copied. Its end and its folder are not shown here,
            since the original's outcomes account for it.
        heard: How much of its newest report log its driver has read: attempt and bytes.
        paused: The step of the rung at which it is paused.
        values: Its values; empty if it has none.
        objectives: Index of the objective of each value.
        reports: Its reports: those of its first repetition, where it was repeated.
        repetitions: What its complete repetitions gave; empty where trials are not repeated.
        artifacts: Bytes of each file that it kept, by name.
    """

    number: int
    state: str
    exit: str | None = None
    attempts: Any = None
    attempt: Any = 0
    owner: Any = None
    left: Any = None
    directory: str | None = None
    learned: Any = None
    copied: Any = None
    heard: Any = None
    paused: Any = None
    values: list[float] = field(default_factory=list)
    objectives: list[int] = field(default_factory=list)
    reports: Reports = NOTHING
    repetitions: Sequence[Repetition] = ()
    artifacts: Any = None

    @property
    def final(self) -> bool:
        """Whether it has ended."""
        return self.state not in ("running", "waiting")

    @property
    def reporting(self) -> int:
        """The last attempt whose reports are kept: that which ended the first repetition, or else the latest one."""
        return self.repetitions[0].attempt if self.repetitions else int(self.attempt)

    @property
    def token(self) -> str:
        """Token of the attempt whose outcome counts: the latest one, by the campaign that started it."""
        left = self.left if isinstance(self.left, dict) else {}
        campaign = left.get("campaign") if left.get("attempt") == self.attempt else self.owner
        return f"{self.number}.{self.attempt}.{campaign}"


@dataclass(frozen=True)
class Claims:
    """The campaigns that work, or have worked, on the study.

    Attributes:
        study_id: The study's id in the database.
        directions: Number of objectives.
        leases: Leases of all campaigns, by the campaign's id.
        alive: Ids of the campaigns whose drivers are alive.
        single_driver: Whether the database allows only one driver at a time.
    """

    study_id: int
    directions: int
    leases: dict[str, Lease]
    alive: frozenset[str]
    single_driver: bool

    @property
    def dead(self) -> list[Lease]:
        """Leases of the campaigns whose drivers have ended or died."""
        return [lease for lease in self.leases.values() if lease.campaign not in self.alive]


def use_one_snapshot(database: Database) -> None:
    """Let all statements of the transaction, which has just begun, see one state. SQLite does that by itself."""
    if database.dialect == "postgresql":
        database.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def read_claims(database: Database, study_id: int) -> Claims:
    """The campaigns of a study. Which drivers are alive is decided by the database's clock."""
    now = clock_of(database)
    a = study_system_attributes.c
    rows = database.run(sa.select(a.key, a.value_json).where(a.study_id == study_id, a.key.startswith(LEASE)))
    found = {key.removeprefix(LEASE): Lease.parse(key.removeprefix(LEASE), _json(text)) for key, text in rows}
    directions = sa.select(sa.func.count()).where(study_directions.c.study_id == study_id)
    alive = frozenset(campaign for campaign, lease in found.items() if lease.alive(now))
    return Claims(study_id, int(database.run(directions).scalar_one()), found, alive, database.dialect == "sqlite")


def read_recorded_trials(database: Database, study_id: int) -> dict[int, RecordedTrial]:
    """All trials of a study, by their id in the database."""
    t, of = trials.c, sa.select(trials.c.trial_id).where(trials.c.study_id == study_id)
    rows = database.run(sa.select(t.trial_id, t.number, t.state).where(t.study_id == study_id).order_by(t.trial_id))
    found = {i: RecordedTrial(-1 if number is None else number, WORDS[state.name]) for i, number, state in rows}
    v = trial_values.c
    values = sa.select(v.trial_id, v.objective, v.value, v.value_type).where(v.trial_id.in_(of))
    for i, objective, value, kind in database.run(values.order_by(v.trial_id, v.objective)):
        found[i].values.append(load_float(value, kind))
        found[i].objectives.append(objective)
    for table, fields in ((trial_user_attributes, USER), (trial_system_attributes, SYSTEM)):
        a = table.c
        chosen = sa.select(a.trial_id, a.key, a.value_json).where(a.key.in_(list(fields)), a.trial_id.in_(of))
        for i, key, text in database.run(chosen):
            setattr(found[i], fields[key], _json(text))
    for trial in found.values():
        trial.attempt = trial.attempt if type(trial.attempt) is int else 0
        trial.repetitions = read_repetitions(trial.repetitions)
        trial.directory = trial.directory if isinstance(trial.directory, str) else None
        trial.exit = None if trial.exit is None else str(trial.exit)
        if trial.copied is not None:
            trial.exit = trial.directory = None
    r = trial_intermediate_values.c
    reports = sa.select(r.trial_id, r.step, r.intermediate_value, r.intermediate_value_type).where(r.trial_id.in_(of))
    for i, pairs in _by_trial(database.run(reports)):
        found[i].reports = pairs
    return found


def _by_trial(rows: Any) -> Iterator[tuple[int, Reports]]:
    """The reports of each trial, by its id in the database."""
    steps: dict[int, array[int]] = defaultdict(lambda: array("q"))
    values: dict[int, array[float]] = defaultdict(lambda: array("d"))
    for i, step, value, kind in rows:
        steps[i].append(step)
        values[i].append(load_float(value, kind))
    for i in steps:
        yield i, Reports(steps[i], values[i])


def _json(text: str) -> Any:
    """The value of an attribute; None if it is not valid JSON."""
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None


# -- the database as a whole ------------------------------------------------------------------------------------------


def integrity_errors(database: Database) -> list[str]:
    """What SQLite's integrity check of the whole file finds; empty for PostgreSQL, which has no such check."""
    if database.dialect != "sqlite":
        return []
    said = [str(line) for line in database.run("PRAGMA integrity_check(100)").scalars()]
    said = [line for text in said for line in text.splitlines() if line != "ok" and not line.startswith("***")]
    more = [f"and {len(said) - MAX_INTEGRITY_ERRORS} more errors"] if len(said) > MAX_INTEGRITY_ERRORS else []
    return [f"the database file is damaged: {line}" for line in said[:MAX_INTEGRITY_ERRORS] + more]


def stray_rows(database: Database) -> list[str]:
    """Rows that belong to no study or trial, and rows that a trial has twice but may have only once."""
    found = []
    for table, owner, key in [
        *((table, trials, "trial_id") for table in OF_TRIAL),
        *((table, studies, "study_id") for table in (*OF_STUDY, trials)),
    ]:
        belongs = sa.exists().where(owner.c[key] == table.c[key])
        count = database.run(sa.select(sa.func.count()).select_from(table).where(~belongs)).scalar_one()
        if count:
            belong = "belongs" if count == 1 else "belong"
            found.append(f"{counted(count, 'row')} of {table.name} {belong} to no {key.removesuffix('_id')}")
    for table, key, what in UNIQUE:
        pair = (table.c.trial_id, table.c[key])
        double = sa.select(*pair).group_by(*pair).having(sa.func.count() > 1).limit(1)
        for row in database.run(double):
            found.append(f"the trial with id {row.trial_id} has several {what} {row[1]}")
    return found
