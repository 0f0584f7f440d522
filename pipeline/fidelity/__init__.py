"""Pruners, which decide at reports whether a trial goes on; and Hyperband's brackets.

Each pruner is an ``optuna.pruners.BasePruner``. Hyperband, successive halving, median and percentile are Pilotune's
own; they give Optuna's verdicts from tables that are updated with what changed. The one that extrapolates learning
curves is Pilotune's, too. The rest are Optuna's.
"""

from .brackets import Bracket, bracket_of, hyperband_brackets, render_brackets, rung_of
from .extrapolation import ExtrapolationPruner
from .halving import HyperbandPruner, SuccessiveHalvingPruner
from .percentile import MedianPruner, PercentilePruner
from .population import POPULATION_BASED, Origin, Population, PopulationPlan, population_plan
from .promotion import MODES, PROMOTE, Promotions, RungSchedule, render_rung_schedule, rung_schedule
from .registry import (
    check_pruner,
    make_pruner,
    pruner_arguments,
    pruner_name,
    pruner_names,
    resolved_pruner,
    user_pruner,
)

__all__ = [
    "MODES",
    "POPULATION_BASED",
    "PROMOTE",
    "Bracket",
    "ExtrapolationPruner",
    "HyperbandPruner",
    "MedianPruner",
    "Origin",
    "PercentilePruner",
    "Population",
    "PopulationPlan",
    "Promotions",
    "RungSchedule",
    "SuccessiveHalvingPruner",
    "bracket_of",
    "check_pruner",
    "hyperband_brackets",
    "make_pruner",
    "population_plan",
    "pruner_arguments",
    "pruner_name",
    "pruner_names",
    "render_brackets",
    "render_rung_schedule",
    "resolved_pruner",
    "rung_of",
    "rung_schedule",
    "user_pruner",
]
