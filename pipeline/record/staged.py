"""Changes that are not in the database yet, and the rows they become.

What is kept is which parts of a trial changed, not their values: a commit writes what the mirror holds then. So a
commit that has to be repeated writes the newest state, and writing it twice does no harm; only new trials must not be
inserted twice.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.trial import FrozenTrial

from .connect import Link
from .mirror import StudyMirror
from .tables import Statements, statements, store_float, store_time


@dataclass
class TrialChanges:
    """The parts of a committed trial that changed. ``claim``: it waited, and is now to run here."""

    state: bool = False
    claim: bool = False
    values: bool = False
    params: set[str] = field(default_factory=set)
    user: set[str] = field(default_factory=set)
    system: set[str] = field(default_factory=set)
    steps: set[int] = field(default_factory=set)

    def add(self, other: TrialChanges) -> None:
        self.state |= other.state
        self.claim |= other.claim
        self.values |= other.values
        self.params |= other.params
        self.user |= other.user
        self.system |= other.system
        self.steps |= other.steps


@dataclass
class Staged:
    """The changes of one study. ``new`` holds local ids in the order of creation; their rows are written whole."""

    new: dict[int, None] = field(default_factory=dict)
    trials: dict[int, TrialChanges] = field(default_factory=dict)
    user: set[str] = field(default_factory=set)
    system: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.new or self.trials or self.user or self.system)

    def of(self, local: int) -> TrialChanges:
        changes = self.trials.get(local)
        if changes is None:
            changes = self.trials[local] = TrialChanges()
        return changes

    def forget(self, local: int) -> None:
        self.new.pop(local, None)
        self.trials.pop(local, None)

    def add(self, later: Staged) -> None:
        self.new |= later.new
        for local, changes in later.trials.items():
            self.of(local).add(changes)
        self.user |= later.user
        self.system |= later.system


@dataclass(frozen=True)
class Before:
    """What was staged when a study was locked."""

    mirror: StudyMirror
    staged: Staged
    ours: frozenset[int]


@dataclass
class Pending:
    """A commit that may be in doubt: its place in the count, what it wrote, and what was before a locked one."""

    study_id: int
    tick: int
    written: dict[int, tuple[Staged, dict[int, int]]] = field(default_factory=dict)
    before: Before | None = None


Rows = dict[str, list[dict[str, Any]]]


def _trial_rows(rows: Rows, trial: FrozenTrial, db_id: int, changes: TrialChanges) -> None:
    for name in trial.params if changes is _WHOLE or changes.params else ():
        if changes is not _WHOLE and name not in changes.params:
            continue
        distribution = trial.distributions[name]
        rows["params"].append(
            {
                "trial_id": db_id,
                "param_name": name,
                "param_value": float(distribution.to_internal_repr(trial.params[name])),
                "distribution_json": distribution_to_json(distribution),
            }
        )
    if changes.values and trial.values is not None:
        for objective, number in enumerate(trial.values):
            value, kind = store_float(number)
            rows["values"].append({"trial_id": db_id, "objective": objective, "value": value, "value_type": kind})
    for step in trial.intermediate_values.keys() if changes is _WHOLE else changes.steps:
        value, kind = store_float(trial.intermediate_values[step])
        rows["steps"].append(
            {"trial_id": db_id, "step": step, "intermediate_value": value, "intermediate_value_type": kind}
        )
    rows["trial_user"] += _attributes(trial.user_attrs, None if changes is _WHOLE else changes.user, trial_id=db_id)
    rows["trial_system"] += _attributes(
        trial.system_attrs, None if changes is _WHOLE else changes.system, trial_id=db_id
    )
    if changes.state and changes is not _WHOLE:
        rows["trial_state"].append({"of": db_id, **_state(trial)})


_WHOLE = TrialChanges(state=True, values=True)


def _state(trial: FrozenTrial) -> dict[str, Any]:
    start, complete = store_time(trial.datetime_start), store_time(trial.datetime_complete)
    return {"to": trial.state, "start": start, "complete": complete}


def _attributes(attrs: dict[str, Any], keys: set[str] | None, **owner: int) -> list[dict[str, Any]]:
    # In the order in which they were set, which is the order that readers see.
    chosen = attrs if keys is None else [key for key in attrs if key in keys] if keys else ()
    return [{**owner, "key": key, "value_json": json.dumps(attrs[key])} for key in chosen]


def write_study(link: Link, mirror: StudyMirror, staged: Staged) -> dict[int, int]:
    """Write all of ``staged``; returns the database ids of the new trials by their local ones."""
    made = statements(link.dialect)
    new_ids = insert_new(link, made, mirror, staged.new)
    write(link, made, mirror, staged, new_ids)
    return new_ids


def insert_new(link: Link, made: Statements, mirror: StudyMirror, new: Iterable[int]) -> dict[int, int]:
    """Insert the trials' own rows; returns their database ids by local ids."""
    rows = []
    for local in new:
        trial = mirror.trials[local]
        times = _state(trial)
        rows.append(
            {
                "study_id": mirror.study_id,
                "number": trial.number,
                "state": trial.state,
                "datetime_start": times["start"],
                "datetime_complete": times["complete"],
            }
        )
    if not rows:
        return {}
    return {mirror.numbers[number]: db_id for db_id, number in link.run(made.new_trials, rows)}


def write(link: Link, made: Statements, mirror: StudyMirror, staged: Staged, new_ids: dict[int, int]) -> None:
    """Write everything of ``staged`` but the trials' own rows, which ``insert_new`` wrote: one statement a table."""
    rows: Rows = defaultdict(list)
    for local, db_id in new_ids.items():
        _trial_rows(rows, mirror.trials[local], db_id, _WHOLE)
    for local, changes in staged.trials.items():
        if local not in new_ids:
            _trial_rows(rows, mirror.trials[local], mirror.db_ids[local], changes)
    rows["study_user"] += _attributes(mirror.user_attrs, staged.user, study_id=mirror.study_id)
    rows["study_system"] += _attributes(mirror.system_attrs, staged.system, study_id=mirror.study_id)
    for name, items in rows.items():
        if items:
            link.run(getattr(made, name), items)
