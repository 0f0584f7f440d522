"""Reads the database into study caches: the whole study first, later only what other processes changed in it.

Changes are found in three ways:

- New trials have higher ids than all known ones, because Optuna and Pilotune create trials with the study locked.
- What an unfinished trial collects (parameters, reports, attributes) are new rows, found by their primary keys, which
  the database counts up.
- The end of a trial is seen by its state. The trial is then read whole.

Two changes stay unseen until the trial ends or the next full rescan: an attribute that plain Optuna overwrites, and, on
PostgreSQL, a row whose transaction lasted longer than the ``RowWatermark`` waits.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ..attributes import TICK
from .database import Database
from .interning import shared_attributes, shared_distributions
from .statements import PARTS, statements
from .study_cache import StudyCache, alike, replica
from .tables import SHORT, lean, load_float, load_time, studies, study_directions

SLICE = 1024
"""Trials whose rows are in memory at once while a study is loaded; all at once would double the memory needed."""

EVERYTHING = frozenset({*PARTS, "values"})
"""The parts of a trial besides its number, its state and its times.

``standing`` is a part of the part ``user``: the few user attributes that say at which rung a trial is."""

_of: Any = sa.bindparam("of")
_Parts = dict[int, dict[Any, Any]]


@lru_cache(maxsize=4096)
def distribution_of(text: str) -> BaseDistribution:
    """A distribution from Optuna's JSON; equal texts give the same object."""
    return json_to_distribution(text)


_decode = json.JSONDecoder(object_pairs_hook=lean).decode  # json.loads checks its options anew at each call


@lru_cache(maxsize=4096)
def _constant(text: str) -> Any:
    return _decode(text)


def _value_of(text: str) -> Any:
    """A value from JSON; equal short values that cannot be changed are one object, to save memory."""
    if len(text) >= SHORT or text[0] in "[{":
        return _decode(text)
    if text[0] == '"' and "\\" not in text:
        return sys.intern(text[1:-1])
    return _constant(text)


# -- trials -----------------------------------------------------------------------------------------------------------


def read_trials(database: Database, study_id: int, parts: Collection[str] = EVERYTHING) -> list[FrozenTrial]:
    """All trials of a study by number, for those who only look at them.

    Args:
        database: In a transaction.
        study_id: The study.
        parts: What to read of them, of ``EVERYTHING`` and ``standing``; of the other parts they have nothing.
    """
    rows = database.rows(statements(database.dialect).new_trials, (study_id, -1))
    return sorted(_read_trials(database, rows, parts), key=lambda trial: trial.number)


def _read_trials(database: Database, rows: Sequence[Any], parts: Collection[str] = EVERYTHING) -> Iterator[FrozenTrial]:
    """Trials from their rows in table ``trials``; their ids are still those of the database."""
    for start in range(0, len(rows), SLICE):
        yield from _read_slice(database, rows[start : start + SLICE], parts)


def _read_slice(database: Database, rows: Sequence[Any], parts: Collection[str]) -> Iterator[FrozenTrial]:
    made = statements(database.dialect)
    ids = (made.ids(row[0] for row in rows),)
    found = {part: database.rows(made.whole[part], ids) if part in parts else [] for part in made.whole}
    params, distributions = _params(found["params"])
    user, system = _attributes(found["user"] or found["standing"]), _attributes(found["system"])
    steps = _steps(found["steps"])
    values: dict[int, list[float]] = {}
    for i, value, kind in found["values"]:
        values.setdefault(i, []).append(load_float(value, kind))
    for i, number, state, start, complete in rows:
        yield FrozenTrial(
            number=number,
            state=TrialState[state],
            value=None,
            values=values.get(i),
            datetime_start=load_time(start),
            datetime_complete=load_time(complete),
            params=params.get(i, {}),
            distributions=shared_distributions(distributions.get(i, {})),
            user_attrs=user.get(i, {}),
            system_attrs=shared_attributes(system.get(i, {})),
            intermediate_values=steps.get(i, {}),
            trial_id=i,
        )


def _params(rows: Iterable[Any]) -> tuple[_Parts, _Parts]:
    params: _Parts = {}
    distributions: _Parts = {}
    last, chosen, kinds = None, {}, {}
    for i, name, value, text in rows:
        if i != last:
            last, chosen, kinds = i, params.setdefault(i, {}), distributions.setdefault(i, {})
        name = sys.intern(name)
        kinds[name] = distribution = distribution_of(text)
        chosen[name] = distribution.to_external_repr(value)
    return params, distributions


def _attributes(rows: Iterable[Any]) -> _Parts:
    found: _Parts = {}
    last, attrs = None, {}
    for i, key, text in rows:
        if i != last:
            last, attrs = i, found.setdefault(i, {})
        attrs[sys.intern(key)] = _value_of(text)
    return found


def _steps(rows: Iterable[Any]) -> _Parts:
    found: _Parts = defaultdict(dict)
    for i, step, value, kind in rows:
        found[i][step] = load_float(value, kind)
    return found


# -- what others did --------------------------------------------------------------------------------------------------


def refresh(
    database: Database, cache: StudyCache, theirs: Sequence[int], next_id: Callable[[], int], *, whole: bool
) -> None:
    """Update the cache with what other processes did to the study's trials.

    Args:
        database: In a transaction.
        cache: The study's cache.
        theirs: Local ids of the unfinished trials that others may change.
        next_id: Returns local ids for new trials.
        whole: Read ``theirs`` whole, not only their new rows.
    """
    made = statements(database.dialect)
    oldest, following, *keys = database.run(made.highest_keys).one()
    highest, floor = tuple(key or 0 for key in keys), cache.watermark.floor
    # SQLite uses the keys of a deleted study's rows again, so the highest key may have become lower.
    if whole or floor is None or any(now < before for now, before in zip(highest, floor, strict=True)):
        cache.watermark.reset()
        read_again(database, cache, theirs)
    elif theirs:
        left = find_changed_states(database, cache, theirs)
        read_again(database, cache, left)
        _read_later(database, cache, [local for local in theirs if local not in left], floor)
    read_new(database, cache, next_id)
    cache.watermark.add(oldest, following, highest)


