"""The schedulers by name, and the provider of each. A new scheduler is one module here and one line in the table."""

from __future__ import annotations

import importlib

from .batch import BatchBlocks

PROVIDERS = {
    "local": ("local", "LocalBlocks"),
    "slurm": ("slurm", "SlurmBlocks"),
    "pbs": ("pbs", "PBSBlocks"),
    "cobalt": ("cobalt", "CobaltBlocks"),
}
"""Scheduler -> (module in this folder, class in it)."""


def provider_class(scheduler: str) -> type[BatchBlocks]:
    """The provider class of a scheduler. Only its own module is imported."""
    module, name = PROVIDERS[scheduler]
    found: type[BatchBlocks] = getattr(importlib.import_module(f".{module}", __package__), name)
    return found
