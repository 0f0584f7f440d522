"""What runs on a worker: the objective's :class:`Trial`, its process, and the way to the driver. stdlib only."""

from .api import Resources, Trial
from .exceptions import TrialPruned, TrialYield

__all__ = ["Resources", "Trial", "TrialPruned", "TrialYield"]