def find_changed_states(database: Database, cache: StudyCache, theirs: Sequence[int]) -> set[int]:
    """Which of these unfinished trials have another state in the database; local ids."""
    if not theirs:
        return set()
    made = statements(database.dialect)
    kinds: dict[TrialState, list[int]] = {TrialState.RUNNING: [], TrialState.WAITING: []}
    for local in theirs:
        kinds[cache.trials[local].state].append(cache.db_ids[local])
    arguments = tuple(made.ids(ids) for ids in kinds.values())
    return {cache.local_ids[db_id] for (db_id,) in database.run(made.left, arguments)}


def _read_later(database: Database, cache: StudyCache, theirs: Sequence[int], floor: tuple[int, ...]) -> None:
    """Add the rows of these trials whose primary keys are above ``floor``."""
    made = statements(database.dialect)
    ids = made.ids(cache.db_ids[local] for local in theirs)
    rows = {
        part: database.run(made.later[part], (key, ids)).all() for part, key in zip(PARTS, floor, strict=True) if theirs
    }
    if not any(rows.values()):
        return
    params, distributions = _params(rows["params"])
    collected = {
        "params": params,
        "distributions": distributions,
        "intermediate_values": _steps(rows["steps"]),
        "user_attrs": _attributes(rows["user"]),
        "system_attrs": _attributes(rows["system"]),
    }
    for db_id in dict.fromkeys(i for parts in collected.values() for i in parts):
        trial = cache.trials[cache.local_ids[db_id]]
        fields = {}
        for name, parts in collected.items():
            known = getattr(trial, name)
            new = {**known, **parts.get(db_id, {})}
            if new != known:
                fields[name] = new
        if fields:
            cache.put(replica(trial, **fields))


def read_new(database: Database, cache: StudyCache, next_id: Callable[[], int]) -> None:
    """Add trials that other processes created; our uncommitted trials are renumbered to follow them."""
    made = statements(database.dialect)
    rows = database.rows(made.new_trials, (cache.study_id, cache.last_db_id))
    if not rows:
        return
    fresh = [row for row in rows if row[0] not in cache.local_ids]
    ours = list(cache.uncommitted)
    if fresh and ours:
        first = max(cache.trials[ours[0]].number, fresh[-1][1] + 1)
        # From the last one down, so that no two trials have the same number in between.
        for place in range(len(ours) - 1, -1, -1):
            cache.renumber(ours[place], first + place)
    for trial in _read_trials(database, fresh):
        db_id, trial._trial_id = trial._trial_id, next_id()
        cache.set_db_id(trial._trial_id, db_id)
        cache.put(trial)
    cache.last_db_id = max(cache.last_db_id, rows[-1][0])


def read_again(database: Database, cache: StudyCache, local_ids: Iterable[int]) -> None:
    """Replace trials by what the database holds of them."""
    db_ids = sorted(cache.db_ids[local] for local in local_ids)
    if not db_ids:
        return
    made = statements(database.dialect)
    rows = database.run(made.trials, (made.ids(db_ids),)).all()
    for trial in _read_trials(database, rows):
        trial._trial_id = cache.local_ids[trial._trial_id]
        # Samplers and pruners redo their work for each trial that is put; an unchanged one must not cause that.
        if not alike(trial, cache.trials[trial._trial_id]):
            cache.put(trial)


def read_states(database: Database, db_ids: Iterable[int]) -> dict[int, TrialState]:
    """The states of trials by database id; deleted ones are missing."""
    made = statements(database.dialect)
    found = database.run(made.states, (made.ids(db_ids),))
    return {db_id: TrialState[state] for db_id, state in found}


# -- studies ----------------------------------------------------------------------------------------------------------


def read_study(database: Database, study_id: int) -> StudyCache:
    """A cache of the study, without its trials yet. Raises KeyError when there is no such study."""
    name = database.run(sa.select(studies.c.study_name).where(studies.c.study_id == _of), {"of": study_id}).scalar()
    if name is None:
        raise KeyError(f"no study with id {study_id}")
    query = (
        sa.select(study_directions.c.direction)
        .where(study_directions.c.study_id == _of)
        .order_by(study_directions.c.objective)
    )
    directions: list[StudyDirection] = list(database.run(query, {"of": study_id}).scalars())
    return StudyCache(study_id, name, directions)


_Texts = dict[tuple[str, str], tuple[str, Any]]


def read_attributes(
    database: Database, study_id: int, known: _Texts | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """User and system attributes of a study, without the counters of commits (``TICK``).

    Args:
        database: In a transaction.
        study_id: The study.
        known: What earlier calls read, updated here: only texts that changed are decoded.
    """
    made = statements(database.dialect)
    known = {} if known is None else known
    found: list[dict[str, Any]] = []
    for kind, query in (("user", made.user), ("system", made.system)):
        attrs: dict[str, Any] = {}
        for key, text in database.run(query, (study_id,)):
            if not key.startswith(TICK):
                before = known.get((kind, key))
                if before is None or before[0] != text:
                    before = known[kind, key] = text, json.loads(text)
                attrs[key] = before[1]
        found.append(attrs)
    return found[0], found[1]
