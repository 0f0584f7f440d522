"""Reading the database into mirrors: whole studies, and later only what other processes added or may have changed."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from .connect import Link, in_chunks
from .mirror import StudyMirror
from .tables import (
    load_float,
    load_time,
    studies,
    study_directions,
    study_system_attributes,
    study_user_attributes,
    trial_intermediate_values,
    trial_params,
    trial_system_attributes,
    trial_user_attributes,
    trial_values,
    trials,
)

TICK = "pilotune:tick:"
"""Prefix of the study system attributes that count a storage object's commits; no mirror shows them."""

_of: Any = sa.bindparam("of")
_after: Any = sa.bindparam("after")
_ids: Any = sa.bindparam("ids", expanding=True)
_later = sa.select(trials.c.trial_id).where(trials.c.study_id == _of, trials.c.trial_id > _after)


def _selections(chosen: Callable[[Any], Any]) -> tuple[Any, ...]:
    """The queries that read trials whole.

    The trials' rows come first, so that a finished one is never read without its end.
    """
    p, v, i = trial_params.c, trial_values.c, trial_intermediate_values.c
    u, s = trial_user_attributes.c, trial_system_attributes.c
    t = trials.c
    return (
        sa.select(t.trial_id, t.number, t.state, t.datetime_start, t.datetime_complete)
        .where(t.study_id == _of, chosen(t.trial_id))
        .order_by(t.trial_id),
        sa.select(p.trial_id, p.param_name, p.param_value, p.distribution_json)
        .where(chosen(p.trial_id))
        .order_by(p.param_id),
        sa.select(v.trial_id, v.value, v.value_type).where(chosen(v.trial_id)).order_by(v.trial_id, v.objective),
        sa.select(u.trial_id, u.key, u.value_json).where(chosen(u.trial_id)),
        sa.select(s.trial_id, s.key, s.value_json).where(chosen(s.trial_id)),
        sa.select(i.trial_id, i.step, i.intermediate_value, i.intermediate_value_type).where(chosen(i.trial_id)),
    )


_READ_LATER = _selections(lambda column: column.in_(_later))
_READ_THESE = _selections(lambda column: column.in_(_ids))
_STATES = sa.select(trials.c.trial_id, trials.c.state).where(trials.c.trial_id.in_(_ids))
_USER = sa.select(study_user_attributes.c.key, study_user_attributes.c.value_json).where(
    study_user_attributes.c.study_id == _of
)
_SYSTEM = sa.select(study_system_attributes.c.key, study_system_attributes.c.value_json).where(
    study_system_attributes.c.study_id == _of
)


@lru_cache(maxsize=4096)
def distribution_of(text: str) -> BaseDistribution:
    """A distribution from Optuna's JSON; equal texts share one object."""
    return json_to_distribution(text)


def _read_trials(link: Link, queries: tuple[Any, ...], arguments: dict[str, Any]) -> list[FrozenTrial]:
    """Trials from the database, their database ids in the place of local ones."""
    rows = link.run(queries[0], arguments).all()
    if not rows:
        return []
    rest = {name: value for name, value in arguments.items() if name != "of" or "ids" not in arguments}
    params: dict[int, dict[str, Any]] = defaultdict(dict)
    dists: dict[int, dict[str, BaseDistribution]] = defaultdict(dict)
    for trial_id, name, value, text in link.run(queries[1], rest):
        dists[trial_id][name] = distribution = distribution_of(text)
        params[trial_id][name] = distribution.to_external_repr(value)
    values: dict[int, list[float]] = defaultdict(list)
    for trial_id, value, kind in link.run(queries[2], rest):
        values[trial_id].append(load_float(value, kind))
    user: dict[int, dict[str, Any]] = defaultdict(dict)
    for trial_id, key, text in link.run(queries[3], rest):
        user[trial_id][key] = json.loads(text)
    system: dict[int, dict[str, Any]] = defaultdict(dict)
    for trial_id, key, text in link.run(queries[4], rest):
        system[trial_id][key] = json.loads(text)
    steps: dict[int, dict[int, float]] = defaultdict(dict)
    for trial_id, step, value, kind in link.run(queries[5], rest):
        steps[trial_id][step] = load_float(value, kind)
    return [
        FrozenTrial(
            number=number,
            state=state,
            value=None,
            values=values.get(i),
            datetime_start=load_time(start),
            datetime_complete=load_time(complete),
            params=params.get(i, {}),
            distributions=dists.get(i, {}),
            user_attrs=user.get(i, {}),
            system_attrs=system.get(i, {}),
            intermediate_values=steps.get(i, {}),
            trial_id=i,
        )
        for i, number, state, start, complete in rows
    ]


def read_study(link: Link, study_id: int) -> StudyMirror:
    """A mirror of the study without its trials yet; KeyError when there is no such study."""
    name = link.run(sa.select(studies.c.study_name).where(studies.c.study_id == _of), {"of": study_id}).scalar()
    if name is None:
        raise KeyError(f"no study with id {study_id}")
    query = (
        sa.select(study_directions.c.direction)
        .where(study_directions.c.study_id == _of)
        .order_by(study_directions.c.objective)
    )
    directions: list[StudyDirection] = list(link.run(query, {"of": study_id}).scalars())
    return StudyMirror(study_id, name, directions)


def read_attributes(link: Link, study_id: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """User and system attributes of a study, the counters of commits left out."""
    of = {"of": study_id}
    user = {key: json.loads(text) for key, text in link.run(_USER, of)}
    system = {key: json.loads(text) for key, text in link.run(_SYSTEM, of) if not key.startswith(TICK)}
    return user, system


def read_states(link: Link, db_ids: Iterable[int]) -> dict[int, TrialState]:
    """The states of trials by database id; deleted ones are missing."""
    found: dict[int, TrialState] = {}
    in_chunks(sorted(db_ids), lambda ids: found.update((i, s) for i, s in link.run(_STATES, {"ids": ids})))
    return found


def read_new(link: Link, mirror: StudyMirror, next_id: Callable[[], int]) -> None:
    """Bring in trials that other processes created; those of ours that are not committed move behind them."""
    found = _read_trials(link, _READ_LATER, {"of": mirror.study_id, "after": mirror.last_db_id})
    if not found:
        return
    last = found[-1]._trial_id
    fresh = [trial for trial in found if trial._trial_id not in mirror.local_ids]
    ours = list(mirror.uncommitted)
    if fresh and ours:
        first = max(mirror.trials[ours[0]].number, fresh[-1].number + 1)
        # From the last one down, so that no two have one number on the way.
        for place in range(len(ours) - 1, -1, -1):
            mirror.renumber(ours[place], first + place)
    for trial in fresh:
        db_id, trial._trial_id = trial._trial_id, next_id()
        mirror.know(trial._trial_id, db_id)
        mirror.put(trial)
    mirror.last_db_id = max(mirror.last_db_id, last)


def read_again(link: Link, mirror: StudyMirror, local_ids: Iterable[int]) -> None:
    """Replace trials by what the database has of them."""

    def some(ids: list[int]) -> None:
        for trial in _read_trials(link, _READ_THESE, {"of": mirror.study_id, "ids": ids}):
            trial._trial_id = mirror.local_ids[trial._trial_id]
            mirror.put(trial)

    in_chunks(sorted(mirror.db_ids[local] for local in local_ids), some)
