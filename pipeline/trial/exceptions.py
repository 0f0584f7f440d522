"""Exceptions that end an objective."""

from __future__ import annotations

import sys


class TrialPruned(Exception):
    """The trial ends here, because it is worse than others at this step.

    :meth:`pilotune.Trial.report` raises it, and so may an objective of its own accord. The trial is kept with the
    state PRUNED and its last report as its value. ``optuna.TrialPruned`` means the same.

    An objective needs to catch it only to clean up, and must raise it again::

        try:
            trial.report(accuracy, step=epoch)
        except pilotune.TrialPruned:
            writer.close()
            raise
    """


class TrialYield(Exception):
    """The attempt ends here; the trial goes on later, as a new attempt, from what is in ``trial.checkpoint_dir``.

    :meth:`pilotune.Trial.report` raises it when the attempt's block ends soon, when the campaign is stopped, or
    when the trial pauses for better ones. Save a checkpoint before each report, or catch the exception and save then::

        for epoch in range(first, epochs):
            accuracy = train_epoch(model)
            try:
                trial.report(accuracy, step=epoch)
            except pilotune.TrialYield:
                torch.save(model.state_dict(), trial.checkpoint_dir / "model.pt")
                raise

    An objective may also raise it itself after :meth:`pilotune.Trial.should_yield`.
    """


class ObjectiveError(Exception):
    """An objective that cannot be run: missing, not callable, or of a wrong signature. The message is one sentence."""


def is_pruned(error: BaseException) -> bool:
    """Whether ``error`` is Pilotune's or Optuna's TrialPruned.

    Optuna is not imported: an objective that raised Optuna's has imported it.
    """
    optuna_pruned = getattr(sys.modules.get("optuna.exceptions"), "TrialPruned", None)
    return isinstance(error, TrialPruned) or (isinstance(optuna_pruned, type) and isinstance(error, optuna_pruned))
