"""The trials of one campaign that are paused at rungs: who pauses, who goes on, and what becomes of the others.

Whether a trial is to pause is in the database with the report that it follows from, before the attempt hears of it.
So whenever a driver dies, the next one finds each trial either paused (or about to be) or on its way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from itertools import islice

import optuna
from optuna.study import StudyDirection

from ..fidelity import Promotions, RungSchedule
from ..record import OWNER
from ..study_changes import PAUSED, StudyWatch
from ..trial.protocol import Outcome
from .campaign_study import CampaignStudy
from .flight import Flight

log = logging.getLogger(__name__)

RETIRED_PER_STEP = 500
"""Paused trials that are told in one step that they will not go on: each costs about as much as a trial's end."""


def paused_at(trial: optuna.Trial) -> int | None:
    """Where a trial of an earlier campaign is paused; None where it is not."""
    found = trial.user_attrs.get(PAUSED)
    return found if type(found) is int else None


def goes_on(study: CampaignStudy, flight: Flight) -> None:
    """A trial that was paused is so no more, and the time that it runs from here on is counted by itself."""
    if flight.pause is None:
        return
    flight.pause, flight.stage = None, flight.ran
    flight.whole = True
    study.annotate(flight.trial, {PAUSED: None})


class PromotionController:
    """Knows the rungs by the reports of all trials of the study, whoever runs them; lets this campaign's own pause.

    Args:
        study: The campaign's.
        ladder: The rungs.

    Attributes:
        paused: By trial number.
        trouble: What the user should know of how trials pause; empty where all is well.
    """

    def __init__(self, study: CampaignStudy, rung_schedule: RungSchedule):
        self._study = study
        maximize = study.study.directions[0] == StudyDirection.MAXIMIZE
        self._rungs = Promotions(rung_schedule, study.study.study_name, maximize=maximize)
        self._watch = StudyWatch()
        self.paused: dict[int, Flight] = {}
        self._numbers: dict[int, int] = {}  # of the paused trials, by id
        self.trouble, self._noted = "", False
        self.look()

    @property
    def promotable(self) -> int:
        """How many of the paused trials may go on now."""
        return self._rungs.promotable

    def look(self) -> None:
        """Learn what other campaigns' trials reported; costs what has changed since the last look."""
        for trial in self._watch.look(self._study.study).trials:
            if trial.intermediate_values and trial.system_attrs.get(OWNER) != self._study.campaign:
                self._rungs.learn(trial.number, trial.intermediate_values)

    def adopt(self, flight: Flight) -> None:
        """A trial of a dead campaign is this one's from now on."""
        self._rungs.learn(flight.number, self._reports(flight))

    def reported(self, flight: Flight, step: int, value: float) -> None:
        """A trial of this campaign has reported: at a rung it pauses, unless it is among the best there already."""
        told = self._rungs.report(flight.number, step, value)
        if told is None and (flight.pause is None or flight.pause == self._rungs.reached(flight.number)):
            return
        flight.pause = told
        self._study.annotate(flight.trial, {PAUSED: told})

    def ended(self, flight: Flight, outcome: Outcome) -> None:
        """An attempt came back: with reports, perhaps, that nobody heard of."""
        known = self._reports(flight)
        for step, value in outcome.reports:
            if int(step) not in known:
                known[int(step)] = value
                self.reported(flight, int(step), float(value))
        if flight.pause is not None and outcome.kind == "yielded":
            self._note(flight, outcome)

    def _note(self, flight: Flight, outcome: Outcome) -> None:
        if outcome.saved:
            self.trouble = ""
        elif not self._noted:
            self._noted = True
            self.trouble = (
                f"trial {flight.number} paused at step {flight.pause} and had saved nothing into its checkpoint "
                "folder: trials that go on begin anew"
            )
            log.warning("%s", self.trouble)

    def _reports(self, flight: Flight) -> dict[int, float]:
        return self._study.storage.get_trial(flight.trial_id).intermediate_values

    def park(self, flight: Flight) -> bool:
        """Let a trial wait whose attempt has ended; False where it is not to pause."""
        if flight.pause is None or self._rungs.reached(flight.number) is None:
            return False
        flight.last_reply = None
        self.paused[flight.number] = flight
        self._numbers[flight.trial_id] = flight.number
        self._rungs.pause(flight.number)
        return True

    def next(self, now: float) -> Flight | None:
        """The paused trial that goes on next, if any; it is paused no more."""
        while (number := self._rungs.next()) is not None:
            flight = self._take(number)
            if not self._ended_elsewhere(flight):
                flight.asked = now
                return flight
        return None

    def settle(self, retire: Callable[[Flight], None]) -> bool:
        """Nothing is in flight, and nothing new will be. Returns whether nothing is paused any more either.

        First the best of each bracket goes on, where it has too few trials for the usual share; when nothing can go on
        any more, all others are told.
        """
        if not self.promotable:
            self._rungs.close()
        if self.promotable:
            return False
        for number in list(islice(self.paused, RETIRED_PER_STEP)):
            flight = self._take(number)
            if not self._ended_elsewhere(flight):
                retire(flight)
        return not self.paused

    def drop(self, gone: Iterable[int]) -> None:
        """Forget those whose ids these are: they were ended by others."""
        for number in [self._numbers[trial_id] for trial_id in gone if trial_id in self._numbers]:
            self._take(number)

    def _take(self, number: int) -> Flight:
        self._rungs.leave(number)
        flight = self.paused.pop(number)
        del self._numbers[flight.trial_id]
        return flight

    def _ended_elsewhere(self, flight: Flight) -> bool:
        return self._study.storage.get_trial(flight.trial_id).state.is_finished()
