"""Pilotune: hyperparameter optimization on supercomputers.

An objective imports what it needs from here::

    import pilotune

    def train(trial: pilotune.Trial) -> float:
        ...
        trial.report(accuracy, step=epoch)  # raises TrialPruned when the trial is to stop

Nothing heavy (no Optuna, Parsl, SQLAlchemy, pandas) is imported by this module: workers on thousands of nodes read it
from a parallel file system.
"""

from .pipeline.trial import Resources, Trial, TrialPruned, TrialYield

__all__ = ["Resources", "Trial", "TrialPruned", "TrialYield", "__version__"]

__version__ = "0.1.0"
