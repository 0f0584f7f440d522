"""Answers what objectives ask about their study, and does what they want changed in it.

Query           | arguments               | answer
----------------|-------------------------|----------------------------------------------------------------------
study_attrs     |                         | ``{"user": {...}, "system": {...}}``, without Pilotune's own
trials          | after, states           | a page of trials, see :func:`page`
best_trials     | after                   | the same, of the trials on the Pareto front (of one direction: the best)
trial           | number                  | a page with this trial, or an empty one
n_trials        | states                  | how many trials are in these states
set_study_attr  | kind, key, value        | None; ``kind`` is ``user`` or ``system``
enqueue         | params, user_attrs, skip | None; a trial waits with these parameters
stop            |                         | None; the campaign asks for no more trials

All of it is in memory. What is changed is staged, and the answer goes out after the commit, as that of a report does.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.trial import FrozenTrial, TrialState

from ..attributes import PREFIX
from ..distributions import contains
from ..record.first_points import FIXED
from ..space import point_key
from ..trial.protocol import QUERIES, Query
from .campaign_study import CampaignStudy

PAGE_TRIALS, PAGE_SIZE = 500, 200_000
"""Most trials in one answer, and about the most characters: a larger answer would hold up the driver's other work."""

LARGEST_ATTRIBUTE = 100_000
"""Most characters of a trial's attribute in an answer; larger ones are left out."""


def answer_query(study: CampaignStudy, query: Query) -> Any:
    """The answer to ``query``, as JSON can express it.

    Raises:
        ValueError: It cannot be answered, with a sentence why.
    """
    handler = _HANDLERS.get(query.what)
    if handler is None:
        raise ValueError(f"the driver does not know the question {query.what[:80]!r}")
    try:
        return handler(study, query.arguments)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"the driver cannot answer {query.what!r} with these arguments: {error!r}") from error


def page(trials: Sequence[FrozenTrial], after: int) -> dict[str, Any]:
    """The next trials by ascending number, as many as fit into one answer.

    Args:
        trials: In ascending order of their numbers.
        after: The last number that the worker has; -1 for none.

    Returns:
        ``trials``: a record each; ``forms``: Optuna's JSON of the distributions that they refer to by place; ``more``:
        whether there are further trials.
    """
    records: list[dict[str, Any]] = []
    forms: dict[str, int] = {}
    known: dict[int, int] = {}  # most trials share their distributions' objects
    size = 0
    first = bisect_right(trials, after, key=lambda trial: trial.number)
    for trial in itertools.islice(trials, first, None):
        if len(records) == PAGE_TRIALS or size > PAGE_SIZE:
            return {"trials": records, "forms": list(forms), "more": True}
        record = _record(trial, forms, known)
        records.append(record)
        size += 300 + 25 * (2 * len(record["params"]) + len(record["reports"]))
        size += _length(record["user_attrs"]) + _length(record["system_attrs"])
    return {"trials": records, "forms": list(forms), "more": False}


def _record(trial: FrozenTrial, forms: dict[str, int], known: dict[int, int]) -> dict[str, Any]:
    places = {}
    for name, distribution in trial.distributions.items():
        place = known.get(id(distribution))
        if place is None:
            place = known[id(distribution)] = forms.setdefault(distribution_to_json(distribution), len(forms))
        places[name] = place
    return {
        "number": trial.number,
        "state": trial.state.name,
        "values": trial.values,
        "params": trial.params,
        "forms": places,
        "reports": [[step, value] for step, value in trial.intermediate_values.items()],
        "user_attrs": _shown(trial.user_attrs),
        "system_attrs": _shown(trial.system_attrs),
        "start": trial.datetime_start.isoformat() if trial.datetime_start else None,
        "end": trial.datetime_complete.isoformat() if trial.datetime_complete else None,
    }


