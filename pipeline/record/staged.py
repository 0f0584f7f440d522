"""Collects changes that are not in the database yet, and turns them into rows.

Only *which* parts of a trial changed is kept, not their values: a commit writes what the cache holds at that time. So a
commit that has to be repeated writes the newest state, and writing it twice does no harm. Only new trials must not be
inserted twice.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import FrozenTrial

from .database import Database
from .statements import Row, statements
from .study_cache import StudyCache
from .tables import store_float, store_time


@dataclass
class TrialChanges:
    """The parts of a committed trial that changed.

    Attributes:
        state: Its state, start or end.
        claim: The trial waited in the database and is to run here.
        values: Its objective values.
        params: Names of parameters.
        user: Keys of user attributes.
        system: Keys of system attributes.
        steps: Steps of reports, in the order in which they were reported.
    """

    state: bool = False
    claim: bool = False
    values: bool = False
    params: set[str] = field(default_factory=set)
    user: set[str] = field(default_factory=set)
    system: set[str] = field(default_factory=set)
    steps: dict[int, None] = field(default_factory=dict)

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
    """The staged changes of one study.

    Attributes:
        new: Local ids of new trials in order of creation; they are written whole, whatever else is staged for them.
        trials: Local id -> what changed.
        user: Keys of the study's user attributes that changed.
        system: Keys of its system attributes that changed.
    """

    new: dict[int, None] = field(default_factory=dict)
    trials: dict[int, TrialChanges] = field(default_factory=dict)
    user: set[str] = field(default_factory=set)
    system: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.new or self.trials or self.user or self.system)

    def of(self, local: int) -> TrialChanges:
        """The changes of one trial, for the caller to add to."""
        changes = self.trials.get(local)
        if changes is None:
            changes = self.trials[local] = TrialChanges()
        return changes

    def forget(self, local: int) -> None:
        """Drop all changes of a trial."""
        self.new.pop(local, None)
        self.trials.pop(local, None)

    def add(self, later: Staged) -> None:
        """Add changes that were staged after these."""
        self.new |= later.new
        for local, changes in later.trials.items():
            self.of(local).add(changes)
        self.user |= later.user
        self.system |= later.system


@dataclass(frozen=True)
class Before:
    """A study's cache, staged changes and own trials when ``locked`` began."""

    cache: StudyCache
    staged: Staged
    ours: frozenset[int]


@dataclass
class Pending:
    """A commit of which it may be unknown whether it landed.

    Attributes:
        study_id: The study whose attributes hold the counter of commits.
        tick: The counter's value that this commit writes.
        written: Study id -> the changes that it wrote, and the database ids of new trials by local id.
        before: What was staged before, of a commit by ``locked``.
    """

    study_id: int
    tick: int
    written: dict[int, tuple[Staged, dict[int, int]]] = field(default_factory=dict)
    before: Before | None = None


Rows = dict[str, list[Row]]
_encode = json.JSONEncoder().encode  # json.dumps checks its options anew at each call
_texts: dict[int, tuple[BaseDistribution, str]] = {}
_TEXTS = 4096  # distributions; more than the parameters of any study


def _text_of(distribution: BaseDistribution) -> str:
    """Optuna's JSON of a distribution, made once for each object, since all trials share the objects."""
    known = _texts.get(id(distribution))
    if known is not None and known[0] is distribution:
        return known[1]
    if len(_texts) >= _TEXTS:
        _texts.clear()
    text = distribution_to_json(distribution)
    _texts[id(distribution)] = distribution, text
    return text


class _Everything:
    """Contains everything: all parts of a new trial are written."""

    def __contains__(self, item: object) -> bool:
        return True


_ALL = _Everything()


def _add_rows(rows: Rows, trial: FrozenTrial, db_id: int, changes: TrialChanges | None) -> None:
    """Add the rows of a trial's changed parts (None: of all parts), except its row in table ``trials``."""
    params: Container[str] = _ALL
    user, system = params, params
    if changes is not None:
        params, user, system = changes.params, changes.user, changes.system
    if params:
        distributions = trial.distributions
        for name, value in trial.params.items():
            if name in params:
                distribution = distributions[name]
                number = float(distribution.to_internal_repr(value))
                rows["params"].append((db_id, name, number, _text_of(distribution)))
    if trial.values is not None and (changes is None or changes.values):
        rows["values"] += [(db_id, place, *store_float(value)) for place, value in enumerate(trial.values)]
    reports = trial.intermediate_values
    if reports:
        steps = reports if changes is None else changes.steps
        rows["steps"] += [(db_id, step, *store_float(reports[step])) for step in steps]
    rows["trial_user"] += _attributes(db_id, trial.user_attrs, user)
    rows["trial_system"] += _attributes(db_id, trial.system_attrs, system)


def _state(trial: FrozenTrial) -> Row:
    return trial.state.name, store_time(trial.datetime_start), store_time(trial.datetime_complete)


def _attributes(owner: int, attrs: dict[str, Any], chosen: Container[str]) -> list[Row]:
    # In the order in which they were set, which readers see.
    return [(owner, key, _encode(value)) for key, value in attrs.items() if key in chosen] if chosen else []


def write_study(database: Database, cache: StudyCache, staged: Staged) -> dict[int, int]:
    """Write all of ``staged``, one statement for each table; returns the database ids of new trials by local id."""
    made, new_ids = statements(database.dialect), {}
    if staged.new:
        new = {cache.trials[local].number: local for local in staged.new}
        rows = [(cache.study_id, number, *_state(cache.trials[local])) for number, local in new.items()]
        new_ids = {new[number]: db_id for number, db_id in made.insert_trials(database, rows).items()}
    parts, states = _rows(cache, staged, new_ids)
    for name, items in parts.items():
        made.write(database, name, items)
    made.write_states(database, states)
    return new_ids


def _rows(cache: StudyCache, staged: Staged, new_ids: dict[int, int]) -> tuple[Rows, list[Row]]:
    rows: Rows = defaultdict(list)
    states = []
    for local, db_id in new_ids.items():
        _add_rows(rows, cache.trials[local], db_id, None)
    for local, changes in staged.trials.items():
        if local not in new_ids:
            trial, db_id = cache.trials[local], cache.db_ids[local]
            _add_rows(rows, trial, db_id, changes)
            if changes.state:
                states.append((db_id, *_state(trial)))
    rows["study_user"] += _attributes(cache.study_id, cache.user_attrs, staged.user)
    rows["study_system"] += _attributes(cache.study_id, cache.system_attrs, staged.system)
    return rows, states
