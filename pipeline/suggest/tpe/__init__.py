"""Pilotune's own TPE sampler: Optuna's suggestions, at a cost that does not grow with the study; and BOHB's model."""

from .bohb import BOHBSampler
from .sampler import TPESampler

__all__ = ["BOHBSampler", "TPESampler"]
