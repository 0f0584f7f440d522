"""One attempt of a simulated worker, and what a pretended objective does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ...pipeline.trial.protocol import AttemptSpec, Report, Suggest
from ..blocks.scaling import Block


@dataclass(frozen=True)
class Wish:
    """An objective that suggests as it runs asks for a parameter."""

    name: str
    distribution: str  # Optuna's JSON


Step = tuple[float, float | Wish | None]
"""Seconds until it happens, and the reported value; None is the end, and the trial's value the last one reported."""

Objective = Callable[[AttemptSpec], Iterator[Step]]


@dataclass
class Running:
    """What a worker knows of the attempt that it runs."""

    spec: AttemptSpec
    steps: Iterator[Step]
    started: float  # on the worker's clock
    block: Block | None
    host: str
    step: int = 0  # the last one, that of earlier attempts included
    value: float = 0.0  # its value
    yielding: bool = False
    reports: list[list[float]] = field(default_factory=list)
    asked: Report | Suggest | None = None  # the message that is not answered yet
    waiting: bool = False  # it does not go on before the answer
    unsent: list[list[float]] = field(default_factory=list)  # reports that it made since
    requests: int = 0
    over: bool = False
