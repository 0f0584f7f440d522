"""Feeds a campaign from a pool and commits between its steps: a tick is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ...errors import RecordAway, RecordLost, RecordStuck
from ..campaign.campaign import Campaign
from ..campaign.events import Asked, Ended, Event, Finish, Lost
from ..campaign.flight import Flight
from ..campaign.outcomes import SITE, STOPPED
from ..campaign.pool import Pool
from ..record import CommitResult, Orphan, RecordStorage
from ..trial.protocol import Outcome
from .event_queue import EventQueue

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds between tries to reach a database that is away: doubled from the first to the longest."""

STUCK, STUCK_PAUSE = 120.0, 5.0
"""Seconds that a database which takes no writes (no room, no right to) is given to be mended, and the longest pause
between two tries: then the campaign ends, so that its blocks do not burn for nothing."""

COLLECTED = "what workers wrote to the run directory is collected on resume"


@dataclass
class CampaignLoop:
    """Runs ``campaign`` on ``pool`` until it has finished.

    Attributes:
        user: What the user asked for since the last call (signals, the control file).
        renew: Stages this campaign's lease; called once in ``lease_period`` seconds.
        orphans: Takes over what dead drivers left since the last call: trials, and the outcomes found on disk; called
            once in ``orphan_period`` seconds.
        written: What the worker of an attempt wrote at its end, if it did. A worker may be lost after that, before its
            outcome has travelled.
        tell: Called after every tick, with a message when something is wrong.
        save: Writes the study elsewhere from memory, where its database is beyond repair; the end of a sentence on it.
        make_room: Gives the database the room that was kept for its last commits; whether there was any.
        limit: Trials in the study's budget; the record refuses what goes beyond, whoever asks.
        sync_period: Seconds between looks at what others did to the study, while anything happens here.
        still_period: The same while nothing does: on a database server each look costs several queries.
        quiet: Longest wait for an event, seconds; signals and messages end it.
    """

    campaign: Campaign
    pool: Pool
    storage: RecordStorage
    user: Callable[[], Sequence[Asked]] = tuple
    renew: Callable[[], None] = lambda: None
    orphans: Callable[[], tuple[Sequence[Orphan], Sequence[Outcome]]] = lambda: ((), ())
    written: Callable[[Flight], Outcome | None] = lambda flight: None
    tell: Callable[[str], None] = lambda message: None
    make_room: Callable[[], bool] = lambda: False
    save: Callable[[], str] = lambda: ""
    limit: int | None = None
    lease_period: float = 15.0
    orphan_period: float = 60.0
    sync_period: float = 1.0
    still_period: float = 10.0
    quiet: float = 1.0
    _looked: float = field(default=-1e18, init=False)
    _renewed: float = field(default=-1e18, init=False)
    _synced: float = field(default=-1e18, init=False)
    _inbox: EventQueue = field(default_factory=EventQueue, init=False)
    _heard: list[Asked] = field(default_factory=list, init=False)  # while the database was away
    _emptied: bool = field(default=False, init=False)  # the room that was kept is in use, and the campaign ends

    def __post_init__(self) -> None:
        self.campaign.written = self.written

    def run(self) -> Finish:
        """Tick until the end. Raises what the pool or the record raise beyond repair."""
        while self.campaign.finished is None:
            self.turn()
        return self.campaign.finished

    def turn(self) -> None:
        """Wait for something to happen, and handle what is ready."""
        timeout = 0.0 if self.campaign.hungry or self._inbox else self.quiet
        heard, self._heard = self._heard, []
        self._inbox.put([*self._inherit(), *self.pool.wait(timeout), *heard, *self.user()])
        self.tick(self._inbox.take())

    def _inherit(self) -> list[Event]:
        """What became of the trials of dead drivers: an outcome on disk, or nothing."""
        now = self.pool.now()
        period = self.lease_period if self.campaign.in_doubt else self.orphan_period
        if now - self._looked < period or self.campaign.ending:
            return []
        self._looked = now
        try:
            orphans, found = self.orphans()
        except RecordAway:
            self.campaign.in_doubt = True
            return []
        self.campaign.in_doubt = False
        outcomes = {outcome.token: outcome for outcome in found}
        tokens = [self.campaign.adopt(orphan) for orphan in orphans]
        return [Ended(outcomes[token]) if token in outcomes else Lost(token, "its driver died") for token in tokens]

    def tick(self, events: Sequence[Event]) -> None:
        now = self.pool.now()
        self._sync(now, self.sync_period if events or self.campaign.hungry else self.still_period)
        self.campaign.step(now, [self._as_written(event) for event in events])
        self._renew(now)
        result = self._commit()
        if result is None:
            return
        self.pool.perform(self.campaign.release(result.refused, result.overtaken))
        self.tell("")

    def _as_written(self, event: Event) -> Event:
        """The end of an attempt instead of its loss, where its worker was lost after it."""
        flight = self.campaign.flights.get(event.token) if isinstance(event, Lost) else None
        outcome = None if flight is None else self.written(flight)
        return event if outcome is None else Ended(outcome)

    def _renew(self, now: float) -> None:
        """A database that is away is asked again at the next tick; the lease outlasts many of them."""
        if now - self._renewed < self.lease_period:
            return
        try:
            self.renew()
            self._renewed = now
        except RecordAway:
            pass

    def _sync(self, now: float, period: float) -> None:
        """See what other drivers and plain Optuna did. A database that is away is waited for at the commit."""
        if now - self._synced < period:
            return
        self._synced = now
        try:
            if self.storage.sync():
                self.campaign.study.recount()
        except RecordLost as error:
            self._end_without(error)
        except RecordAway:
            pass

    def _commit(self) -> CommitResult | None:
        """Commit what the step staged, waiting for a database that is away as long as it takes.

        None: the campaign has finished without it, since the user would not wait, or it is to be mended first.
        """
        pause, began = FIRST_PAUSE, self.pool.now()
        stuck: float | None = None  # since when somebody has to mend it
        while True:
            try:
                return self.storage.commit(self.limit)
            except RecordAway as error:
                trouble, now = error, self.pool.now()
            stuck = (stuck if stuck is not None else now) if isinstance(trouble, RecordStuck) else None
            patience = STUCK_PAUSE if self._emptied else STUCK
            if isinstance(trouble, RecordLost) or (stuck is not None and now - stuck >= patience):
                return self._end_without(trouble)
            if stuck is None:
                self.tell(f"the database is away since {now - began:.0f} s, waiting ({trouble})")
                longest = LONGEST_PAUSE
            else:
                self.tell(f"{trouble}; tried again for {patience - (now - stuck):.0f} s, results are kept meanwhile")
                longest = STUCK_PAUSE
            if self._given_up(min(pause, longest)):
                return None
            pause = min(2 * pause, LONGEST_PAUSE)

    def _end_without(self, trouble: RecordAway) -> CommitResult | None:
        """Nobody has mended the database: running trials yield while the room that was kept for it lasts."""
        reason = f"{trouble}; mend it, then pilotune resume goes on"
        if isinstance(trouble, RecordLost):
            self.campaign.finished = Finish(SITE, f"{trouble}{self.save()}")
            return None
        if self.make_room():
            self._emptied = True
            try:
                result = self.storage.commit(self.limit)
            except RecordAway:
                pass
            else:
                self._heard.append(Asked("yield", reason, SITE))
                return result
        self.campaign.finished = Finish(SITE, f"{reason}: {COLLECTED}")
        return None

    def _given_up(self, pause: float) -> bool:
        """Wait for ``pause`` seconds; whether the user said `now` meanwhile."""
        end = self.pool.now() + pause
        while self.pool.now() < end:
            self.pool.pause(min(0.2, max(0.0, end - self.pool.now())))
            self._heard += self.user()
            if any(asked.how == "now" for asked in self._heard):
                self.campaign.finished = Finish(STOPPED, f"stopped while the database was away; {COLLECTED}")
                return True
        return False
