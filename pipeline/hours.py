"""Budgets in hours of nodes or GPUs, as the study file gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

HOUR = 3600.0

Unit = Literal["node_hours", "gpu_hours"]
"""What a budget counts; the name is its key in the study file."""

WORDS: Mapping[Unit, str] = {"node_hours": "node-hour", "gpu_hours": "GPU-hour"}
"""The nouns for messages."""


@dataclass(frozen=True)
class Account:
    """A budget in the hours of one unit.

    Attributes:
        unit: What is counted.
        hours: How many there are, over all campaigns of the study.
        pool: The pool whose blocks are counted; empty: those of all pools.

    >>> Account("node_hours", 400, "cpu").words
    'the budget of 400 node-hours in pool cpu'
    """

    unit: Unit
    hours: float
    pool: str = ""

    @property
    def words(self) -> str:
        """The account in a message."""
        return f"the budget of {amount(self.hours, self.unit)}{f' in pool {self.pool}' if self.pool else ''}"

    def covers(self, pool: str) -> bool:
        """Whether the blocks of a pool are charged to it."""
        return self.pool in ("", pool)


def amount(hours: float, unit: Unit) -> str:
    """So many hours in words.

    >>> amount(1, "node_hours"), amount(12500.04, "gpu_hours"), amount(0.0123456, "node_hours")
    ('1 node-hour', '12,500 GPU-hours', '0.01235 node-hours')
    """
    text = f"{hours:,.0f}" if abs(hours) >= 1000 else f"{hours:.4g}"
    return f"{text} {WORDS[unit]}{'' if text == '1' else 's'}"
