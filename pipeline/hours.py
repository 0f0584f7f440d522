"""Budgets in hours of nodes or GPUs, as the study file gives them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

HOUR = 3600.0

MOST_HOURS = 1e9
"""Largest budget: 100,000 nodes for a year."""

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
        key: Its key in the study file.

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

    @property
    def key(self) -> str:
        return f"budget.{self.unit}{'.' if self.pool else ''}{self.pool}"

    def covers(self, *names: str) -> bool:
        """Whether the blocks of a pool, which may have several names, are charged to it."""
        return self.pool in ("", *names)

    def left(self, campaigns: Iterable[Charged]) -> float:
        """Hours that these campaigns have neither used nor reserved; 0 where they have more than there is."""
        return max(0.0, self.hours - sum(each.total(self, most=True) for each in campaigns))


def amount(hours: float, unit: Unit) -> str:
    """So many hours in words.

    >>> amount(1, "node_hours"), amount(12500.04, "gpu_hours"), amount(0.0123456, "node_hours")
    ('1 node-hour', '12,500 GPU-hours', '0.01235 node-hours')
    """
    text = number(hours)
    return f"{text} {WORDS[unit]}{'' if text == '1' else 's'}"


def number(hours: float) -> str:
    """So many hours without their noun, short whatever their size.

    >>> number(0.0123456), number(12500.04), number(1e300)
    ('0.01235', '12,500', '1e+300')
    """
    return f"{hours:,.0f}" if 1000 <= abs(hours) <= MOST_HOURS else f"{hours:.4g}"


def rounded_up(hours: float) -> float:
    """The hours with three digits, not less than they are: a budget that is enough.

    >>> rounded_up(1 / 60), rounded_up(80.0), rounded_up(1234.5)
    (0.0167, 80.0, 1240.0)
    """
    step = 2 - math.floor(math.log10(hours))
    return round(math.ceil(hours * 10.0**step - 1e-6) / 10.0**step, max(0, step))


class Charged(Protocol):
    """What one campaign was charged, and still can be."""

    def total(self, account: Account, *, most: bool = False) -> float: ...


class Used(Protocol):
    """What was used of a pool, in hours."""

    @property
    def pool(self) -> str: ...
    @property
    def node_hours(self) -> float: ...
    @property
    def gpu_hours(self) -> float: ...
    @property
    def busy_node_hours(self) -> float: ...


def used_text(pools: Collection[Used]) -> str:
    """What blocks have used, by pool, and how much of it trials did; empty where they have used nothing.

    As in ``1.2 node-hours (cpu 1, gpu 0.2), 82% busy and 18% idle; 0.8 GPU-hours``.
    """
    nodes, gpus = sum(each.node_hours for each in pools), sum(each.gpu_hours for each in pools)
    if not nodes:
        return ""
    each = ", ".join(f"{each.pool} {number(each.node_hours)}" for each in pools if each.node_hours)
    share = round(100 * min(1.0, sum(each.busy_node_hours for each in pools) / nodes))
    where = f" ({each})" if len(pools) > 1 else ""
    text = f"{amount(nodes, 'node_hours')}{where}, {share}% busy and {100 - share}% idle"
    return f"{text}; {amount(gpus, 'gpu_hours')}" if gpus else text
