"""All trials in a campaign's hands, and the moves between the places where they are kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from .campaign_study import CampaignStudy
from .flight import Flight, token_of
from .flight_states import Move, State, require
from .flight_table import BackoffQueue, FlightTable
from .promotion import PromotionController, goes_on


class HeldTrials:
    """The trials that a campaign is responsible for. Each is kept in exactly one of four places.

    Args:
        study: The campaign's study; attempts are staged in it.
        campaign_id: The campaign's id, part of every token.
        promotion: Keeps the paused trials; None where no trial pauses.

    Attributes:
        prepared: Flights that were launched in this step; submitted at the next release.
        flights: The attempts that the pool has, by token.
        backoff: Trials that came back with nothing done too often to be submitted again at once.
        promotion: The trials that are paused at rungs, and which of them go on.
    """

    def __init__(self, study: CampaignStudy, campaign_id: str, promotion: PromotionController | None):
        self._study, self._campaign_id = study, campaign_id
        self.prepared: list[Flight] = []
        self.flights, self.backoff = FlightTable(), BackoffQueue()
        self.promotion = promotion

    @property
    def in_flight(self) -> int:
        """Number of trials in hand that are not paused."""
        return len(self.flights) + len(self.prepared) + len(self.backoff)

    @property
    def to_submit(self) -> Collection[Flight]:
        """The trials that are to be submitted, at once or later."""
        return [*self.prepared, *self.backoff]

    @property
    def ids(self) -> set[int]:
        """Database ids of all trials in hand."""
        return {flight.trial_id for home in self._homes() for flight in home}

    def _homes(self) -> tuple[Iterable[Flight], ...]:
        paused = self.promotion.paused.values() if self.promotion else ()
        return self.flights.values(), self.prepared, self.backoff, paused

    def launch(self, flight: Flight, avoid: frozenset[str]) -> None:
        """Prepare the trial's next attempt, which hosts in ``avoid`` must not run."""
        goes_on(self._study, flight)
        flight.prepare()
        flight.avoid = avoid
        self._study.fence(flight.trial, flight.attempt, flight.runs)
        self.prepared.append(flight)

    def submit(self, gone: Collection[int]) -> list[Flight]:
        """Move what was prepared among the attempts in flight, now that it is committed; returns it.

        ``gone``: ids of trials that are not this campaign's any more, see :meth:`drop`.
        """
        prepared, self.prepared = self.prepared, []
        submitted = []
        for flight in prepared:
            if flight.trial_id in gone:
                flight.move(Move.LEAVE)
                continue
            flight.number = self._study.storage.get_trial_number_from_id(flight.trial_id)
            flight.token = token_of(flight.number, flight.attempt, self._campaign_id)
            self.flights.add(flight)
            submitted.append(flight)
        return submitted

    def drop(self, gone: Collection[int]) -> list[str]:
        """Let go of the trials with these ids, which other processes ended; returns the tokens of their attempts."""
        if self.promotion:
            self.promotion.drop(gone)
        tokens = [flight.token for flight in map(self.flights.of_trial, sorted(gone)) if flight]
        for token in tokens:
            self.flights.pop(token, Move.LEAVE)
        return tokens

    def leave(self, tokens: Iterable[str]) -> None:
        """Leave these attempts to a later campaign; whatever still arrives from them is fenced."""
        for token in tokens:
            flight = self.flights.pop(token, Move.LEAVE)
            if flight is not None and flight.started is None:
                self._study.note_not_begun(flight.trial, flight.attempt)

    def leave_unsubmitted(self) -> None:
        """Leave the trials that are still to be submitted to a later campaign."""
        for flight in self.prepared:
            # As if this attempt had never been. One that was declined is on record already, which never goes back.
            if not flight.declines:
                flight.attempt -= 1
                self._study.fence(flight.trial, flight.attempt)
            flight.move(Move.LEAVE)
        self.prepared.clear()
        self.backoff.clear()

    def validate(self) -> None:
        """Check all flights and the places where they are kept. Raises BrokenInvariant with a sentence."""
        for place in (self.flights, self.backoff, self.promotion):
            if place is not None:
                place.validate()
        for flight in self.prepared:
            require(flight.state is State.PREPARED, f"trial {flight.number} ({flight.state.name}) is to be submitted")
            flight.validate()
        ids = [flight.trial_id for home in self._homes() for flight in home]
        twice = sorted({trial_id for trial_id in ids if ids.count(trial_id) > 1}) if len(set(ids)) < len(ids) else []
        require(not twice, f"the campaign has these trials (by id) in two places: {twice}")
