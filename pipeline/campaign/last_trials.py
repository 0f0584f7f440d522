"""The trials that run at a campaign's end, when nothing more will begin: how long each lasts, and whether it can move.

A block of many nodes that one of them keeps costs as much as when all its workers are busy. So the pools learn of them
(``Scale.last``), and may let them yield and go on in a smaller block.
"""

from __future__ import annotations

from collections.abc import Collection

from ..placement.ending import LATE
from ..trial.protocol import Outcome
from .campaign_study import CampaignStudy
from .durations import Durations, two_digits
from .events import LastTrial
from .flight import Flight
from .limits import CampaignLimits
from .services import CampaignServices
from .whole_trial import WholeTrial

MOST_LAST = 64
"""While more trials run than this, none of them counts as one of the last: for each, files are looked at."""

LOOK_PERIOD = 30.0
"""Seconds for which what was found of a trial holds: looking again means to look at its files."""


class LastTrials:
    """What is known of the last trials of a campaign.

    A trial can move where it has reported, since it hears at a report that it is to yield, and has saved a checkpoint;
    also where others of the campaign saved one when they yielded. Its end is foretold by its reports, where a complete
    trial shows which steps there are, and else by how long trials run.

    Args:
        limits: The budget of time, and whether trials may move at all.
        durations: How long trials run.
        services: Looks for checkpoints.
        study: Has the steps that trials have reported.
    """

    def __init__(self, limits: CampaignLimits, durations: Durations, services: CampaignServices, study: CampaignStudy):
        self._limits, self._durations, self._services, self._study = limits, durations, services, study
        self._whole: WholeTrial | None = None  # the last complete one
        self._saves = False  # whether a trial that yielded had saved a checkpoint
        self._known: dict[str, tuple[float, LastTrial]] = {}  # by token: until when it holds, and what was found

    def note_end(self, flight: Flight, outcome: Outcome) -> None:
        """Learn from an attempt that has ended, before the trial goes on."""
        if outcome.kind == "complete" and self._limits.moves:
            self._whole = WholeTrial.of(self._study.reported(flight.trial)) or self._whole
        self._saves |= outcome.kind == "yielded" and outcome.saved and outcome.ran > 0.0

    def look(self, running: Collection[Flight], began: float, now: float) -> tuple[LastTrial, ...]:
        """The trials that run; empty where none may move, or where they are too many.

        Args:
            running: All trials in the campaign's hands, each of which a worker runs.
            began: When the campaign began, Unix seconds.
            now: Unix seconds.
        """
        if not self._limits.moves or not 0 < len(running) <= MOST_LAST:
            return ()
        known, self._known = self._known, {}
        for flight in running:
            until, found = known.get(flight.token, (now, None))
            if (
                found is None
                or now >= until
                or found.block != flight.block
                or (flight.moved and found.lost is not None)
            ):
                until, found = now + LOOK_PERIOD, self._look_at(flight, began, now)
            self._known[flight.token] = until, found
        return tuple(found for _, found in self._known.values())

    def _look_at(self, flight: Flight, began: float, now: float) -> LastTrial:
        left = self._seconds_left(flight, now)
        lost = None if left is None or flight.moved or flight.yield_asked else self._lost(flight, now)
        ends = None if left is None else now + left
        if ends is not None and self._limits.time is not None:
            ends = min(ends, began + self._limits.time)
        return LastTrial(flight.token, flight.number, flight.block, ends, lost, two_digits(flight.longest_interval))

    def _seconds_left(self, flight: Flight, now: float) -> float | None:
        """Seconds until the trial probably ends; None where nothing is known."""
        assert flight.started is not None
        whole, step, reported = self._whole, flight.last_step, flight.last_report
        if whole is not None and step is not None and reported and flight.new_steps:
            seconds = whole.seconds(step, reported - flight.started, flight.earlier_step)
            if seconds is not None and whole.left(step) * seconds > now - reported:
                return whole.left(step) * seconds - (now - reported)
        if self._durations.expected is None:
            return None
        ran = flight.stage_seconds + now - flight.started
        return max(self._durations.expected - ran, LATE * ran)

    def _lost(self, flight: Flight, now: float) -> float | None:
        """Seconds of work that are lost at most if the trial goes on elsewhere; None: it would begin again."""
        assert flight.started is not None
        saved = self._services.last_saved(flight) if self._saves or flight.new_steps else None
        if saved is None:
            return two_digits(now - flight.started) if self._saves else None
        # Clocks of file servers may differ from the driver's.
        return two_digits(max(0.0, now - saved, flight.longest_interval))