def _shown(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes without Pilotune's own, and without very large ones."""
    return {
        key: value
        for key, value in attrs.items()
        if not key.startswith(PREFIX) and (type(value) in _SMALL or _length(value) <= LARGEST_ATTRIBUTE)
    }


_SMALL = (int, float, bool, type(None))


def _length(value: Any) -> int:
    """About as many characters as ``value`` has in JSON, without writing it."""
    if isinstance(value, dict):
        return sum(len(key) + 6 + _length(each) for key, each in value.items())
    if isinstance(value, list | tuple):
        return sum(2 + _length(each) for each in value)
    return len(value) if isinstance(value, str) else 8


def _states(names: list[str] | None) -> tuple[TrialState, ...] | None:
    return None if names is None else tuple(TrialState[name] for name in names)


# -- reading ----------------------------------------------------------------------------------------------------------


def _study_attrs(study: CampaignStudy, _: Mapping[str, Any]) -> Any:
    storage, study_id = study.storage, study.study._study_id
    return {
        "user": _shown(storage.get_study_user_attrs(study_id)),
        "system": _shown(storage.get_study_system_attrs(study_id)),
    }


def _trials(study: CampaignStudy, arguments: Mapping[str, Any]) -> Any:
    trials = study.study.get_trials(deepcopy=False, states=_states(arguments["states"]))
    return page(trials, int(arguments["after"]))


def _best_trials(study: CampaignStudy, arguments: Mapping[str, Any]) -> Any:
    return page(study.best_trials(), int(arguments["after"]))


def _trial(study: CampaignStudy, arguments: Mapping[str, Any]) -> Any:
    try:
        trial_id = study.trial_id(arguments["number"])
    except KeyError:
        return page((), -1)
    return page([study.storage.get_trial(trial_id)], -1)


def _n_trials(study: CampaignStudy, arguments: Mapping[str, Any]) -> Any:
    return study.storage.get_n_trials(study.study._study_id, _states(arguments["states"]))


# -- changing ---------------------------------------------------------------------------------------------------------


def _set_study_attr(study: CampaignStudy, arguments: Mapping[str, Any]) -> None:
    key = arguments["key"]
    if key.startswith(PREFIX):
        raise ValueError(f"attributes whose names begin with {PREFIX!r} are Pilotune's own")
    setter = study.storage.set_study_system_attr if arguments["kind"] == "system" else study.storage.set_study_user_attr
    setter(study.study._study_id, key, arguments["value"])


def _enqueue(study: CampaignStudy, arguments: Mapping[str, Any]) -> None:
    params = arguments["params"]
    if study.space is not None:
        for name, value in params.items():
            if name not in study.space.distributions:
                raise ValueError(f"enqueue_trial: the study file's space has no parameter {name!r}")
            if not contains(study.space.distributions[name], value):
                raise ValueError(f"enqueue_trial: {value!r} is outside the range of the parameter {name!r}")
    attrs = {key: value for key, value in arguments["user_attrs"].items() if not key.startswith(PREFIX)}
    if not (arguments["skip"] and _exists(study, params)):
        study.study.enqueue_trial(params, user_attrs=attrs)


def _exists(study: CampaignStudy, params: Mapping[str, Any]) -> bool:
    """Whether a trial has, or is to have, exactly these values; Optuna itself compares numbers roughly."""
    names, wanted = frozenset(params), point_key(params, study.space)
    for trial in study.study.get_trials(deepcopy=False):
        taken = trial.system_attrs.get(FIXED, trial.params)
        if frozenset(taken) == names and point_key(taken, study.space) == wanted:
            return True
    return False


def _stop(study: CampaignStudy, _: Mapping[str, Any]) -> None:
    """The campaign does it, once the answer is certain."""


_HANDLERS = {
    "study_attrs": _study_attrs,
    "trials": _trials,
    "best_trials": _best_trials,
    "trial": _trial,
    "n_trials": _n_trials,
    "set_study_attr": _set_study_attr,
    "enqueue": _enqueue,
    "stop": _stop,
}
assert set(_HANDLERS) == set(QUERIES)
