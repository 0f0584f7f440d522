"""How long trials run, learned from those that finished."""

from __future__ import annotations

import math
from collections import deque

REMEMBERED = 100
"""Trials that the estimates look back at."""

ENOUGH = 5
"""Finished trials from which on anything is expected of the next one."""

SHARE = 0.9
"""The expected duration is this quantile: one trial in ten may take longer.

A mean would send a third of all trials into blocks that end under them; the longest trial ever seen would leave the
last hours of every block unused for the sake of one outlier, or of the few trials that a pruner lets run to their end.
A trial that takes longer all the same yields, and goes on elsewhere from its checkpoint.
"""

LEAST = 0.1
"""What a trial still has to run is never taken for less than this share of a whole one: it is one of the long ones."""


class Durations:
    """The run times of this campaign's trials, in seconds.

    Args:
        given: What the user says that a trial runs; then nothing is learned.

    Attributes:
        median: Of all trials that came to an end, whatever it was; None before the first.
        usual: The median of those that did not fail; before the first, ``given``.
        expected: Of a whole trial, rounded up to two digits so that it rests while it hardly changes; None while
            nothing is known.
    """

    def __init__(self, given: float | None = None):
        self._given = given
        self._all: deque[float] = deque(maxlen=REMEMBERED + 1)
        self._whole: deque[float] = deque(maxlen=REMEMBERED)
        self.median: float | None = None
        self.usual: float | None = given
        self.expected: float | None = given

    def add(self, seconds: float, *, whole: bool) -> None:
        """A trial has ended after ``seconds`` in all its attempts; ``whole``: it did not fail."""
        self._all.append(seconds)
        self.median = sorted(self._all)[len(self._all) // 2]
        if not whole:
            return
        self._whole.append(seconds)
        row = sorted(self._whole)
        self.usual = row[len(row) // 2]
        if self._given is None and len(row) >= ENOUGH:
            self.expected = two_digits(row[math.ceil(SHARE * len(row)) - 1])

    def left(self, ran: float) -> float | None:
        """What a trial still has to run when ``ran`` seconds of it are kept in a checkpoint."""
        if self.expected is None:
            return None
        return max(self.expected - ran, LEAST * self.expected)


def two_digits(seconds: float) -> float:
    """``seconds`` rounded up to two significant digits: 61.2 is 62, 3725 is 3800."""
    if seconds <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(seconds)) - 1)
    return float(f"{math.ceil(seconds / unit - 1e-9) * unit:.3g}")
