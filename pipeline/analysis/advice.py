"""What the trials of a study say about its space: which ranges to widen, which choices and parameters to leave out."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ...grammar import count

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

LEAST_TRIALS, LEAST_BEST, BEST_SHARE = 30, 5, 0.1
"""No advice with fewer trials; the best ones are this share, but so many at least."""
EDGE = 0.05
"""The share of a range, on its own scale, that counts as its end."""
AT_THE_EDGE = 0.5
"""More than this share of the best trials lie there, where a range should be widened."""
EXPECTED = 4.0
"""A choice is left out if none of the best trials has it, where by its share of all trials so many would."""
TRIALS_TO_FIX = 60
"""From so many trials on, a parameter that cannot be told from chance is called useless."""


@dataclass(frozen=True)
class Advice:
    """One piece of advice about a parameter.

    Attributes:
        parameter: Its name.
        what: ``widen`` its range, ``leave out`` one of its choices, or ``fix`` it.
        text: A sentence.
    """

    parameter: str
    what: Literal["widen", "leave out", "fix"]
    text: str


def advice(
    trials: Sequence[FrozenTrial],
    losses: Sequence[float],
    names: Sequence[str],
    certain: Collection[str],
    known: Collection[str],
) -> list[Advice]:
    """Advice for the next study, most useful first: ranges to widen, choices to leave out, parameters to fix.

    Args:
        trials: Complete ones.
        losses: What is minimized, by trial.
        names: The parameters.
        certain: Those of them that matter: that can be told from chance.
        known: Those of them that matter by themselves or together with another one.

    Returns:
        Nothing where there are fewer than LEAST_TRIALS trials.
    """
    if len(trials) < LEAST_TRIALS:
        return []
    order = sorted(range(len(trials)), key=lambda i: losses[i])
    best = [trials[i] for i in order[: max(LEAST_BEST, round(BEST_SHARE * len(trials)))]]
    found: list[Advice] = []
    for name in names:
        found += _edges(name, best) if name in certain else []
        found += _useless_choices(name, best, trials)
    if len(trials) >= TRIALS_TO_FIX:
        known = {*known, *(each.parameter for each in found)}
        found += [_fix(name, best[0], len(trials)) for name in names if name in best[0].params and name not in known]
    return found


def _edges(name: str, best: Sequence[FrozenTrial]) -> list[Advice]:
    """Advice to widen a range at the end where most of the best trials lie."""
    having = [trial for trial in best if name in trial.params]
    if len(having) < LEAST_BEST:
        return []
    places = [_place(trial.distributions[name], trial.params[name]) for trial in having]
    known = [place for place in places if place is not None]
    if len(known) < len(places):
        return []
    distribution: Any = having[0].distributions[name]
    found = []
    for end, word, inside in (
        (distribution.low, "lower", [place <= EDGE for place in known]),
        (distribution.high, "upper", [place >= 1.0 - EDGE for place in known]),
    ):
        if sum(inside) > AT_THE_EDGE * len(inside):
            text = (
                f"{name}: {sum(inside)} of the {count(len(inside), 'best trial')} lie at the {word} end of its range, "
                f"{end:g}; widen it there, if that makes sense"
            )
            found.append(Advice(name, "widen", text))
    return found


def _place(distribution: BaseDistribution, value: Any) -> float | None:
    """Where a number lies in its range, from 0 to 1, on the scale that it is searched on; None for a choice."""
    low, high = getattr(distribution, "low", None), getattr(distribution, "high", None)
    if low is None or high is None or low == high:
        return None
    if getattr(distribution, "log", False):
        low, high, value = math.log(low), math.log(high), math.log(value)
    return float((value / 2 - low / 2) / (high / 2 - low / 2))


def _useless_choices(name: str, best: Sequence[FrozenTrial], trials: Sequence[FrozenTrial]) -> list[Advice]:
    """Advice to leave out choices that were tried often and are in none of the best trials."""
    from ...fields import shown  # not before: it imports pydantic, and a command's help imports this module

    having = [trial for trial in trials if name in trial.params]
    choices = getattr(having[0].distributions[name], "choices", ()) if having else ()
    good = [trial.params[name] for trial in best if name in trial.params]
    found = []
    for choice in choices:
        tried = sum(_same(trial.params[name], choice) for trial in having)
        if not any(_same(value, choice) for value in good) and tried / len(having) * len(good) >= EXPECTED:
            text = (
                f"{name}: none of the {count(len(good), 'best trial')} has {shown(choice)}, and {tried} of all "
                f"{len(having)} have; leave it out"
            )
            found.append(Advice(name, "leave out", text))
    return found


def _same(one: Any, two: Any) -> bool:
    return type(one) is type(two) and bool(one == two)


def _fix(name: str, best: FrozenTrial, number: int) -> Advice:
    from ...fields import shown

    text = (
        f"{name}: it cannot be told from chance in {count(number, 'trial')}; a constant makes the search smaller "
        f"(the best trial has {shown(best.params[name])})"
    )
    return Advice(name, "fix", text)
