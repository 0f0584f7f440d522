"""Which parameters mattered."""

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


def importances(data: StudyData, evaluator: str = "ped-anova", metric: str | None = None) -> dict[str, float]:
    """Share of each parameter in what made trials good, descending, summing to 1.

    Args:
        evaluator: ``ped-anova`` (Watanabe, Bansal, Hutter 2023; needs numpy only, takes conditional parameters too),
            ``fanova`` (Hutter, Hoos, Leyton-Brown 2014) or ``mean-decrease-impurity``; the last two need scikit-learn.
        metric: For which objective, by name; None with several objectives means closeness
            to the Pareto front (ped-anova only).

    Raises:
        PilotuneError: Fewer than two complete trials, or only one value of every parameter was tried.
        UserError: Unknown metric, one needed, or scikit-learn is missing.
    """
    complete = tuple(trial for trial in data.trials if trial.state.name == "COMPLETE")
    if len(complete) < 2:
        raise PilotuneError(f"study {data.name!r} has {len(complete)} complete trials; importance needs at least two")
    if not any(trial.distributions for trial in complete):
        raise PilotuneError(f"the complete trials of study {data.name!r} have no parameters, so none is important")
    index = objective(data, evaluator, metric)
    study = study_of(replace(data, trials=complete))

    import optuna

    sign = -1.0 if index is not None and data.directions[index] == "maximize" and evaluator == "ped-anova" else 1.0

    def target(trial: FrozenTrial) -> float:
        return sign * float(trial.values[index or 0])

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = optuna.importance.get_param_importances(
                study, evaluator=build(evaluator), target=None if index is None else target
            )
    except ImportError as error:
        raise UserError(
            f"the {evaluator} evaluator needs scikit-learn, which is not installed: "
            "pip install scikit-learn, or --evaluator ped-anova"
        ) from error
    if not found:
        raise PilotuneError(
            f"the {evaluator} evaluator looks only at parameters that every complete trial of {data.name!r} has, "
            "and there is none; use --evaluator ped-anova"
        )
    return {name: float(share) for name, share in found.items()}


def objective(data: StudyData, evaluator: str, metric: str | None) -> int | None:
    """Index of the objective that importance is for; None where Optuna's default for the whole study is right."""
    if metric is not None:
        if metric not in data.metrics:
            raise UserError(f"study {data.name!r} has no metric {metric!r}; it has {', '.join(data.metrics)}")
        return data.metrics.index(metric) if len(data.metrics) > 1 else None
    if len(data.metrics) > 1 and evaluator != "ped-anova":
        raise UserError(f"{evaluator} is for one objective: choose with --metric {'|'.join(data.metrics)}")
    return None


def build(evaluator: str) -> BaseImportanceEvaluator:
    from optuna import importance

    if evaluator == "fanova":
        return importance.FanovaImportanceEvaluator(seed=0)
    if evaluator == "mean-decrease-impurity":
        return importance.MeanDecreaseImpurityImportanceEvaluator(seed=0)
    return importance.PedAnovaImportanceEvaluator()
