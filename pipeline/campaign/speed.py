"""Keeps a campaign's counters over time, so that its recent speed can be told from that at its start."""

from __future__ import annotations

from dataclasses import dataclass

from .flight_states import require

MOST_SAMPLES = 128
"""Samples that are kept. When there are more, every second one is dropped, and later ones are taken half as often."""

FIRST_SPACING = 0.25
"""Seconds between two samples at the beginning."""


@dataclass(frozen=True)
class Sample:
    """A campaign's counters at one moment.

    Attributes:
        time: Unix seconds.
        worker_seconds: Time of all workers so far.
        busy_seconds: Time of workers that ran trials so far.
        ended: Trials that have ended so far; with pauses at rungs, their stages.
    """

    time: float
    worker_seconds: float
    busy_seconds: float
    ended: int


class Speed:
    """Samples of a campaign's counters, the oldest first, from the moment when the first worker came.

    Attributes:
        samples: The samples; empty before the first worker.
    """

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self._spacing = FIRST_SPACING

    def note(self, time: float, worker_seconds: float, busy_seconds: float, ended: int) -> None:
        """Keep a sample of these counters where it is time for one."""
        if self.samples and time - self.samples[-1].time < self._spacing:
            return
        self.samples.append(Sample(time, worker_seconds, busy_seconds, ended))
        if len(self.samples) > MOST_SAMPLES:
            self.samples = self.samples[::2]
            self._spacing *= 2

    def recent(self, now: float) -> Sample | None:
        """The first sample in the second half of the time until ``now``; None before the first worker."""
        if not self.samples:
            return None
        half = (self.samples[0].time + now) / 2
        return next((each for each in self.samples if each.time >= half), self.samples[-1])

    def validate(self) -> None:
        """Check the samples. Raises BrokenInvariant with a sentence."""
        require(len(self.samples) <= MOST_SAMPLES, f"{len(self.samples)} samples of the campaign's speed")
        for before, after in zip(self.samples, self.samples[1:], strict=False):
            grows = before.time < after.time and before.ended <= after.ended
            grows = (
                grows and before.worker_seconds <= after.worker_seconds and before.busy_seconds <= after.busy_seconds
            )
            require(grows, f"the campaign's counters went back from {before} to {after}")
