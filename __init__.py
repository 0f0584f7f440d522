"""Pilotune: hyperparameter optimization on supercomputers.

An objective imports what it needs from here::

    import pilotune

    def train(trial: pilotune.Trial) -> float:
        ...
        trial.report(accuracy, step=epoch)  # raises TrialPruned when the trial is to stop

Nothing heavy (no Optuna, Parsl, SQLAlchemy, pandas) is imported by this module: workers on thousands of nodes read it
from a parallel file system.
"""

from typing import TYPE_CHECKING, Any

from .pipeline.trial import Resources, Trial, TrialPruned, TrialYield

if TYPE_CHECKING:
    from .pipeline.trial.fixed import FixedTrial

__all__ = ["FixedTrial", "Resources", "Trial", "TrialPruned", "TrialYield", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import :class:`FixedTrial` at its first use, since workers have none."""
    if name == "FixedTrial":
        from .pipeline.trial.fixed import FixedTrial

        return FixedTrial
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
