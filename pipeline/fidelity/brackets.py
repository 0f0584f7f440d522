"""Computes Hyperband's brackets as Optuna's HyperbandPruner does (Li et al., Hyperband, JMLR 18, 2018, algorithm 1).

Only the rungs differ: Optuna's has one at ``max_resource``, too.

Each bracket is an asynchronous successive halving of its own. A hash of the study's name and the trial's number puts a
trial into one, so that the brackets' shares follow the paper's numbers of configurations.
"""

from __future__ import annotations

import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Bracket:
    """One of Hyperband's brackets: a set of rungs at which its trials compete with each other.

    Attributes:
        id: From 0, the bracket that prunes earliest and most.
        allocation: The paper's number of configurations, relative to those of the other brackets.
        share: The fraction of all trials that go into it, 0 to 1.
        rungs: The steps at which a trial can be pruned, ascending, all below the last one. At each about 1 in
            ``reduction_factor`` goes on. None in the bracket whose trials all run to the end.
    """

    id: int
    allocation: int
    share: float
    rungs: tuple[int, ...]

    def trials_until(self, count: int = 10) -> int:
        """How many trials the study needs, on average, before this bracket has ``count`` to compare with each other."""
        return math.ceil(count / self.share)


def hyperband_brackets(args: Mapping[str, Any]) -> list[Bracket]:
    """The brackets for the arguments of the pruner ``hyperband``.

    Args:
        args: ``min_resource`` (default 1), ``max_resource`` and ``reduction_factor`` (default 3).

    Returns:
        One bracket for each first rung; none for ``max_resource: auto``, since the steps of a full trial are only known
        when the first one completes.

    Example:
        >>> [bracket.rungs for bracket in hyperband_brackets({"max_resource": 9})]
        [(1, 3), (3,), ()]
    """
    low, high, factor = args.get("min_resource", 1), args.get("max_resource", "auto"), args.get("reduction_factor", 3)
    if high == "auto":
        return []
    count = math.floor(math.log(high / low, factor)) + 1  # rounding errors included, as in Optuna
    allocations = [math.ceil(count * factor ** (count - 1 - i) / (count - i)) for i in range(count)]
    total = sum(allocations)
    return [Bracket(i, n, n / total, _rungs(low * factor**i, high, factor)) for i, n in enumerate(allocations)]


def bracket_of(study_name: str, number: int, brackets: Sequence[Bracket]) -> int:
    """The id of the bracket that Optuna puts the trial ``number`` into; 0 where there are no brackets."""
    if not brackets:
        return 0
    left = binascii.crc32(f"{study_name}_{number}".encode()) % sum(b.allocation for b in brackets)
    for bracket in brackets:
        left -= bracket.allocation
        if left < 0:
            return bracket.id
    raise AssertionError("a remainder is smaller than the sum")


def rung_of(step: int, bracket: Bracket) -> int | None:
    """The index of the highest rung at or below ``step``; None below the first."""
    reached = [index for index, rung in enumerate(bracket.rungs) if rung <= step]
    return reached[-1] if reached else None


def render_brackets(brackets: Sequence[Bracket], trials: int | None = None) -> str:
    """The brackets as a table in plain text. ``trials``: the budget, to show how many trials each bracket gets."""
    head = ["bracket", "share of trials", "can prune at steps", "has 10 trials after about (total)"]
    rows = []
    for b in brackets:
        share = f"{100 * b.share:.1f} %" + (f" (about {b.share * trials:.0f})" if trials else "")
        rows.append([str(b.id), share, ", ".join(map(str, b.rungs)) or "never", str(b.trials_until())])
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    )


def _rungs(first: int, high: int, factor: int) -> tuple[int, ...]:
    rungs = []
    while first < high:  # at the last step there is nothing left to save
        rungs.append(first)
        first *= factor
    return tuple(rungs)
