"""Samplers for spaces of networks: evolution of the architecture beside a model of the rest, and a small policy."""

from .agebo import AgEBOSampler
from .policy import ReinforceSampler

__all__ = ["AgEBOSampler", "ReinforceSampler"]
