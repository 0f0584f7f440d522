"""Which trial goes on: Optuna's pruners by name, each an ``optuna.pruners.BasePruner``; Hyperband's brackets."""

from .brackets import Bracket, bracket_of, hyperband_brackets, render_brackets, rung_of
from .build import check_pruner, make_pruner, pruner_arguments, pruner_name, pruner_names

__all__ = [
    "Bracket",
    "bracket_of",
    "check_pruner",
    "hyperband_brackets",
    "make_pruner",
    "pruner_arguments",
    "pruner_name",
    "pruner_names",
    "render_brackets",
    "rung_of",
]
