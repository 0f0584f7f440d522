"""How far a trial is by the steps that it has reported, and so how long all of it takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from heapq import nsmallest


@dataclass(frozen=True)
class WholeTrial:
    """The steps of a whole trial, as a complete one has reported them.

    They may begin at 0, at 1 or anywhere, and be any number apart. Until its first step a trial is taken to do as much
    as between the first and the second.

    Attributes:
        before: The step that would come before the first.
        last: The last step.

    >>> WholeTrial.of([0, 1, 2, 3]), WholeTrial.of([10, 20, 30])
    (WholeTrial(before=-1, last=3), WholeTrial(before=0, last=30))
    >>> WholeTrial.of([10, 20, 30]).seconds(step=20, ran=8.0)
    12.0
    """

    before: int
    last: int

    @classmethod
    def of(cls, steps: Iterable[int]) -> WholeTrial | None:
        """From the steps that a complete trial has reported; None where it has reported none."""
        steps = set(steps)
        if not steps:
            return None
        first, *second = nsmallest(2, steps)
        return cls(first - (second[0] - first if second else 1), max(steps))

    @property
    def steps(self) -> int:
        """How many steps there are; where they are ten apart, each counts as ten."""
        return self.last - self.before

    def done(self, step: int, earlier: int | None = None) -> int:
        """How many steps an attempt has done itself.

        Args:
            step: The last that it has reported.
            earlier: The last that attempts before it have reported; None where they reported none.
        """
        return max(0, step - (self.before if earlier is None else earlier))

    def seconds(self, step: int, ran: float, earlier: int | None = None) -> float | None:
        """Seconds of a whole trial, by a report of one that runs; None where it shows nothing new.

        Args:
            step: The step that was reported.
            ran: Seconds that the attempt had run by then.
            earlier: As for :meth:`done`.
        """
        done = self.done(step, earlier)
        return ran * self.steps / done if done else None

    def left(self, step: int) -> float:
        """The share of a whole trial that is left after a step."""
        return max(0, self.last - step) / self.steps
