"""Pilotune's own TPE sampler: Optuna's suggestions, at a cost that does not grow with the study."""

from .sampler import TPESampler

__all__ = ["TPESampler"]
