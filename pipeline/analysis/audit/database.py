"""What the database says of a study, as its auditor needs it: read by a few statements over all trials."""

from __future__ import annotations

import json
from array import array
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ...record import LEARNED, OWNER, Lease
from ...record.leases import ATTEMPT, LEFT
from ...record.leases import PREFIX as LEASE
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
from ..tables import WORDS
from .files import NOTHING, Reports

if TYPE_CHECKING:
    from ...record.database import Database

UNIQUE = (
    (trial_values, "objective", "value of one objective"),
    (trial_intermediate_values, "step", "report of one step"),
    (trial_params, "param_name", "parameter of one name"),
    (trial_user_attributes, "key", "user attribute of one name"),
    (trial_system_attributes, "key", "system attribute of one name"),
)
"""What a trial has one of."""

USER = {
    "pilotune:exit": "exit",
    "pilotune:attempts": "attempts",
    "pilotune:directory": "directory",
    "pilotune:paused": "paused",
    LEARNED: "learned",
}
SYSTEM = {OWNER: "owner", ATTEMPT: "attempt", LEFT: "left"}
"""Attributes that the audit reads -> fields of :class:`RecordedTrial`."""

SOME_LINES = 5
"""Lines of a database's own check that are repeated."""


@dataclass(slots=True)
class RecordedTrial:
    """A trial as the database has it.

    Attributes:
        state: In Pilotune's words.
        exit: How Pilotune says that it ended; None where it did not say.
        attempts: How many there were, as it was told at the end; None likewise.
        attempt: The latest that may have begun.
        owner: The campaign that is responsible for it; None of trials that others than Pilotune run.
        left: Of one that was taken over: who started its latest attempt then, and where.
        directory: Its folder, told at the end.
        paused: The step of the rung at which it waits.
        learned: The trial of another study that it was copied from.
        values: Its values; empty without any.
        objectives: To which objectives they belong.
        reports: Its reports.
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
    paused: Any = None
    values: list[float] = field(default_factory=list)
    objectives: list[int] = field(default_factory=list)
    reports: Reports = NOTHING

    @property
    def final(self) -> bool:
        return self.state not in ("running", "waiting")

    @property
    def token(self) -> str:
        """Of the attempt that counts: the latest, by the campaign that started it."""
        left = self.left if isinstance(self.left, dict) else {}
        campaign = left.get("campaign") if left.get("attempt") == self.attempt else self.owner
        return f"{self.number}.{self.attempt}.{campaign}"


@dataclass(frozen=True)
class Claims:
    """Who works, or has worked, on the study.

    Attributes:
        study_id: In the database.
        directions: How many.
        leases: Of all campaigns, by id.
        alive: Ids of those whose drivers live.
        single_driver: Whether the database takes one driver at a time.
    """

    study_id: int
    directions: int
    leases: dict[str, Lease]
    alive: frozenset[str]
    single_driver: bool

    @property
    def dead(self) -> list[Lease]:
        """Of campaigns that are over, as told or not."""
        return [lease for lease in self.leases.values() if lease.campaign not in self.alive]


def steady(database: Database) -> None:
    """One moment for all statements of the transaction that has just begun, as SQLite has it by itself."""
    if database.dialect == "postgresql":
        database.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def claims(database: Database, study_id: int) -> Claims:
    """The campaigns of a study, judged by the database's clock."""
    now = database.clock()
    if database.dialect == "postgresql":
        now = float(database.run("SELECT extract(epoch FROM clock_timestamp())").scalar_one())
    a = study_system_attributes.c
    rows = database.run(sa.select(a.key, a.value_json).where(a.study_id == study_id, a.key.startswith(LEASE)))
    found = {key.removeprefix(LEASE): Lease.parse(key.removeprefix(LEASE), _json(text)) for key, text in rows}
    directions = sa.select(sa.func.count()).where(study_directions.c.study_id == study_id)
    alive = frozenset(campaign for campaign, lease in found.items() if lease.alive(now))
    return Claims(study_id, int(database.run(directions).scalar_one()), found, alive, database.dialect == "sqlite")


def read_recorded_trials(database: Database, study_id: int) -> dict[int, RecordedTrial]:
    """All trials of a study, by their ids in the database."""
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
        trial.directory = trial.directory if isinstance(trial.directory, str) else None
        trial.exit = None if trial.exit is None else str(trial.exit)
    r = trial_intermediate_values.c
    reports = sa.select(r.trial_id, r.step, r.intermediate_value, r.intermediate_value_type).where(r.trial_id.in_(of))
    for i, pairs in _by_trial(database.run(reports)):
        found[i].reports = pairs
    return found


def _by_trial(rows: Any) -> Iterator[tuple[int, Reports]]:
    steps: dict[int, array[int]] = defaultdict(lambda: array("q"))
    values: dict[int, array[float]] = defaultdict(lambda: array("d"))
    for i, step, value, kind in rows:
        steps[i].append(step)
        values[i].append(load_float(value, kind))
    for i in steps:
        yield i, Reports(steps[i], values[i])


def _json(text: str) -> Any:
    """Broken JSON is as good as none."""
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None


# -- what must hold of any database -----------------------------------------------------------------------------------


def own_check(database: Database) -> list[str]:
    """What SQLite's own check of the whole file finds; PostgreSQL looks after itself."""
    if database.dialect != "sqlite":
        return []
    said = [str(line) for line in database.run("PRAGMA integrity_check(100)").scalars()]
    said = [line for text in said for line in text.splitlines() if line != "ok" and not line.startswith("***")]
    more = [f"and {len(said) - SOME_LINES} more of the kind"] if len(said) > SOME_LINES else []
    return [f"the database file is damaged: {line}" for line in said[:SOME_LINES] + more]


def strays(database: Database) -> list[str]:
    """Rows that belong to nothing, and rows that a trial may have only one of."""
    found = []
    for table, owner, key in [
        *((table, trials, "trial_id") for table in OF_TRIAL),
        *((table, studies, "study_id") for table in (*OF_STUDY, trials)),
    ]:
        belongs = sa.exists().where(owner.c[key] == table.c[key])
        count = database.run(sa.select(sa.func.count()).select_from(table).where(~belongs)).scalar_one()
        if count:
            found.append(f"{count} rows of {table.name} belong to no {key.removesuffix('_id')}")
    for table, key, what in UNIQUE:
        pair = (table.c.trial_id, table.c[key])
        double = sa.select(*pair).group_by(*pair).having(sa.func.count() > 1).limit(1)
        for row in database.run(double):
            found.append(f"the trial with the id {row.trial_id} has more than one {what} ({row[1]})")
    return found
