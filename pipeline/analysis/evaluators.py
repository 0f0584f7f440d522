"""Optuna's importance evaluators by name, and their errors as sentences."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...errors import PilotuneError, UserError
from .reading import StudyData, readable

if TYPE_CHECKING:
    from optuna.importance import BaseImportanceEvaluator
    from optuna.trial import FrozenTrial

EVALUATORS = ("ped-anova", "fanova", "mean-decrease-impurity")
"""Methods of :func:`.importances`; the first is the default."""

TREES = 64
"""Trees in the forests of the last two, as in Optuna."""

COPY = "\0"
"""What the name of a parameter's shuffled copy ends with; no name in a database has it."""

Target = Callable[["FrozenTrial"], float]
"""What an evaluator explains: a trial's number."""


@contextmanager
def failing(study: str) -> Iterator[None]:
    """Inside, warnings are ignored, and what an evaluator raises becomes a sentence: PilotuneError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise PilotuneError(f"this evaluator cannot use the trials of {study!r}: {error}") from error


def evaluate(data: StudyData, evaluator: BaseImportanceEvaluator, target: Target | None) -> dict[str, float]:
    """Optuna's importances, not normalized. Raises PilotuneError when the evaluator cannot cope with the trials."""
    with failing(data.name):
        found = evaluator.evaluate(readable(data), target=target)
    return {name: float(value) for name, value in found.items()}


def make_evaluator(evaluator: str, trees: int = TREES, seed: int = 0) -> BaseImportanceEvaluator:
    """Optuna's evaluator of that name. Raises UserError without scikit-learn, if it needs that."""
    from optuna import importance

    try:
        if evaluator == "fanova":
            return importance.FanovaImportanceEvaluator(n_trees=trees, seed=seed)
        if evaluator == "mean-decrease-impurity":
            return importance.MeanDecreaseImpurityImportanceEvaluator(n_trees=trees, seed=seed)
    except ImportError as error:
        raise UserError(
            f"the {evaluator} evaluator needs scikit-learn, which is not installed: "
            "pip install scikit-learn, or --evaluator ped-anova"
        ) from error
    return importance.PedAnovaImportanceEvaluator()
