"""Writes attributes of trials: those that objectives set are checked, and what no database can hold is left out."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from typing import Any

import optuna

from ..attributes import PREFIX, STEERING
from ..record import RecordStorage

log = logging.getLogger(__name__)

CONSTRAINTS = "constraints"
"""Optuna's trial system attribute for the list of a ``constraints_func``; with ``:`` and a name, for one constraint."""

ATTRIBUTE_LIMIT = 2**26
"""Most characters of an attribute. Databases have limits, and a value beyond them would make every commit fail."""


class TrialAttributes:
    """Stages attributes of a study's trials.

    Args:
        storage: The record.
    """

    def __init__(self, storage: RecordStorage):
        self._storage = storage

    def note(self, trial: optuna.Trial, user_attrs: Mapping[str, Any], system_attrs: Mapping[str, Any]) -> None:
        """Stage what an objective has set, but for Pilotune's own keys, and for what has the same value already."""
        if not user_attrs and not system_attrs:
            return
        known = self._storage.get_trial(trial._trial_id)
        self.annotate(trial, _new(user_attrs, known.user_attrs, (PREFIX,)))
        for key, value in _new(system_attrs, known.system_attrs, STEERING).items():
            try:
                _check_constraint(key, value)
                _check_size(value)
                self._storage.set_trial_system_attr(trial._trial_id, key, value)
            except (ValueError, TypeError, RecursionError) as error:
                log.warning("trial %d: system attribute %r was left out: %s", trial.number, key[:80], error)

    def annotate(self, trial: optuna.Trial, user: Mapping[str, Any], system: Mapping[str, Any] | None = None) -> None:
        """Stage attributes. One that no database can hold (such as a name of a thousand letters) is left out."""
        system = system or {}
        try:
            for value in (*user.values(), *system.values()):
                _check_size(value)
            if user or system:
                self._storage.set_trial_attrs(trial._trial_id, user, system)
        except (ValueError, TypeError, RecursionError) as error:
            if len(user) + len(system) > 1:
                for key, value in user.items():
                    self.annotate(trial, {key: value})
                for key, value in system.items():
                    self.annotate(trial, {}, {key: value})
                return
            for key in (*user, *system):
                log.warning("trial %d: attribute %r was left out: %s", trial.number, key[:80], error)


def _check_size(value: Any) -> None:
    if isinstance(value, str) and len(value) < ATTRIBUTE_LIMIT // 12:  # the most that JSON makes of one character
        return
    if isinstance(value, str | list | dict) and len(json.dumps(value)) > ATTRIBUTE_LIMIT:
        raise ValueError(f"it is longer than {ATTRIBUTE_LIMIT} characters; write it to a file and store its name")


def _new(attrs: Mapping[str, Any], known: Mapping[str, Any], reserved: tuple[str, ...]) -> dict[str, Any]:
    """The attributes that are the objective's to set, and have another value than the known ones."""
    return {
        key: value
        for key, value in attrs.items()
        if not key.startswith(reserved) and (key not in known or repr(known[key]) != repr(value))
    }


def _check_constraint(key: str, value: Any) -> None:
    """Raise ValueError where ``key`` is that of constraints, and ``value`` would break samplers and the best trial."""
    if key == CONSTRAINTS:
        if value is not None and not (isinstance(value, list) and all(map(_is_amount, value))):
            raise ValueError("constraints are a list of numbers")
    elif key.startswith(f"{CONSTRAINTS}:") and not _is_amount(value):
        raise ValueError("a constraint is a number")


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
