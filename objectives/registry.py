"""The ready-made objectives by name, as a table: a study file may name one instead of a module and a function.

Other packages add to it with entry points in the group :data:`GROUP`. The table is data only, so that reading it
imports none of the objectives: they run on the workers and may need packages that the driver lacks.
"""

from __future__ import annotations

GROUP = "pilotune.objectives"
"""The group of entry points with which a package adds objectives, each as ``package.module:function``."""

OBJECTIVES: dict[str, tuple[str, str, str]] = {
    "sphere": ("functions", "sphere", "the sum of squares; one minimum"),
    "rastrigin": ("functions", "rastrigin", "Rastrigin's function; many local minima"),
    "branin": ("functions", "branin", "Branin's function of x and y; three minima"),
    "schaffer": ("functions", "schaffer", "Schaffer's function of x; two directions"),
    "learning_curve": ("functions", "learning_curve", "a simulated training run with reports and a checkpoint"),
    "sklearn_classifier": ("sklearn_classifier", "train", "a scikit-learn classifier on a table, cross-validated"),
    "mlp_classifier": ("torch_classifier", "train", "a multilayer perceptron in PyTorch, on images or a table"),
    "torch_classifier": ("torch_classifier", "train", "another name of mlp_classifier"),
    "mlp_regressor": ("torch_regressor", "train", "a network in PyTorch that predicts mean and deviation, on a table"),
    "cnn_classifier": ("cnn_classifier", "train", "a convolutional network in PyTorch on images"),
    "svm_classifier": ("svm_classifier", "train", "a support vector machine that reports, on images or a table"),
    "boosting_classifier": ("boosting_classifier", "train", "gradient boosting that reports, on images or a table"),
}
"""From each short name to the module in this package, the function in it, and what it is in one line."""
