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
    "torch_classifier": ("torch_classifier", "train", "a PyTorch network on a table, with reports and a checkpoint"),
}
"""From each short name to the module in this package, the function in it, and what it is in one line."""
