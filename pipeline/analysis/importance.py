"""Computes how much each parameter mattered, and which of that could be chance."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...errors import PilotuneError, UserError
from .advice import Advice, advice
from .chance import by_chance
from .evaluations import evaluations, thinned
from .evaluators import Target
from .interactions import Interaction, interactions
from .intervals import intervals
from .reading import StudyData

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Importances:
    """How much each parameter mattered, by one evaluator.

    Attributes:
        study: The study's name.
        evaluator: A word of :data:`.EVALUATORS`.
        metric: Name of the objective; None: closeness to the Pareto front.
        shares: The share by parameter, largest first; they sum to 1.
        chance: The largest share that the parameter's values reach in 20 shuffles between the trials.
        intervals: The ends of a 90 % interval of each share: how it varies with the trials that happened to run.
        certain: The parameters whose share is hardly chance: it exceeds that of the shuffled values in all shuffles.
        used: Number of trials that the evaluator used.
        trials: Number of trials in the study.
        complete: Number of complete trials; those that were not used have a value that is not finite.
        active: Conditional parameter -> number of used trials that have it. Others are in all used trials.
        left_out: Conditional parameters that the evaluator cannot use.
        advice: What the trials say about the space; empty with few trials, or for several objectives at once.
        interactions: What pairs of parameters explain only together, largest first.
        no_interactions: Why there are none; "" if there are.
    """

    study: str
    evaluator: str
    metric: str | None
    shares: Mapping[str, float]
    chance: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    certain: frozenset[str]
    used: int
    trials: int
    complete: int
    active: Mapping[str, int]
    left_out: tuple[str, ...]
    advice: tuple[Advice, ...] = ()
    interactions: tuple[Interaction, ...] = ()
    no_interactions: str = ""


def importances(data: StudyData, evaluator: str = "ped-anova", metric: str | None = None) -> dict[str, float]:
    """The share of each parameter in the differences between the complete trials: ``measure(...).shares``.

    Args and errors are those of :func:`measure`.
    """
    used, params, target = prepared(data, evaluator, metric)
    return shares_of(evaluations(replace(data, trials=used), evaluator, target).whole(), evaluator, params)


def measure(
    data: StudyData, evaluator: str = "ped-anova", metric: str | None = None, *, together: bool = True
) -> Importances:
    """How much each parameter mattered for the complete trials with finite values, and what of it may be chance.

    Args:
        data: The study.
        evaluator: ``ped-anova`` (Watanabe, Bansal, Hutter 2023; needs only numpy, and handles conditional parameters),
            ``fanova`` (Hutter, Hoos, Leyton-Brown 2014) or ``mean-decrease-impurity``; the last two need scikit-learn
            and use only parameters that every complete trial has.
        metric: Name of the objective. None with several objectives: closeness to the Pareto front (ped-anova only).
        together: Measure interactions too, which takes longest.

    Raises:
        PilotuneError: The trials allow no answer: fewer than two are complete with finite values, all values are the
            same, or there are no parameters that the evaluator can use.
        UserError: The metric is unknown or missing, or scikit-learn is not installed.

    Example::

        found = measure(read_study("sqlite:///study.db", "digits"))
        found.shares, found.certain  # {"lr": 0.81, "units": 0.19}, {"lr"}
    """
    used, params, target = prepared(data, evaluator, metric)
    chosen = replace(data, trials=used)
    every = evaluations(chosen, evaluator, target)
    shares = shares_of(every.whole(), evaluator, params)
    fewer = thinned(chosen, evaluator)
    some = every if fewer is chosen else evaluations(fewer, evaluator, target)
    chance, certain = by_chance(some, tuple(shares))
    counts = Counter(name for trial in used for name in trial.params)
    pairs, why_not = _interactions(data, metric) if together else ((), "they were not asked for")
    known = certain.union(*(each.pair for each in pairs if each.certain))
    return Importances(
        study=data.name,
        evaluator=evaluator,
        metric=metric if metric is not None else data.metrics[0] if len(data.metrics) == 1 else None,
        shares=shares,
        chance=chance,
        intervals=intervals(some, shares),
        certain=certain,
        used=len(used),
        trials=len(data.trials),
        complete=sum(trial.state.name == "COMPLETE" for trial in data.trials),
        active={name: counts[name] for name in shares if counts[name] < len(used)},
        left_out=tuple(sorted(counts.keys() - shares.keys())),
        advice=_advice(data, used, objective_index(data, evaluator, metric), tuple(shares), certain, known),
        interactions=pairs,
        no_interactions=why_not,
    )


def _interactions(data: StudyData, metric: str | None) -> tuple[tuple[Interaction, ...], str]:
    """The interactions of the parameters, and why there are none; never an error, since the shares need none."""
    if metric is None and len(data.metrics) > 1:
        return (), f"they are those of one objective: choose it with --metric {'|'.join(data.metrics)}"
    try:
        used, params, target = prepared(data, "fanova", metric)
    except PilotuneError:
        return interactions((), (), lambda trial: trial.values[0])
    assert target is not None  # None is only for ped-anova
    return interactions(used, params, target)


def _advice(
    data: StudyData,
    used: tuple[FrozenTrial, ...],
    index: int | None,
    names: tuple[str, ...],
    certain: frozenset[str],
    known: frozenset[str],
) -> tuple[Advice, ...]:
    if index is None and len(data.directions) > 1:
        return ()
    sign = -1.0 if data.directions[index or 0] == "maximize" else 1.0
    return tuple(advice(used, [sign * trial.values[index or 0] for trial in used], names, certain, known))


def prepared(
    data: StudyData, evaluator: str, metric: str | None
) -> tuple[tuple[FrozenTrial, ...], tuple[str, ...], Target | None]:
    """The trials to use, the parameters that the evaluator can use, and what to explain (None: as Optuna decides).

    Raises as :func:`measure` does.
    """
    index = objective_index(data, evaluator, metric)
    complete = [trial for trial in data.trials if trial.state.name == "COMPLETE"]
    used = tuple(trial for trial in complete if all(map(math.isfinite, values_of(trial, index))))
    if len(used) < 2:
        have = f"{len(used)} complete trial{'s' if len(used) != 1 else ''}"
        finite = " with finite values" if len(used) < len(complete) else ""
        raise PilotuneError(f"study {data.name!r} has {have}{finite}; importance needs at least two")
    distinct = {tuple(values_of(trial, index)) for trial in used}
    if len(distinct) == 1:
        shown = ", ".join(f"{value:.6g}" for value in next(iter(distinct)))
        what = data.metrics[index] if index is not None else "value" if len(data.metrics) == 1 else "values"
        raise PilotuneError(
            f"all {len(used)} complete trials of {data.name!r} have the same {what} ({shown}), so no parameter made a "
            "difference"
        )
    params = usable(data, evaluator, used)
    if evaluator == "ped-anova":
        sign = -1.0 if index is not None and data.directions[index] == "maximize" else 1.0
        return used, params, None if index is None else lambda trial: float(sign * trial.values[index])
    low = min(trial.values[index or 0] for trial in used)
    half: float = max(trial.values[index or 0] for trial in used) / 2 - low / 2

    def target(trial: FrozenTrial) -> float:
        """The value between 0 and 1, since forests square it; halves, since a difference may be beyond all floats."""
        return float(trial.values[index or 0] / 2 - low / 2) / half

    return used, params, target


def values_of(trial: FrozenTrial, index: int | None) -> list[float]:
    """A trial's value of one objective, or of all."""
    return list(trial.values) if index is None else [trial.values[index]]


