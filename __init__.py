"""Pilotune: hyperparameter optimization on supercomputers.

An objective imports what it needs from here::

    import pilotune

    def train(trial: pilotune.Trial) -> float:
        ...
        trial.report(accuracy, step=epoch)  # raises TrialPruned when the trial is to stop

and so does who tunes from Python, in a script or a notebook::

    campaign = pilotune.run(train, space={"lr": {"float": [1e-5, 0.1]}}, direction="maximize", budget={"trials": 50})
    campaign.wait()
    campaign.study.best.params

Nothing heavy (no Optuna, Parsl, SQLAlchemy, pandas) is imported by this module: workers on thousands of nodes read it
from a parallel file system.
"""

from typing import TYPE_CHECKING, Any

from .pipeline.trial import Resources, Trial, TrialPruned, TrialYield
from .version import __version__

if TYPE_CHECKING:
    from .pipeline.api.handles import Campaign, Study, open
    from .pipeline.api.run import run
    from .pipeline.trial.artifact_store import ArtifactStore
    from .pipeline.trial.fixed import FixedTrial

__all__ = [
    "ArtifactStore",
    "Campaign",
    "FixedTrial",
    "Resources",
    "Study",
    "Trial",
    "TrialPruned",
    "TrialYield",
    "__version__",
    "open",
    "run",
]

LATER = {
    "ArtifactStore": ".pipeline.trial.artifact_store",
    "Campaign": ".pipeline.api.handles",
    "FixedTrial": ".pipeline.trial.fixed",
    "Study": ".pipeline.api.handles",
    "open": ".pipeline.api.handles",
    "run": ".pipeline.api.run",
}
"""Public name -> its module, which is imported when the name is first used: workers use none of them."""


def __getattr__(name: str) -> Any:
    """Import what :data:`LATER` names at its first use."""
    if name in LATER:
        from importlib import import_module

        return getattr(import_module(LATER[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, so that a notebook completes those that are not imported yet."""
    return sorted({*globals(), *__all__})
