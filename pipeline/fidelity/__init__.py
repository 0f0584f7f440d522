"""Which trial goes on: pruners by name, each an ``optuna.pruners.BasePruner``; Hyperband's brackets.

Hyperband, successive halving, median and percentile are our own (Optuna's verdicts from tables that are kept up to
date), the rest Optuna's.
"""

from .brackets import Bracket, bracket_of, hyperband_brackets, render_brackets, rung_of
from .halving import HyperbandPruner, SuccessiveHalvingPruner
from .percentile import MedianPruner, PercentilePruner
from .promotion import MODES, PROMOTE, Ladder, Promotions, ladder, render_ladder
from .registry import check_pruner, make_pruner, pruner_arguments, pruner_name, pruner_names

__all__ = [
    "MODES",
    "PROMOTE",
    "Bracket",
    "HyperbandPruner",
    "Ladder",
    "MedianPruner",
    "PercentilePruner",
    "Promotions",
    "SuccessiveHalvingPruner",
    "bracket_of",
    "check_pruner",
    "hyperband_brackets",
    "ladder",
    "make_pruner",
    "pruner_arguments",
    "pruner_name",
    "pruner_names",
    "render_brackets",
    "render_ladder",
    "rung_of",
]
