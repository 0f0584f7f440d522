"""Ends the running attempts of a campaign that ends, within a bounded time.

Each attempt is asked to yield. An objective can yield only when it reports or asks, so an attempt gets until its next
report is due, and then the time that saving a checkpoint may take. After that it is stopped: SIGTERM, and SIGKILL after
the grace. An objective inside the worker's own process (``isolate: false``) cannot be stopped so; if its end has not
arrived a little later, the campaign lets go of it, and the worker is ended with its block. The trial stays in the
database as it is, and a later campaign runs it again.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Collection, Mapping

from ...grammar import count
from ..trial.protocol import StopHow
from .events import StopAttempt
from .flight import Flight
from .flight_states import require
from .limits import CampaignLimits

LONGEST_INTERVAL = 600.0
"""Most seconds that an attempt is given for its next report, however rarely it has reported so far."""

ARRIVAL = 5.0
"""Seconds, besides the grace, until the outcome of a stopped attempt has arrived."""


class Stopping:
    """Asks attempts to yield, and keeps the time that each of them has left.

    Args:
        limits: ``yield_wait`` and ``grace``.
        study: The study's name, for the commands that users are told.

    Attributes:
        put_aside: Numbers of the trials whose attempts were stopped, and which have not ended.
    """

    def __init__(self, limits: CampaignLimits, study: str) -> None:
        self._limits, self._study = limits, study
        self.put_aside: set[int] = set()
        self._deadlines: list[tuple[float, int, Flight, str]] = []  # a heap: when, a serial number, whose, its token
        self._serial = itertools.count()

    def ask(self, flight: Flight, now: float) -> StopAttempt:
        """Ask an attempt to yield; the time that it has for it begins."""
        flight.yield_asked = True
        reported = now if flight.last_report is None else flight.last_report
        due = reported + min(flight.longest_interval, LONGEST_INTERVAL)
        flight.yield_by = max(now, due) + self._limits.yield_wait
        self._await(flight, flight.yield_by)
        return StopAttempt(flight.token, "yield")

    def _await(self, flight: Flight, until: float) -> None:
        heapq.heappush(self._deadlines, (until, next(self._serial), flight, flight.token))

    def overdue(self, running: Mapping[str, Flight], now: float) -> tuple[list[StopAttempt], list[str]]:
        """What to do about attempts that did not yield in time. It looks only at those whose time is up.

        Args:
            running: The attempts that workers have begun, by token.
            now: Unix seconds.

        Returns:
            Those that are to be stopped now, and the tokens of those that the campaign lets go of.
        """
        how: StopHow = "kill"
        stops, left = [], []
        while self._deadlines and self._deadlines[0][0] <= now:
            until, _, flight, token = heapq.heappop(self._deadlines)
            if running.get(token) is not flight:
                continue  # it has ended
            if flight.leave_by == until:
                left.append(token)
            elif flight.leave_by is None and flight.yield_by == until:
                flight.leave_by = now + self._limits.grace + ARRIVAL
                self._await(flight, flight.leave_by)
                self.put_aside.add(flight.number)
                stops.append(StopAttempt(token, how))
        return stops, left

    def ended(self, flight: Flight) -> None:
        """The trial has ended after all."""
        self.put_aside.discard(flight.number)

    # -- for the user -------------------------------------------------------------------------------------------------

    def sentence(self, running: Collection[Flight], *, handed_out: bool) -> str:
        """What the campaign does about its attempts while it ends; the same until that changes. Empty without any.

        Args:
            running: The attempts that workers have begun.
            handed_out: Workers have further attempts that they have not begun.
        """
        stopped = sorted(flight.number for flight in running if flight.leave_by is not None)
        asked = [flight.yield_by for flight in running if flight.yield_by is not None and flight.leave_by is None]
        parts = []
        if asked:
            until = time.strftime("%H:%M:%S", time.localtime(max(asked)))
            parts.append(
                f"running trials were asked to save a checkpoint and end; those that have not by {until} are stopped "
                f"and wait for pilotune resume (Ctrl-C, or pilotune stop {self._study} --now, stops them at once)"
            )
        if stopped:
            which = "trial" if len(stopped) == 1 else "trials"
            numbers = ", ".join(map(str, stopped[:5])) + (", ..." if len(stopped) > 5 else "")
            it = "it" if len(stopped) == 1 else "them"
            parts.append(f"stopping {which} {numbers}, which did not end when asked; pilotune resume runs {it} again")
        if not parts and (running or handed_out):
            what = "running trials finish" if running else "no trial is running"
            more = ", and trials that workers have already received still begin" if handed_out else ""
            parts.append(
                f"{what}{more}; press Ctrl-C, or run pilotune stop {self._study} --yield, and running trials save a "
                "checkpoint and end now, for pilotune resume"
            )
        return "; ".join(parts)

    def put_aside_text(self) -> str:
        """The end of the campaign's last sentence: what was put aside. Empty where nothing was."""
        amount = len(self.put_aside)
        if not amount:
            return ""
        was, it = ("was", "it") if amount == 1 else ("were", "them")
        return f"; {count(amount, 'trial')} did not end when asked and {was} stopped: pilotune resume runs {it} again"

    def validate(self, running: Collection[Flight], now: float) -> None:
        """Check that no attempt outlives its time. Raises BrokenInvariant with a sentence."""
        for flight in running:
            name = f"trial {flight.number}"
            if flight.leave_by is not None:
                require(now < flight.leave_by, f"{name} was stopped, and is kept {now - flight.leave_by} s too long")
            elif flight.yield_by is not None:
                require(now <= flight.yield_by, f"{name} was to yield {now - flight.yield_by} s ago, and runs on")
