"""Evolutionary samplers: one engine (:class:`EvolutionSampler`), and three published algorithms as its settings."""

from .presets import AgeingSampler, DHPOSampler, GeneticSampler
from .sampler import EvolutionSampler
from .settings import Settings

__all__ = ["AgeingSampler", "DHPOSampler", "EvolutionSampler", "GeneticSampler", "Settings"]
