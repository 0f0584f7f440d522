"""Pilotune's own TPE sampler: the suggestions of Optuna's, at a cost that does not grow with the study."""

from .sampler import TPESampler

__all__ = ["TPESampler"]
