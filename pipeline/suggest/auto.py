"""``sampler: auto``, the default: which sampler a study gets, and why. The rules are in one table, ``RULES``."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from ...grammar import count
from .registry import sampler_arguments

AUTO = "auto"
"""The name in a study file."""

MANY_TRIALS = 10_000
"""Budgets above this get TPE: a model of some hundred trials learns little from more, and TPE costs less."""
MANY_DIRECTIONS = 3
"""Studies of more directions get TPE: gp was not measured there."""
MANY_PARAMETERS = 100
"""Spaces of more parameters get TPE: distances between configurations say less and less, and cost more."""


@dataclass(frozen=True)
class Situation:
    """What the choice depends on.

    Attributes:
        parameters: The number of parameters that have more than one value; None where the objective defines them as
            it runs.
        directions: ``minimize`` or ``maximize``, one for each value.
        trials: The budget of trials; None where there is none.
        arguments: The sampler's arguments in the study file.
    """

    parameters: int | None
    directions: tuple[str, ...]
    trials: int | None = None
    arguments: Collection[str] = ()


@dataclass(frozen=True)
class Choice:
    """The sampler that a study gets.

    Attributes:
        name: Its short name.
        why: The reason, as the end of a sentence that begins with "chosen for".
    """

    name: str
    why: str


RULES: tuple[tuple[Callable[[Situation], bool], Choice], ...] = (
    (
        lambda at: (
            set(at.arguments) - set(sampler_arguments("gp")) <= set(sampler_arguments("tpe"))
            and not set(at.arguments) <= set(sampler_arguments("gp"))
        ),
        Choice("tpe", "its arguments, which gp does not have"),
    ),
    (lambda at: (at.trials or 0) > MANY_TRIALS, Choice("tpe", f"more than {count(MANY_TRIALS, 'trial')}")),
    (
        lambda at: (at.parameters or 0) > MANY_PARAMETERS,
        Choice("tpe", f"more than {count(MANY_PARAMETERS, 'parameter')}"),
    ),
    (
        lambda at: len(at.directions) > MANY_DIRECTIONS,
        Choice("tpe", f"more than {count(MANY_DIRECTIONS, 'direction')}"),
    ),
    (lambda at: at.parameters is None, Choice("gp", "a space that the objective defines; as tpe if parameters differ")),
    (lambda at: len(at.directions) > 1, Choice("gp", "several directions")),
    (lambda at: True, Choice("gp", "one direction")),
)
"""The first whose condition holds decides. Measured with ``benchmarks/quality``."""


def choose_sampler(situation: Situation) -> Choice:
    """The sampler that finds the best values in such a study.

    Example:
        >>> choose_sampler(Situation(None, ("minimize",), trials=20_000))
        Choice(name='tpe', why='more than 10,000 trials')
    """
    return next(choice for holds, choice in RULES if holds(situation))
