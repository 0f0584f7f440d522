"""What objectives and both sides of the channel share: the :class:`Trial`, the protocol, the trial's files.

Standard library only, since every worker imports it from a parallel file system.
"""

from .api import Resources, Trial
from .exceptions import TrialPruned, TrialYield

__all__ = ["Resources", "Trial", "TrialPruned", "TrialYield"]
