"""A support vector machine of scikit-learn that reports: trained on more and more rows. To be maximized.

In a study file::

    objective: svm_classifier         # pilotune.objectives.svm_classifier:train
    direction: maximize
    space:
      data: digits                    # or a folder of images, a CSV file, breast_cancer, iris, wine
      kernel: {choice: [linear, rbf, poly]}
      C: {float: [1.0e-3, 1.0e+3], log: true}
      gamma: {float: [1.0e-5, 1.0e+1], log: true, when: {kernel: [rbf, poly]}}
      degree: {int: [2, 5], when: {kernel: poly}}
    pruner: {name: hyperband, min_resource: 1, max_resource: 8, reduction_factor: 2}

A machine has no epochs. It is trained on an eighth of the rows, a quarter, a half and all of them, and the steps of the
reports are eighths: 1, 2, 4, 8. All stages together take about a third more time than the last, which is why
``stages: false`` leaves the others out. An attempt that is interrupted continues after its last stage. The parameters
are those in :data:`~.settings.DATA` and :data:`DEFAULTS`. Needs scikit-learn.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from ..pipeline.trial import Trial
from .parts import Parts, load_parts
from .settings import missing, settings
from .sklearn_errors import one_sentence

try:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC
except ModuleNotFoundError as error:
    raise missing("scikit-learn", error) from None

DEFAULTS: dict[str, Any] = {
    "kernel": "rbf",  # or linear, poly, sigmoid
    "C": 1.0,
    "gamma": None,  # of rbf, poly and sigmoid; default: scikit-learn's `scale`
    "degree": 3,  # of poly
    "coef0": 0.0,  # of poly and sigmoid
    "max_iter": -1,  # -1: until it converges
    "stages": True,
}
EIGHTHS = (1, 2, 4, 8)
KERNELS = ("linear", "rbf", "poly", "sigmoid")


def train(trial: Trial) -> float:
    """Train the machine. Returns the accuracy on the held-out rows when it is trained on all others, 0..1.

    Raises:
        ObjectiveError: A parameter that is not known, a value that is not offered, or data that are missing.
    """
    given = settings(trial.params, DEFAULTS, {"kernel": KERNELS})
    loaded = load_parts(given)
    parts, images = loaded.flat(), loaded.x.ndim > 2
    order = np.random.default_rng(given["split_seed"]).permutation(len(parts.y))
    file = trial.checkpoint_dir / "stage.json"
    done, score = json.loads(file.read_text()) if file.exists() else (0, 0.0)
    for step in EIGHTHS if given["stages"] else EIGHTHS[-1:]:
        if step <= done:
            continue
        rows = order[: max(1, len(order) * step // EIGHTHS[-1])]
        score = _score(build(given, scaled=not images), parts, rows)
        part = file.with_suffix(".part")
        part.write_text(json.dumps([step, score]))
        os.replace(part, file)
        trial.report(score, step=step)
    return score


def build(given: dict[str, Any], scaled: bool) -> Any:
    """The machine; with ``scaled``, after a step that scales the columns. Pixels are from 0 to 1 already."""
    names = ("kernel", "C", "degree", "coef0", "max_iter")
    machine = SVC(gamma="scale" if given["gamma"] is None else given["gamma"], **{name: given[name] for name in names})
    return make_pipeline(StandardScaler(), machine) if scaled else machine


def _score(model: Any, parts: Parts, rows: np.ndarray[Any, Any]) -> float:
    """The accuracy of ``model`` trained on some of the rows; of their only class, where they have but one."""
    classes = np.unique(parts.y[rows])
    if len(classes) == 1:
        return float((parts.y_held == classes[0]).mean())
    with one_sentence():
        return float(model.fit(parts.x[rows], parts.y[rows]).score(parts.x_held, parts.y_held))
