"""The provider class of each scheduler. A new scheduler is one module in this folder and one line in the table."""

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
    """The provider class of a scheduler. Imports only that scheduler's module.

    >>> provider_class("slurm").__name__
    'SlurmBlocks'
    """
    module, name = PROVIDERS[scheduler]
    found: type[BatchBlocks] = getattr(importlib.import_module(f".{module}", __package__), name)
    return found
