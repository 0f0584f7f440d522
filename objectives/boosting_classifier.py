"""Gradient boosting of scikit-learn that reports: the accuracy on held-out rows as trees are added. To be maximized.

In a study file::

    objective: boosting_classifier    # pilotune.objectives.boosting_classifier:train
    direction: maximize
    space:
      data: flowers.csv               # or a folder of images, digits, breast_cancer, iris, wine
      learning_rate: {float: [1.0e-2, 1.0], log: true}
      max_leaf_nodes: {int: [7, 63], log: true}
      min_samples_leaf: {int: [5, 50], log: true}
      l2_regularization: {float: [1.0e-6, 1.0e+2], log: true}
      rounds: 90
      every: 10
    pruner: {name: hyperband, min_resource: 10, max_resource: 90, reduction_factor: 3}

The steps of the reports are rounds; each adds a tree for every class. An attempt that is interrupted continues with the
trees that its last report saw. The parameters are those in :data:`~.settings.DATA` and :data:`DEFAULTS`. Needs
scikit-learn.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

from ..pipeline.trial import Trial
from .parts import load_parts
from .settings import missing, settings
from .sklearn_errors import one_sentence

try:
    from sklearn.ensemble import HistGradientBoostingClassifier
except ModuleNotFoundError as error:
    raise missing("scikit-learn", error) from None

DEFAULTS: dict[str, Any] = {
    "learning_rate": 0.1,
    "max_leaf_nodes": 31,
    "max_depth": None,
    "min_samples_leaf": 20,
    "l2_regularization": 0.0,
    "max_features": 1.0,  # the fraction of the columns that each split looks at
    "rounds": 100,
    "every": 10,  # the rounds from one report to the next
}
SAME_NAME = ("learning_rate", "max_leaf_nodes", "max_depth", "min_samples_leaf", "l2_regularization", "max_features")


def train(trial: Trial) -> float:
    """Train the trees. Returns the accuracy on the held-out rows after the last round, 0..1.

    Raises:
        ObjectiveError: A parameter that is not known, a value that is not offered, or data that are missing.
    """
    given = settings(trial.params, DEFAULTS, {})
    parts = load_parts(given).flat()
    file = trial.checkpoint_dir / "trees.pickle"
    model = _saved(file)
    if model is None:
        model = build(given, trial.rng_seed)
    else:  # in population-based training another trial may have saved it
        model.set_params(**own_parameters(given))
    done = getattr(model, "n_iter_", 0)
    score = float(model.score(parts.x_held, parts.y_held)) if done else 0.0
    while done < given["rounds"]:
        done = min(done - done % given["every"] + given["every"], given["rounds"])
        model.set_params(max_iter=done)
        with one_sentence():
            model.fit(parts.x, parts.y)  # a warm start: only the trees that are missing
        score = float(model.score(parts.x_held, parts.y_held))
        _save(file, model)
        trial.report(score, step=done)
    return score


def build(given: dict[str, Any], seed: int) -> Any:
    """The model without any trees."""
    own = own_parameters(given)
    return HistGradientBoostingClassifier(**own, early_stopping=False, warm_start=True, random_state=seed)


def own_parameters(given: dict[str, Any]) -> dict[str, Any]:
    """The model's parameters that the settings give."""
    own = {name: given[name] for name in SAME_NAME}
    return {**own, "max_features": float(own["max_features"])}  # scikit-learn takes no whole number


def _saved(file: Path) -> Any:
    """The model that an earlier attempt of the trial saved; None without one."""
    return pickle.loads(file.read_bytes()) if file.exists() else None


def _save(file: Path, model: Any) -> None:
    """Save the model for :func:`_saved`, atomically."""
    part = file.with_suffix(".part")
    part.write_bytes(pickle.dumps(model))
    os.replace(part, file)