def usable(data: StudyData, evaluator: str, used: tuple[FrozenTrial, ...]) -> tuple[str, ...]:
    """The parameters that the evaluator can use. Raises PilotuneError if there is none."""
    kinds: dict[str, list[object]] = {}
    for trial in used:
        for name, distribution in trial.distributions.items():
            found = kinds.setdefault(name, [])
            if distribution not in found:
                found.append(distribution)
    if not kinds:
        raise PilotuneError(f"the complete trials of study {data.name!r} have no parameters to compare")
    if all(distribution.single() for trial in used for distribution in trial.distributions.values()):
        names = "parameter has" if len(kinds) == 1 else "parameters have"
        raise PilotuneError(f"the {names} only one possible value in {data.name!r}, so none can make a difference")
    if all(trial.params == used[0].params for trial in used):
        raise PilotuneError(
            f"all {len(used)} complete trials of {data.name!r} have the same parameters, so nothing can be compared"
        )
    if evaluator == "ped-anova":
        return tuple(kinds)
    counts = Counter(name for trial in used for name in trial.params)
    common = tuple(name for name, found in kinds.items() if counts[name] == len(used) and len(found) == 1)
    if not common:
        raise PilotuneError(
            f"the {evaluator} evaluator needs a parameter that every complete trial of {data.name!r} has, "
            "and there is none; use --evaluator ped-anova"
        )
    return common


def shares_of(raw: Mapping[str, float], evaluator: str, params: tuple[str, ...]) -> dict[str, float]:
    """Importances that sum to 1, largest first. Raises PilotuneError if they are all zero."""
    total = sum(raw.get(name, 0.0) for name in params)
    if not math.isfinite(total) or total <= 0.0:
        raise PilotuneError(f"the {evaluator} evaluator finds no difference that a parameter could explain")
    return {name: raw.get(name, 0.0) / total for name in sorted(params, key=lambda name: -raw.get(name, 0.0))}


def objective_index(data: StudyData, evaluator: str, metric: str | None) -> int | None:
    """Index of the objective; None if Optuna's default for the whole study is what is wanted."""
    if metric is not None:
        if metric not in data.metrics:
            raise UserError(f"study {data.name!r} has no metric {metric!r}; it has {', '.join(data.metrics)}")
        return data.metrics.index(metric) if len(data.metrics) > 1 else None
    if len(data.metrics) > 1 and evaluator != "ped-anova":
        raise UserError(f"{evaluator} works on one objective: choose it with --metric {'|'.join(data.metrics)}")
    return None
