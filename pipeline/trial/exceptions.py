"""How an objective is told to end. Raised by :meth:`pilotune.Trial.report`; an objective may raise them itself."""

from __future__ import annotations

import sys


class TrialPruned(Exception):
    """This trial is not worth going on with. Its last report is kept as its value."""


class TrialYield(Exception):
    """This attempt is to end now; the trial goes on later, as a new attempt, from what is in ``checkpoint_dir``."""


class ObjectiveError(Exception):
    """An objective that cannot be run at all: missing, not callable, wrong signature. The message is one sentence."""


def is_pruned(error: BaseException) -> bool:
    """Whether ``error`` is Pilotune's or Optuna's TrialPruned. Optuna is not imported: who raised its did."""
    theirs = getattr(sys.modules.get("optuna.exceptions"), "TrialPruned", None)
    return isinstance(error, TrialPruned) or (isinstance(theirs, type) and isinstance(error, theirs))
