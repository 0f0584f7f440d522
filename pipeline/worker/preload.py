"""Imports what a worker may need, for a process from which workers are forked: they then open no modules."""

from __future__ import annotations

import importlib

from ..trial.from_json import prepare
from ..trial.protocol import AttemptSpec, Outcome
from .process.messages import TO_TRIAL, TO_WORKER

MODULES = (
    "pilotune",
    "pilotune.pipeline.trial.api",
    "pilotune.pipeline.worker.run_attempt",
    "pilotune.pipeline.worker.command.process",
    "pilotune.pipeline.worker.process.forked",
    "pilotune.pipeline.worker.process.fork_server",
    "pilotune.pipeline.worker.ranks.forked",
    "zmq",
)
"""What attempts import when they run."""


def import_all() -> None:
    """Import them. Starts no thread."""
    for name in MODULES:
        importlib.import_module(name)
    prepare(AttemptSpec, Outcome, *TO_TRIAL, *TO_WORKER)
