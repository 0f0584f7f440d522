"""A scikit-learn classifier on a table: cross-validated accuracy, to be maximized. Keyword style.

In a study file::

    objective: sklearn_classifier     # pilotune.objectives.sklearn_classifier:train
    direction: maximize
    space:
      data: flowers.csv               # or breast_cancer, digits, iris, wine
      target: species                 # the column with the class; default: the last one
      model: {choice: [svm, forest]}
      C: {float: [1.0e-2, 1.0e+3], log: true, when: {model: svm}}
      gamma: {float: [1.0e-5, 1.0], log: true, when: {model: svm}}
      max_depth: {int: [2, 32], when: {model: forest}}

A classifier gets those of its hyperparameters (:data:`MODELS`) that the configuration has; the others keep
scikit-learn's defaults. Needs scikit-learn.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..pipeline.trial.exceptions import ObjectiveError
from .settings import check, missing
from .sklearn_errors import one_sentence
from .tables import load_table

try:
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
except ModuleNotFoundError as error:
    raise missing("scikit-learn", error) from None

MODELS = {
    "svm": ("svm:SVC", ("C", "kernel", "gamma", "degree")),
    "logistic": ("linear_model:LogisticRegression", ("C", "max_iter")),
    "forest": ("ensemble:RandomForestClassifier", ("n_estimators", "max_depth", "min_samples_leaf", "max_features")),
    "boosting": (
        "ensemble:HistGradientBoostingClassifier",
        ("learning_rate", "max_iter", "max_leaf_nodes", "max_depth"),
    ),
    "neighbors": ("neighbors:KNeighborsClassifier", ("n_neighbors", "weights")),
}
"""By model, its class in scikit-learn and the hyperparameters that it takes here."""


def train(
    data: str = "digits",
    target: str | None = None,
    model: str = "svm",
    folds: int = 3,
    seed: int = 0,
    C: float | None = None,
    kernel: str | None = None,
    gamma: float | None = None,
    degree: int | None = None,
    max_iter: int | None = None,
    n_estimators: int | None = None,
    max_depth: int | None = None,
    min_samples_leaf: int | None = None,
    max_features: float | None = None,
    learning_rate: float | None = None,
    max_leaf_nodes: int | None = None,
    n_neighbors: int | None = None,
    weights: str | None = None,
) -> dict[str, float]:
    """Train and score the classifier by cross-validation.

    Args:
        data: A data set or CSV file, see :func:`~.tables.load_table`.
        target: The column with the class; default: the last one.
        model: One of :data:`MODELS`.
        folds: The number of stratified folds, at least 2.
        seed: Of the folds, and of a model that uses random numbers. The same for every trial, so that trials compare.

    The other arguments are hyperparameters, named as in scikit-learn; None: its default.

    Returns:
        ``value``, the mean accuracy over the folds (0..1), and ``spread``, its standard deviation.

    Raises:
        ObjectiveError: An unknown model, a hyperparameter that the model does not take, a value that is not allowed,
            or data that are missing or cannot be used.
    """
    check({"data": data, "target": target, "model": model, "folds": folds, "seed": seed, "degree": degree}, {})
    given = {
        "C": C, "kernel": kernel, "gamma": gamma, "degree": degree, "max_iter": max_iter, "n_estimators": n_estimators,
        "max_depth": max_depth, "min_samples_leaf": min_samples_leaf, "max_features": max_features,
        "learning_rate": learning_rate, "max_leaf_nodes": max_leaf_nodes, "n_neighbors": n_neighbors,
        "weights": weights,
    }  # fmt: skip
    classifier = build(model, seed, {name: value for name, value in given.items() if value is not None})

    x, y = load_table(data, target, least=folds)
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    with one_sentence():
        scores = cross_val_score(classifier, x, y, cv=split, error_score="raise")
    return {"value": float(scores.mean()), "spread": float(scores.std())}


def build(model: str, seed: int, hyperparameters: dict[str, Any]) -> Any:
    """The classifier, after a step that scales the features. Raises ObjectiveError as :func:`train` does."""
    if model not in MODELS:
        raise ObjectiveError(f"there is no model {model!r}; the models are {', '.join(MODELS)}")
    place, taken = MODELS[model]
    foreign = [name for name in hyperparameters if name not in taken]
    if foreign:
        raise ObjectiveError(f"the model {model!r} takes no {', '.join(foreign)}; it takes {', '.join(taken)}")
    module, name = place.split(":")
    classifier = getattr(import_module(f"sklearn.{module}"), name)(**hyperparameters)
    if "random_state" in classifier.get_params():
        classifier.set_params(random_state=seed)
    return make_pipeline(StandardScaler(), classifier)
