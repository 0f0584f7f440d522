"""Learns how long trials run from those that have finished."""

from __future__ import annotations

import math
from collections import deque

REMEMBERED = 100
"""Number of last trials that the estimates are made from."""

ENOUGH = 5
"""Finished trials that it takes before a duration is expected of the next one."""

SHARE = 0.9
"""The expected duration is this quantile of the finished trials' durations: one trial in ten may take longer.

With the mean, a third of all trials would start in blocks that end too early for them. With the maximum, the last hours
of every block would stay unused because of one outlier, or of the few trials that a pruner lets run to their end. A
trial that takes longer than expected yields, and goes on elsewhere from its checkpoint.
"""

LEAST = 0.1
"""Least remaining time of a trial, as a share of the expected duration. A trial that has already run for longer than
expected is one of the long ones, and its end is not near."""


class Durations:
    """The run times of this campaign's trials, in seconds.

    Args:
        given: How long a trial runs, as the user says; then ``expected`` is not learned.

    Attributes:
        median: Of all ended trials, failed ones too; None before the first.
        usual: Median of the trials that did not fail; before the first of them, ``given``.
        expected: Duration of a whole trial, rounded up to two digits so that it does not change with every trial; None
            while unknown.

    >>> durations = Durations()
    >>> for seconds in (100.0, 110.0, 120.0, 130.0, 140.0):
    ...     durations.add(seconds, whole=True)
    >>> durations.median, durations.expected, durations.left(40.0)
    (120.0, 140.0, 100.0)
    """

    def __init__(self, given: float | None = None):
        self._given = given
        self._all: deque[float] = deque(maxlen=REMEMBERED + 1)
        self._whole: deque[float] = deque(maxlen=REMEMBERED)
        self.median: float | None = None
        self.usual: float | None = given
        self.expected: float | None = given

    def add(self, seconds: float, *, whole: bool) -> None:
        """Learn from a trial that has ended.

        Args:
            seconds: How long it ran, in all its attempts.
            whole: It did not fail, and all its time is known.
        """
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
        """Seconds that a trial still has to run after ``ran`` seconds that its checkpoint keeps; None while unknown."""
        if self.expected is None:
            return None
        return max(self.expected - ran, LEAST * self.expected)


def two_digits(seconds: float) -> float:
    """``seconds``, rounded up to two significant digits.

    >>> two_digits(61.2), two_digits(3725)
    (62.0, 3800.0)
    """
    if seconds <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(seconds)) - 1)
    return float(f"{math.ceil(seconds / unit - 1e-9) * unit:.3g}")
