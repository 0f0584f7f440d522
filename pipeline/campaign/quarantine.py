"""Decides whether a failure is the trial's or its host's fault, and quarantines hosts that fail trials.

Where there is more than one host, a trial whose failure may be its host's fault gets a *second opinion*: one more
attempt on another host before it is counted as failed. If it fails there too, the failure is confirmed and its first
host is cleared. If it succeeds there, the failure is refuted, and three refuted failures in a row put the first host
into quarantine: it gets no more trials until the campaign ends.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from ...grammar import count
from .events import Quarantine
from .flight import Doubt, Flight

log = logging.getLogger(__name__)

IN_A_ROW = 3
"""Refuted failures in a row, with no success on the host between them, that put a host into quarantine."""

CHANCE = 1e-4
"""Where trials fail by chance on the other hosts too, the row must be so long that chance alone would cause it with a
probability below this."""

ENOUGH_CONFIRMED = 3
"""After this many confirmed failures in a row, only hosts whose last two trials failed get a second opinion, so that a
study with many bad configurations does not run each of them twice."""

LONGEST_REASON = 300
"""Most characters of a failure's reason in what is said about a host."""

SUSPICIOUS = frozenset({"exception", "signal", "exit", "setup", "memory", "lost"})
"""Failures that may be the host's fault. A timeout may be too, but only where the host failed its previous trial."""


@dataclass(frozen=True)
class Quarantined:
    """A host in quarantine.

    Attributes:
        host: Its name.
        pool: Its pool.
        reason: Why, as a sentence.
        since: When it was quarantined, Unix seconds.
    """

    host: str
    pool: str
    reason: str
    since: float


@dataclass
class HostRecord:
    """What is known of a host.

    Attributes:
        good: Number of trials that succeeded there.
        flaky: Number of trials that failed there and then succeeded elsewhere.
        row: Failures since the last success there, or since another host confirmed one of them.
        refuted: Numbers of the trials that failed there since the last success, and then succeeded elsewhere.
    """

    good: int = 0
    flaky: int = 0
    row: int = 0
    refuted: list[int] = field(default_factory=list)


