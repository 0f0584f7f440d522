"""Pilotune's Gaussian process sampler: a model of the objective, kept up to date exactly, for many running trials."""

from .sampler import GPSampler

__all__ = ["GPSampler"]
