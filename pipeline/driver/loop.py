"""The driver's loop: feeds a campaign from a pool, and commits after each step, so that a tick is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from ...errors import RecordAway, RecordLost, RecordStuck
from ...exit_codes import SITE, STOPPED
from ..campaign.campaign import Campaign
from ..campaign.events import Ended, Event, Finish, Lost, StopRequested
from ..campaign.pool import Pool
from ..one_thread import one_thread
from ..record import CommitResult, RecordStorage
from .event_queue import EventQueue
from .hours import reserve
from .services import DriverServices

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds between attempts to reach a database that is unreachable: doubled from the first to the longest."""

STUCK, STUCK_PAUSE = 120.0, 5.0
"""Seconds that a database which accepts no writes (disk full, no permission) is given to recover, and the longest pause
between two attempts. After that the campaign ends, so that its blocks do not run for nothing."""

COLLECTED = "pilotune resume collects what workers wrote to the run directory"


@dataclass
class CampaignLoop:
    """Runs ``campaign`` on ``pool`` until it has finished::

        finish = CampaignLoop(campaign, pool, storage, services, limit=100).run()

    A tick drains the ready events, lets the campaign handle them, commits, and only then carries out the actions. While
    the database is unreachable the loop waits in the middle of a tick, and the workers go on with what they have.

    Attributes:
        campaign: The campaign.
        pool: Its workers.
        storage: The record that the campaign stages its changes in.
        services: The process around it.
        limit: Trials in the study's budget; the record refuses what goes beyond, whoever asks. None means no limit.
        lease_period: Seconds between two renewals of this campaign's lease.
        orphan_period: Seconds between two looks for trials of dead drivers.
        sync_period: Seconds between two looks at what other processes did to the study, while anything happens here.
        still_period: The same while nothing happens: on a database server each look costs several queries.
        longest_wait: Longest wait for an event, seconds; signals and messages end it.
        changed_by_others: Called when other processes have changed the study.
        watched: Each step of the campaign runs inside such a context, see :class:`~.step_watch.StepWatch`.
    """

    campaign: Campaign
    pool: Pool
    storage: RecordStorage
    services: DriverServices
    limit: int | None = None
    lease_period: float = 15.0
    orphan_period: float = 60.0
    sync_period: float = 1.0
    still_period: float = 10.0
    longest_wait: float = 1.0
    watched: Callable[[], AbstractContextManager[None]] = nullcontext
    changed_by_others: Callable[[], object] = lambda: None
    _last_adoption: float = field(default=-1e18, init=False)
    _renewed: float = field(default=-1e18, init=False)
    _synced: float = field(default=-1e18, init=False)
    _reserved: float = field(default=-1e18, init=False)
    _queue: EventQueue = field(default_factory=EventQueue, init=False)
    _stop_requests: list[StopRequested] = field(default_factory=list, init=False)  # while the database was unreachable
    _reserve_used: bool = field(default=False, init=False)  # the campaign ends on the reserved disk space

    def run(self) -> Finish:
        """Tick until the end. Raises what the pool or the record raise and cannot recover from."""
        while self.campaign.finished is None:
            self.turn()
        return self.campaign.finished

    def begin(self) -> None:
        """Take the first tick, before the pool has started: a study with nothing left to do ends without a job."""
        self._queue.put([*self._adopt(), *self.services.stop_requests()])
        self.tick(self._queue.pop())

    def turn(self) -> None:
        """Wait for something to happen, and handle what is ready in one tick."""
        timeout = 0.0 if self.campaign.more_to_ask or self._queue else self.longest_wait
        earlier, self._stop_requests = self._stop_requests, []
        self._queue.put([*self._adopt(), *self.pool.wait(timeout), *earlier, *self.services.stop_requests()])
        self.tick(self._queue.pop())

    def _adopt(self) -> list[Event]:
        """Take over the trials of dead drivers, and return what became of their attempts."""
        now = self.pool.now()
        period = self.lease_period if self.campaign.adoption_in_doubt else self.orphan_period
        if now - self._last_adoption < period or self.campaign.ending:
            return []
        self._last_adoption = now
        try:
            orphans, found = self.services.take_over_orphans()
        except RecordAway:
            self.campaign.adoption_in_doubt = True
            return []
        self.campaign.adoption_in_doubt = False
        outcomes = {outcome.token: outcome for outcome in found}
        begun = {self.campaign.adopt(orphan): orphan.begun for orphan in orphans}
        return [
            Ended(outcomes[token]) if token in outcomes else Lost(token, "its driver died", begun=begun[token])
            for token in begun
        ]

    def tick(self, events: Sequence[Event]) -> None:
        """Handle these events, commit, and carry out the actions that follow."""
        now = self.pool.now()
        self._sync(now, self.sync_period if events or self.campaign.more_to_ask else self.still_period)
        written = [self._as_written(event) for event in events]
        with self.watched(), one_thread():
            self.campaign.step(now, written)
        self._renew(now)
        self._reserve(now)
        result = self._commit()
        if result is None:
            return
        self.pool.perform(self.campaign.release(result.refused, result.overtaken))
        if news := self.campaign.study.pop_news():
            self.services.on_reports(news)
        if ended := self.campaign.study.pop_ended(result.overtaken):
            self.services.on_ended(ended)
        self.services.report_status("")

    def _as_written(self, event: Event) -> Event:
        """The end of an attempt instead of its loss, where its worker died only after it had written the outcome."""
        flight = self.campaign.flights.get(event.token) if isinstance(event, Lost) else None
        outcome = None if flight is None else self.services.written_outcome(flight)
        return event if outcome is None else Ended(outcome)

    def _renew(self, now: float) -> None:
        """Renew the lease when it is time. An unreachable database is tried again next tick; the lease lasts longer."""
        if now - self._renewed < self.lease_period:
            return
        try:
            self.services.renew_lease()
            self._renewed = now
        except RecordAway:
            pass

    def _reserve(self, now: float) -> None:
        """Reserve the node-hours of blocks that the pool wants to submit; without them it does not submit any."""
        hours = self.campaign.hours
        if self.campaign.ending or not hours.wanted or not (hours.stale or now - self._reserved >= self.lease_period):
            return
        try:
            reserve(self.storage, self.campaign.study.study, self.campaign.campaign_id, hours, now, self.limit)
            self._reserved = now
        except RecordAway:  # the commit waits for the database
            pass

    def _sync(self, now: float, period: float) -> None:
        """See what other drivers and plain Optuna did. For an unreachable database the commit will wait."""
        if now - self._synced < period:
            return
        self._synced = now
        try:
            if self.storage.sync():
                self.campaign.study.recount()
                self.changed_by_others()
        except RecordLost as error:
            self._give_up_database(error)
        except RecordAway:
            pass

    def _commit(self) -> CommitResult | None:
        """Commit what the step staged, and wait for an unreachable database as long as it takes.

        None: nothing was committed, and the campaign has finished, or ends at the next tick.
        """
        pause, began = FIRST_PAUSE, self.pool.now()
        stuck: float | None = None  # since when it accepts no writes
        while True:
            try:
                return self.storage.commit(self.limit)
            except RecordAway as error:
                trouble, now = error, self.pool.now()
            stuck = (stuck if stuck is not None else now) if isinstance(trouble, RecordStuck) else None
            patience = STUCK_PAUSE if self._reserve_used else STUCK
            if isinstance(trouble, RecordLost) or (stuck is not None and now - stuck >= patience):
                return self._give_up_database(trouble)
            if stuck is None:
                self.services.report_status(f"database unreachable for {now - began:.0f} s; retrying ({trouble})")
                longest = LONGEST_PAUSE
            else:
                left = patience - (now - stuck)
                self.services.report_status(f"{trouble}; retrying for {left:.0f} s, results are kept meanwhile")
                longest = STUCK_PAUSE
            if self._stopped_during(min(pause, longest)):
                return None
            pause = min(2 * pause, LONGEST_PAUSE)

    def _give_up_database(self, trouble: RecordAway) -> CommitResult | None:
        """End the campaign, since the database did not recover; running trials yield while reserved space lasts."""
        reason = f"{trouble}; fix this, then run pilotune resume"
        if isinstance(trouble, RecordLost):
            self.campaign.finished = Finish(SITE, f"{trouble}{self.services.save_study()}")
            return None
        if self.services.free_reserve():
            self._reserve_used = True
            try:
                result = self.storage.commit(self.limit)
            except RecordAway:
                pass
            else:
                self._stop_requests.append(StopRequested("yield", reason, SITE))
                return result
        self.campaign.finished = Finish(SITE, f"{reason}; {COLLECTED}")
        return None

    def _stopped_during(self, pause: float) -> bool:
        """Wait for ``pause`` seconds; returns whether the user said `now` meanwhile, which ends the campaign."""
        end = self.pool.now() + pause
        while self.pool.now() < end:
            self.pool.pause(min(0.2, max(0.0, end - self.pool.now())))
            self._stop_requests += self.services.stop_requests()
            if any(request.how == "now" for request in self._stop_requests):
                self.campaign.finished = Finish(STOPPED, f"stopped while the database was unreachable; {COLLECTED}")
                return True
        return False
