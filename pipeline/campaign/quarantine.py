"""Whose fault a failure is, the trial's or the node's: second opinions, and nodes that get no more trials.

Where there is more than one host, a trial whose failure may be its node's fault gets one more attempt elsewhere before
it is told. It fails there too: the node is cleared. It succeeds there: three such in a row quarantine the node.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from .events import Quarantine
from .flight import Doubt, Flight

log = logging.getLogger(__name__)

IN_A_ROW = 3
"""Trials that a host may fail one after the other, none succeeding there between them, which then succeed elsewhere."""

CHANCE = 1e-4
"""Where failures come and go by chance on the other hosts too, a row is so long that chance makes it this seldom."""

ENOUGH_CONFIRMED = 3
"""Second opinions in a row that confirmed the failure; from then on only hosts whose last two trials failed get one, so
that a study with many bad configurations does not pay for each of them twice."""

LONGEST_REASON = 300
"""Characters of a failure's reason that are told of a host."""

SUSPICIOUS = frozenset({"exception", "signal", "exit", "setup", "memory", "lost"})
"""Failures that may be the node's fault; a timeout only where the host has failed the trial before it too."""


@dataclass(frozen=True)
class Quarantined:
    """A host that gets no more trials, since ``since`` (Unix seconds), and why."""

    host: str
    pool: str
    reason: str
    since: float


@dataclass
class Record:
    """What is known of a host.

    Attributes:
        good: Trials that succeeded there.
        flaky: Trials that failed there and then succeeded elsewhere.
        row: Failures there since a trial last succeeded there, or another host confirmed one of them.
        refuted: The trials that failed there since one last succeeded there, and then succeeded elsewhere.
    """

    good: int = 0
    flaky: int = 0
    row: int = 0
    refuted: list[int] = field(default_factory=list)


