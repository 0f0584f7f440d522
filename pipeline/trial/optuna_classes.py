"""Optuna's own classes for what an objective is given, where it has imported Optuna; plain ones of the same names else.

A worker never imports Optuna by itself, since thousands of processes would load it from a parallel file system.
"""

from __future__ import annotations

import datetime
import enum
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class StudyDirection(enum.Enum):
    """Stands for ``optuna.study.StudyDirection``."""

    NOT_SET = 0
    MINIMIZE = 1
    MAXIMIZE = 2


class TrialState(enum.IntEnum):
    """Stands for ``optuna.trial.TrialState``."""

    RUNNING = 0
    COMPLETE = 1
    PRUNED = 2
    FAIL = 3
    WAITING = 4

    def is_finished(self) -> bool:
        """Whether the trial has ended."""
        return self not in (TrialState.RUNNING, TrialState.WAITING)


@dataclass(frozen=True)
class StoredTrial:
    """A trial of the study, where the objective has not imported Optuna; its attributes are those of ``FrozenTrial``.

    >>> trial = StoredTrial(3, TrialState.COMPLETE, [0.5], {"lr": 0.1})
    >>> trial.value, trial.params
    (0.5, {'lr': 0.1})
    """

    number: int
    state: TrialState
    values: list[float] | None
    params: dict[str, Any] = field(default_factory=dict)
    user_attrs: dict[str, Any] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)
    intermediate_values: dict[int, float] = field(default_factory=dict)
    datetime_start: datetime.datetime | None = None
    datetime_complete: datetime.datetime | None = None

    @property
    def value(self) -> float | None:
        """The value, where the study has one direction. Raises RuntimeError where it has several."""
        if self.values is not None and len(self.values) > 1:
            raise RuntimeError("this trial has several values; use `values`")
        return self.values[0] if self.values else None

    @property
    def last_step(self) -> int | None:
        """The highest step that was reported; None where there is none."""
        return max(self.intermediate_values, default=None)

    @property
    def duration(self) -> datetime.timedelta | None:
        """From the start to the end; None where it has not ended."""
        if self.datetime_start is None or self.datetime_complete is None:
            return None
        return self.datetime_complete - self.datetime_start


def optuna_object(module: str, name: str) -> Any:
    """``module.name`` of Optuna, where the objective has imported it; None else.

    >>> optuna_object("optuna.no_such_module", "Trial") is None
    True
    """
    return getattr(sys.modules.get(module), name, None)


def directions(words: Iterable[str]) -> list[Any]:
    """``minimize`` and ``maximize`` as members of Optuna's StudyDirection, or of the one here."""
    kind = optuna_object("optuna.study", "StudyDirection") or StudyDirection
    return [kind[word.upper()] for word in words]


def json_of(distribution: Any) -> str:
    """Optuna's JSON of its distribution object. Raises TypeError where it is none."""
    encode = optuna_object("optuna.distributions", "distribution_to_json")
    kind = optuna_object("optuna.distributions", "BaseDistribution")
    if encode is None or kind is None or not isinstance(distribution, kind):
        raise TypeError(f"a distribution of Optuna is needed, but this is of the type {type(distribution).__name__}")
    return str(encode(distribution))


def state_names(states: Iterable[Any] | None) -> list[str] | None:
    """The names of Optuna's trial states, or of those here; None for all."""
    return None if states is None else [str(state.name) for state in states]


class TrialReader:
    """Makes trials from what the driver sends: Optuna's ``FrozenTrial``, or :class:`StoredTrial`.

    Distributions that several trials share are read once.

    Args:
        choices: Of parameters whose choices the database keeps as text (lists, dictionaries): from text to choice.
    """

    def __init__(self, choices: Mapping[str, Mapping[Any, Any]]) -> None:
        self._choices = choices
        self._frozen = optuna_object("optuna.trial", "FrozenTrial")
        self._states = optuna_object("optuna.trial", "TrialState") or TrialState
        self._decode = optuna_object("optuna.distributions", "json_to_distribution")
        self._distributions: dict[str, Any] = {}

    def read(self, record: Mapping[str, Any], forms: Sequence[str]) -> Any:
        """One trial. ``record`` and ``forms``: as ``study_queries.py`` of the campaign writes them."""
        steps = {int(step): float(value) for step, value in record["reports"]}
        start, end = _moment(record["start"]), _moment(record["end"])
        values = record["values"]
        if self._frozen is None or self._decode is None:
            state = self._states[record["state"]]
            attrs = (record["user_attrs"], record["system_attrs"])
            return StoredTrial(
                record["number"], state, values, self._chosen(record["params"]), *attrs, steps, start, end
            )
        distributions = {name: self._distribution(forms[place]) for name, place in record["forms"].items()}
        return self._frozen(
            number=record["number"],
            state=self._states[record["state"]],
            value=None,
            values=values,
            datetime_start=start,
            datetime_complete=end,
            params=self._chosen(_as_chosen(record["params"], distributions)),
            distributions=distributions,
            user_attrs=record["user_attrs"],
            system_attrs=record["system_attrs"],
            intermediate_values=steps,
            trial_id=record["number"],
        )

    def _chosen(self, params: dict[str, Any]) -> dict[str, Any]:
        if not self._choices:
            return params
        return {
            name: self._choices[name].get(value, value) if name in self._choices else value
            for name, value in params.items()
        }

    def _distribution(self, form: str) -> Any:
        if form not in self._distributions:
            self._distributions[form] = self._decode(form)
        return self._distributions[form]


def _as_chosen(params: Mapping[str, Any], distributions: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as the choices' own objects: JSON has lost whether a choice was 1 or 1.0."""
    return {name: distributions[name].to_external_repr(distributions[name].to_internal_repr(value))
            for name, value in params.items()}  # fmt: skip


def _moment(text: str | None) -> datetime.datetime | None:
    return datetime.datetime.fromisoformat(text) if text else None
