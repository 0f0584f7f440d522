"""What the repetitions of a trial gave: values, their mean and their spread."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from ..attributes import REPEATS

MOST = 100
"""Most repetitions of a trial: all of them are in one attribute of the database."""


@dataclass(frozen=True)
class Repeats:
    """How often each trial is run: ``trial: repeats`` of a study file.

    Attributes:
        least: Every trial that completes is run as often as this; at least 1.
        most: A trial that may be the best is run as often as this; not less than ``least``.

    >>> Repeats(3, 3).races, Repeats(1, 5).races
    (False, True)
    """

    least: int = 1
    most: int = 1

    @property
    def races(self) -> bool:
        """Whether the number of repetitions depends on their values."""
        return self.least < self.most


REPEATS_ONCE = Repeats()


@dataclass(frozen=True)
class Repetition:
    """A repetition of a trial that is complete.

    Attributes:
        token: Of the attempt that returned the values.
        seed: The ``rng_seed`` that the attempt had.
        values: One for each direction of the study.
        constraints: Optuna's system attributes with the trial's constraints, as they were at the end of the repetition:
            a number each, or the list ``constraints``.
    """

    token: str
    seed: int
    values: tuple[float, ...]
    constraints: Mapping[str, Any] = field(default_factory=dict)

    @property
    def attempt(self) -> int:
        """Number of the attempt that returned the values."""
        return int(self.token.split(".")[1])

    def to_json(self) -> dict[str, Any]:
        """As the database has it."""
        more = {"constraints": dict(self.constraints)} if self.constraints else {}
        return {"token": self.token, "seed": self.seed, "values": list(self.values), **more}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The repetition that :meth:`to_json` gave. Raises ValueError, TypeError, KeyError or AttributeError."""
        constraints = dict(data.get("constraints") or {})
        found = cls(str(data["token"]), int(data["seed"]), tuple(map(float, data["values"])), constraints)
        if found.attempt < 1 or not found.values:
            raise ValueError("a repetition has an attempt and values")
        return found


class HasSystemAttributes(Protocol):
    """A trial of Optuna's."""

    @property
    def system_attrs(self) -> Mapping[str, Any]:
        """Its system attributes."""


def repetitions_of(trial: HasSystemAttributes) -> tuple[Repetition, ...]:
    """The complete repetitions of a trial in their order; none where trials are not repeated.

    >>> import optuna
    >>> attrs = {"pilotune:repeats": [{"token": "7.1.c", "seed": 5, "values": [0.5]}]}
    >>> repetitions_of(optuna.create_trial(value=0.5, system_attrs=attrs))
    (Repetition(token='7.1.c', seed=5, values=(0.5,), constraints={}),)
    """
    return read_repetitions(trial.system_attrs.get(REPEATS))


def read_repetitions(found: object) -> tuple[Repetition, ...]:
    """The repetitions in the attribute :data:`.attributes.REPEATS`; none if it is not as it should be.

    >>> read_repetitions([{"token": "7"}])
    ()
    """
    if not isinstance(found, list):
        return ()
    try:
        return tuple(Repetition.from_json(each) for each in found)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):  # another program wrote it
        return ()


def means(repetitions: Sequence[Repetition]) -> list[float]:
    """The mean of each value, over at least one repetition.

    >>> means([Repetition("7.1.c", 0, (1.0, 5.0)), Repetition("7.2.c", 1, (2.0, 5.0))])
    [1.5, 5.0]
    """
    return [mean(column) for column in zip(*(each.values for each in repetitions), strict=True)]


def spreads(repetitions: Sequence[Repetition]) -> list[float] | None:
    """The standard deviation of each value (that of a sample, with n - 1); None for less than two repetitions.

    >>> spreads([Repetition("7.1.c", 0, (1.0,)), Repetition("7.2.c", 1, (3.0,))])
    [1.4142135623730951]
    """
    if len(repetitions) < 2:
        return None
    return [deviation(column) for column in zip(*(each.values for each in repetitions), strict=True)]


def mean(values: Sequence[float]) -> float:
    """The mean; of equal values, exactly this value. Large values do not overflow. That of both infinities is infinite.

    >>> mean([0.1, 0.1, 0.1]), mean([1e308, 1e308]), mean([float("inf"), float("-inf")])
    (0.1, 1e+308, inf)
    """
    first = values[0]
    if all(value == first for value in values):
        return first
    try:
        return math.fsum(values) / len(values)
    except OverflowError:
        return math.fsum(value / len(values) for value in values)
    except ValueError:
        return math.inf


def deviation(values: Sequence[float]) -> float:
    """The standard deviation of a sample of at least two values; infinite where it is too large for a number."""
    center = mean(values)
    return math.hypot(*(value - center for value in values)) / math.sqrt(len(values) - 1)


def mean_constraints(repetitions: Sequence[Repetition]) -> dict[str, Any]:
    """The mean of each constraint, over the repetitions that have it; by system attribute.

    A list of constraints that does not have the same length in each repetition is left out: its numbers do not belong
    together.

    >>> first = Repetition("7.1.c", 0, (1.0,), {"constraints:size": 1.0, "constraints": [0.0, 4.0]})
    >>> second = Repetition("7.2.c", 1, (1.0,), {"constraints:size": 2.0, "constraints": [1.0, 4.0]})
    >>> mean_constraints([first, second])
    {'constraints:size': 1.5, 'constraints': [0.5, 4.0]}
    """
    found: dict[str, Any] = {}
    for key in dict.fromkeys(key for each in repetitions for key in each.constraints):
        amounts = [each.constraints[key] for each in repetitions if each.constraints.get(key) is not None]
        lists = [amount for amount in amounts if isinstance(amount, list)]
        if amounts and not lists:
            found[key] = mean(amounts)
        elif len(lists) == len(amounts) and len({len(amount) for amount in lists}) == 1:
            found[key] = [mean(column) for column in zip(*lists, strict=True)]
    return found
