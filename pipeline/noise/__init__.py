"""Noisy objectives: how often a trial is repeated, what its repetitions gave, and which trial is best for certain."""

from .repetitions import (
    MOST,
    REPEATS_ONCE,
    Repeats,
    Repetition,
    mean_constraints,
    means,
    read_repetitions,
    repetitions_of,
    spreads,
)

__all__ = [
    "MOST",
    "REPEATS_ONCE",
    "Repeats",
    "Repetition",
    "mean_constraints",
    "means",
    "read_repetitions",
    "repetitions_of",
    "spreads",
]