class Hosts:
    """Judges the hosts by the trials that succeeded and failed on them.

    Args:
        judging: Whether to ask for second opinions. Off for trials on several nodes, since such a failure does not say
            which of the nodes is to blame.

    Attributes:
        available: Hosts whose workers accept trials, as the pool sees them.
        quarantined: The hosts in quarantine, by name.
        spared: Why a host is not quarantined although it fails trials: it is the last one. Empty otherwise.
        closing: The campaign is ending, so no second opinions are asked for.
    """

    def __init__(self, judging: bool = True):
        self.judging = judging
        self.available: frozenset[str] = frozenset()
        self.quarantined: dict[str, Quarantined] = {}
        self.spared = ""
        self.closing = False
        self._records: dict[str, HostRecord] = {}
        self._confirmed = 0  # in a row
        self._new: list[Quarantine] = []

    def new_quarantines(self) -> list[Quarantine]:
        """The quarantines since the last call, as actions for the pool."""
        new, self._new = self._new, []
        return new

    # -- where a trial goes -------------------------------------------------------------------------------------------

    def avoided(self, flight: Flight) -> frozenset[str]:
        """Hosts that must not run the trial's next attempt.

        Those where it failed, and others with recent failures; where no host would be left, only those in quarantine.
        """
        quarantined = frozenset(self.quarantined)
        tried = {*flight.killed, *(doubt.host for doubt in flight.doubts)}
        if not tried:
            return quarantined
        doubtful = {host for host, record in self._records.items() if record.row}
        for avoided in (tried | doubtful, tried):
            if self._another(avoided):
                return quarantined | avoided
        return quarantined

    def _another(self, hosts: Collection[str]) -> bool:
        """Whether there is another host for trials. Stops at the first one, since there may be thousands of hosts."""
        return any(host not in self.quarantined and host not in hosts for host in self.available)

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
        """The attempt failed on ``flight.host``. Returns whether the trial should get a second opinion on another host.

        Args:
            flight: The trial; its doubts are updated.
            failure: A :data:`~pilotune.pipeline.trial.protocol.FailureKind`.
            reason: One sentence.
        """
        host = flight.host
        if not self.judging or not host:
            return False
        if host in self.quarantined:  # the attempt began before; its failure says nothing about the trial
            return self._another(()) and not self.closing
        record, proven = self._record(host), self._proven(host)
        record.row += 1
        doubts = [doubt for doubt in flight.doubts if doubt.host not in self.quarantined]
        flight.doubts = (*doubts, Doubt(host, flight.pool, record.good, reason[:LONGEST_REASON]))
        if self._worth_another(doubts, host, failure, proven) and self._another(
            {doubt.host for doubt in flight.doubts}
        ):
            return True
        flight.doubts = ()
        if record.row >= IN_A_ROW and not self._another({host}):
            self._spare(
                f"{count(record.row, 'trial')} in a row failed on {host} as well; the last: {reason[:LONGEST_REASON]}"
            )
        if any(doubt.host != host for doubt in doubts):
            self._confirm(doubts, record)
        return False

    def _worth_another(self, doubts: Sequence[Doubt], host: str, failure: str, proven: bool) -> bool:
        """Whether the failure deserves another opinion: the first, or one more where the second host is in doubt."""
        record = self._record(host)
        if self.closing or any(doubt.host == host for doubt in doubts):
            return False
        undecided = self._confirmed < ENOUGH_CONFIRMED
        if doubts:
            return len(doubts) == 1 and undecided and not proven
        if failure == "timeout":
            return record.row > 1
        return failure in SUSPICIOUS and (undecided or record.row > 1)

    def _proven(self, host: str) -> bool:
        """Whether the host's last trial succeeded."""
        record = self._record(host)
        return record.good > 0 and not record.row

    def _record(self, host: str) -> HostRecord:
        return self._records.setdefault(host, HostRecord())

    def _confirm(self, doubts: Sequence[Doubt], last: HostRecord) -> None:
        """The failure was confirmed: it does not count against the hosts in ``doubts``, nor the ``last`` one."""
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
        """Refuted failures in a row that it takes to quarantine ``host``.

        It follows from the lower median of the other hosts' failure rates, which is right even if half of them are bad.
        """
        others = [record for name, record in self._records.items() if name != host and name not in self.quarantined]
        rates = sorted(record.flaky / (record.flaky + record.good) for record in others if record.flaky + record.good)
        return row_by_chance(rates[(len(rates) - 1) // 2] if rates else 0.0)

    def _quarantine(self, doubt: Doubt, record: HostRecord, now: float) -> None:
        host, trials = doubt.host, _listed(record.refuted)
        why = f"trials {trials} failed there in a row and succeeded elsewhere; the last: {doubt.reason}"
        if not (self.available | self._records.keys()) - self.quarantined.keys() - {host}:
            self._spare(f"{host}: {why}")
            return
        log.warning("host %s is quarantined: %s", host, why)
        self.quarantined[host] = Quarantined(host, doubt.pool, why, now)
        self._new.append(Quarantine(host, why))

    def _spare(self, why: str) -> None:
        """Do not quarantine the last host: where trials fail everywhere, the hosts are hardly to blame."""
        if self.quarantined and not self.spared:
            self.spared = f"the last host is not quarantined, since no other is left; the study may be to blame: {why}"
            log.warning("%s", self.spared)


def row_by_chance(rate: float) -> float:
    """Refuted failures in a row that put a host into quarantine.

    Args:
        rate: Share of trials that fail by chance on the other hosts, from 0 to 1.

    Returns:
        The smallest number, but at least IN_A_ROW, for which ``rate`` to its power is at most CHANCE.

    >>> row_by_chance(0.0), row_by_chance(0.1)
    (3, 4)
    """
    if rate <= 0.0:
        return IN_A_ROW
    return max(IN_A_ROW, math.ceil(math.log(CHANCE) / math.log(rate))) if rate < 1.0 else math.inf


def _listed(numbers: Iterable[int]) -> str:
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}" if first else last