class Hosts:
    """Keeps the records of all hosts that ran trials, and judges.

    Args:
        judging: Whether second opinions are asked for at all. A trial on several nodes does not say which one failed.

    Attributes:
        here: Hosts with workers that take trials, as the pool sees them.
        quarantined: By host.
        spared: Why a host that deserves it is not quarantined: no other would be left; else empty.
        closing: The campaign is ending: what fails now is told as it is.
    """

    def __init__(self, judging: bool = True):
        self.judging = judging
        self.here: frozenset[str] = frozenset()
        self.quarantined: dict[str, Quarantined] = {}
        self.spared = ""
        self.closing = False
        self._records: dict[str, Record] = {}
        self._confirmed = 0  # in a row
        self._orders: list[Quarantine] = []

    def orders(self) -> list[Quarantine]:
        """What the pool is to be told since the last call."""
        orders, self._orders = self._orders, []
        return orders

    # -- where a trial goes -------------------------------------------------------------------------------------------

    def avoided(self, flight: Flight) -> frozenset[str]:
        """Hosts that are not to run the trial's next attempt; where nothing else is left, only those in quarantine."""
        gone = frozenset(self.quarantined)
        tried = {*flight.killed, *(doubt.host for doubt in flight.doubts)}
        if not tried:
            return gone
        doubtful = {host for host, record in self._records.items() if record.row}
        for avoided in (tried | doubtful, tried):
            if self._another(avoided):
                return gone | avoided
        return gone

    def _another(self, hosts: Collection[str]) -> bool:
        """Whether trials may go anywhere beside these. Stops at the first: there may be thousands."""
        return any(host not in self.quarantined and host not in hosts for host in self.here)

    # -- how an attempt ended -----------------------------------------------------------------------------------------

    def succeeded(self, flight: Flight, now: float) -> None:
        """The trial completed, or was pruned."""
        doubts, flight.doubts = flight.doubts, ()
        if not flight.host:
            return
        record = self._record(flight.host)
        record.good += 1
        record.row = 0
        record.refuted.clear()
        for doubt in doubts:
            if doubt.host != flight.host:
                self._refute(doubt, flight, now)

    def failed(self, flight: Flight, failure: str, reason: str) -> bool:
        """The attempt failed; whether the trial is to have another one elsewhere before it is told."""
        host = flight.host
        if not self.judging or not host:
            return False
        if host in self.quarantined:  # begun before; it says nothing about the trial
            return self._another(()) and not self.closing
        record, proven = self._record(host), self._proven(host)
        record.row += 1
        doubts = [doubt for doubt in flight.doubts if doubt.host not in self.quarantined]
        flight.doubts = (*doubts, Doubt(host, flight.pool, record.good, reason[:LONGEST_REASON]))
        if self._asks(doubts, host, failure, proven) and self._another({doubt.host for doubt in flight.doubts}):
            return True
        flight.doubts = ()
        if record.row >= IN_A_ROW and not self._another({host}):
            self._spare(f"{record.row} trials in a row failed on {host} as well; the last: {reason[:LONGEST_REASON]}")
        if any(doubt.host != host for doubt in doubts):
            self._confirm(doubts, record)
        return False

    def _asks(self, doubts: Sequence[Doubt], host: str, failure: str, proven: bool) -> bool:
        """Whether the failure is worth another opinion. That of a host which is in doubt itself is worth one more."""
        record = self._record(host)
        if self.closing or any(doubt.host == host for doubt in doubts):
            return False
        open_minded = self._confirmed < ENOUGH_CONFIRMED
        if doubts:
            return len(doubts) == 1 and open_minded and not proven
        if failure == "timeout":
            return record.row > 1
        return failure in SUSPICIOUS and (open_minded or record.row > 1)

    def _proven(self, host: str) -> bool:
        """The last trial there succeeded."""
        record = self._record(host)
        return record.good > 0 and not record.row

    def _record(self, host: str) -> Record:
        return self._records.setdefault(host, Record())

    def _confirm(self, doubts: Sequence[Doubt], last: Record) -> None:
        """Nothing speaks against the hosts any more; nor this failure against the ``last`` one, where it failed now."""
        self._confirmed += 1
        last.row = max(0, last.row - 1)
        for doubt in doubts:
            self._record(doubt.host).row = 0

    def _refute(self, doubt: Doubt, flight: Flight, now: float) -> None:
        self._confirmed = 0
        record = self._record(doubt.host)
        record.flaky += 1
        log.info("trial %d failed on %s (%s) and succeeded on %s", flight.number, doubt.host, doubt.reason, flight.host)
        if doubt.good != record.good:  # a trial has succeeded there since
            return
        record.refuted.append(flight.number)
        if doubt.host not in self.quarantined and len(record.refuted) >= self._row(doubt.host):
            self._quarantine(doubt, record, now)

    # -- quarantine ---------------------------------------------------------------------------------------------------

    def _row(self, host: str) -> float:
        """How many in a row it takes for ``host``. Half of the other hosts may be bad: their lower median counts."""
        others = [record for name, record in self._records.items() if name != host and name not in self.quarantined]
        rates = sorted(record.flaky / (record.flaky + record.good) for record in others if record.flaky + record.good)
        return row_by_chance(rates[(len(rates) - 1) // 2] if rates else 0.0)

    def _quarantine(self, doubt: Doubt, record: Record, now: float) -> None:
        host, trials = doubt.host, _listed(record.refuted)
        why = f"trials {trials} failed there in a row and succeeded elsewhere; the last: {doubt.reason}"
        if not (self.here | self._records.keys()) - self.quarantined.keys() - {host}:
            self._spare(f"{host}: {why}")
            return
        log.warning("host %s is quarantined: %s", host, why)
        self.quarantined[host] = Quarantined(host, doubt.pool, why, now)
        self._orders.append(Quarantine(host, why))

    def _spare(self, why: str) -> None:
        """The last host that is left is not quarantined: if trials fail everywhere, it is not the hosts."""
        if self.quarantined and not self.spared:
            self.spared = f"no other host is left, so the last one is not quarantined: is it the study? {why}"
            log.warning("%s", self.spared)


def row_by_chance(rate: float) -> float:
    """Failures in a row that make a host suspect, where ``rate`` is the share of trials that fail by chance: at least
    IN_A_ROW, and so many that ``rate`` to that power is at most CHANCE."""
    if rate <= 0.0:
        return IN_A_ROW
    return max(IN_A_ROW, math.ceil(math.log(CHANCE) / math.log(rate))) if rate < 1.0 else math.inf


def _listed(numbers: Iterable[int]) -> str:
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}" if first else last
