"""Computes how much each parameter mattered."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

from ...errors import PilotuneError, UserError
from .reading import StudyData, study_of

if TYPE_CHECKING:
    from optuna.importance import BaseImportanceEvaluator
    from optuna.trial import FrozenTrial

EVALUATORS = ("ped-anova", "fanova", "mean-decrease-impurity")
"""Methods of :func:`importances`; the first is the default."""


def importances(data: StudyData, evaluator: str = "ped-anova", metric: str | None = None) -> dict[str, float]:
    """The share of each parameter in the differences between the complete trials.

    Args:
        data: The study.
        evaluator: ``ped-anova`` (Watanabe, Bansal, Hutter 2023; needs only numpy, and handles conditional parameters),
            ``fanova`` (Hutter, Hoos, Leyton-Brown 2014) or ``mean-decrease-impurity``; the last two need scikit-learn
            and use only parameters that every complete trial has.
        metric: Name of the objective. None with several objectives: closeness to the Pareto front (ped-anova only).

    Returns:
        The share by parameter, largest first; they sum to 1.

    Raises:
        PilotuneError: Fewer than two trials are complete, or they have no parameters that the evaluator can use.
        UserError: The metric is unknown or missing, or scikit-learn is not installed.
    """
    complete = tuple(trial for trial in data.trials if trial.state.name == "COMPLETE")
    if len(complete) < 2:
        raise PilotuneError(
            f"study {data.name!r} has {len(complete)} complete trial{'s' if len(complete) != 1 else ''}; "
            "importance needs at least two"
        )
    if not any(trial.distributions for trial in complete):
        raise PilotuneError(f"the complete trials of study {data.name!r} have no parameters to compare")
    index = objective_index(data, evaluator, metric)
    study = study_of(replace(data, trials=complete))

    import optuna

    sign = -1.0 if index is not None and data.directions[index] == "maximize" and evaluator == "ped-anova" else 1.0

    def target(trial: FrozenTrial) -> float:
        return sign * float(trial.values[index or 0])

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = optuna.importance.get_param_importances(
                study, evaluator=make_evaluator(evaluator), target=None if index is None else target
            )
    except ImportError as error:
        raise UserError(
            f"the {evaluator} evaluator needs scikit-learn, which is not installed: "
            "pip install scikit-learn, or --evaluator ped-anova"
        ) from error
    if not found:
        raise PilotuneError(
            f"the {evaluator} evaluator needs a parameter that every complete trial of {data.name!r} has, "
            "and there is none; use --evaluator ped-anova"
        )
    return {name: float(share) for name, share in found.items()}


def objective_index(data: StudyData, evaluator: str, metric: str | None) -> int | None:
    """Index of the objective; None if Optuna's default for the whole study is what is wanted."""
    if metric is not None:
        if metric not in data.metrics:
            raise UserError(f"study {data.name!r} has no metric {metric!r}; it has {', '.join(data.metrics)}")
        return data.metrics.index(metric) if len(data.metrics) > 1 else None
    if len(data.metrics) > 1 and evaluator != "ped-anova":
        raise UserError(f"{evaluator} works on one objective: choose it with --metric {'|'.join(data.metrics)}")
    return None


def make_evaluator(evaluator: str) -> BaseImportanceEvaluator:
    """Optuna's evaluator of that name, with a fixed seed."""
    from optuna import importance

    if evaluator == "fanova":
        return importance.FanovaImportanceEvaluator(seed=0)
    if evaluator == "mean-decrease-impurity":
        return importance.MeanDecreaseImpurityImportanceEvaluator(seed=0)
    return importance.PedAnovaImportanceEvaluator()
