"""Pilotune's random forest sampler: asynchronous model-based search with q-UCB, or as AMBS was published."""

from .sampler import ForestSampler

__all__ = ["ForestSampler"]
