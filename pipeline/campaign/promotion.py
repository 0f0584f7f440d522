"""Trials that pause at rungs: who pauses, who goes on, and what becomes of the others.

That a trial is to pause is committed with the report that it follows from, before the attempt is told so. Whenever a
driver dies, the next one therefore finds each trial either paused (or about to be), or on its way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from itertools import islice

import optuna
from optuna.trial import FrozenTrial

from ..attributes import OWNER, PAUSED
from ..fidelity import Origin, Population, Promotions
from ..study_changes import StudyWatch
from ..trial.protocol import Outcome
from .campaign_study import CampaignStudy
from .flight import Flight
from .flight_states import Move, State, require

log = logging.getLogger(__name__)

RETIRED_PER_STEP = 500
"""Most paused trials that one step ends, since each costs about as much as a trial's end."""


def paused_at(trial: optuna.Trial) -> int | None:
    """The step at which a trial of an earlier campaign is paused; None where it is not."""
    found = trial.user_attrs.get(PAUSED)
    return found if type(found) is int else None


def goes_on(study: CampaignStudy, flight: Flight) -> None:
    """Note that a paused trial goes on; the time that it runs from here on is counted by itself."""
    if flight.pause is None:
        return
    flight.pause, flight.ran_before_stage = None, flight.ran
    flight.fully_timed = True
    study.attributes.annotate(flight.trial, {PAUSED: None})


class PromotionController:
    """Pauses this campaign's trials at rungs, and promotes the best of them.

    A rung's ranking counts the reports of all trials of the study, whoever runs them. Each campaign promotes only the
    trials that are paused in its own hands.

    Args:
        study: The campaign's study, with one objective.
        rungs: Says at which steps a trial pauses, and which of the paused ones goes on.

    Attributes:
        paused: The paused trials, by number. Each of them is PAUSED.
        trouble: What the user should know of how trials pause; empty where all is well.
        refusal: Why the campaign cannot go on; empty where it can.
    """

    new_first = False
    """New trials begin before paused ones go on."""

    def __init__(self, study: CampaignStudy, rungs: Promotions | Population):
        self._study, self._rungs = study, rungs
        self._watch = StudyWatch()
        self.paused: dict[int, Flight] = {}
        self._numbers: dict[int, int] = {}  # of the paused trials, by id
        self.trouble, self.refusal, self._warned = "", "", False
        self.refresh()

    @property
    def promotable(self) -> int:
        """How many of the paused trials may go on now."""
        return self._rungs.promotable

    def refresh(self) -> None:
        """Learn what other campaigns' trials reported. Costs what has changed since the last call."""
        for trial in self._watch.refresh(self._study.study).trials:
            self._learn(trial)

    def _learn(self, trial: FrozenTrial) -> None:
        if trial.intermediate_values and trial.system_attrs.get(OWNER) != self._study.campaign:
            self._rungs.learn(trial.number, trial.intermediate_values)

    def adopt(self, flight: Flight) -> None:
        """Learn the reports of a trial that was taken over from a dead campaign."""
        self._rungs.learn(flight.number, self._reports(flight))

    def on_report(self, flight: Flight, step: int, value: float) -> None:
        """A trial of this campaign has reported: at a rung it pauses, unless it is among the best there already."""
        pause = self._rungs.report(flight.number, step, value)
        if pause is None and (flight.pause is None or flight.pause == self._rungs.reached(flight.number)):
            return
        flight.pause = pause
        self._study.attributes.annotate(flight.trial, {PAUSED: pause})

    def on_ended(self, flight: Flight, outcome: Outcome) -> None:
        """An attempt has ended, and its reports are kept. Warns, once, of trials that pause without a checkpoint."""
        if flight.pause is None or outcome.kind != "yielded":
            return
        if outcome.saved:
            self.trouble = ""
        elif not self._warned:
            self._warned = True
            self.trouble = (
                f"trial {flight.number} paused at step {flight.pause} without a checkpoint: trials that go on from a "
                "rung start again from the beginning; save into trial.checkpoint_dir"
            )
            log.warning("%s", self.trouble)

    def _reports(self, flight: Flight) -> dict[int, float]:
        return self._study.storage.get_trial(flight.trial_id).intermediate_values

    def park(self, flight: Flight) -> bool:
        """Keep a trial whose attempt has ended, if it is to pause; returns whether it is."""
        if flight.pause is None or self._rungs.reached(flight.number) is None:
            return False
        flight.move(Move.PAUSE)
        flight.last_reply = None
        self.paused[flight.number] = flight
        self._numbers[flight.trial_id] = flight.number
        self._rungs.pause(flight.number)
        return True

    def pop_promoted(self, now: float) -> Flight | None:
        """Remove and return the paused trial that goes on next; None where none may."""
        while (number := self._rungs.next()) is not None:
            flight = self._pop(number)
            if not self._ended_elsewhere(flight):
                flight.asked = now
                return flight
        return None

    def origin_for(self, flight: Flight) -> Origin | None:
        """The checkpoint from which another trial goes on in the place of a promoted one; None: it goes on itself."""
        return None

    def origin_for_new(self) -> Origin | None:
        """The checkpoint from which a new trial starts; None where it starts from nothing."""
        return None

    def settle(self, retire: Callable[[Flight], object]) -> bool:
        """Called when nothing is in flight and no new trial will begin. Returns whether nothing is paused any more.

        First the best of each bracket goes on, where the bracket has too few trials for the usual share. When nothing
        can go on any more, ``retire`` ends the others.
        """
        if not self.promotable:
            self._rungs.close()
        if self.promotable:
            return False
        for number in list(islice(self.paused, RETIRED_PER_STEP)):
            flight = self._pop(number)
            if not self._ended_elsewhere(flight):
                retire(flight)
        return not self.paused

    def drop(self, gone: Iterable[int]) -> None:
        """Forget the trials with these ids: other processes ended them."""
        for number in [self._numbers[trial_id] for trial_id in gone if trial_id in self._numbers]:
            self._pop(number).move(Move.LEAVE)

    def _pop(self, number: int) -> Flight:
        self._rungs.leave(number)
        flight = self.paused.pop(number)
        del self._numbers[flight.trial_id]
        return flight

    def _ended_elsewhere(self, flight: Flight) -> bool:
        """Whether another process has ended the paused trial; then the campaign lets go of it."""
        ended = self._study.storage.get_trial(flight.trial_id).state.is_finished()
        if ended:
            flight.move(Move.LEAVE)
        return ended

    def validate(self) -> None:
        """Check the paused trials. Raises BrokenInvariant with a sentence."""
        numbers = {flight.trial_id: number for number, flight in self.paused.items()}
        require(numbers == self._numbers, f"the paused trials {numbers} are indexed as {self._numbers}")
        for number, flight in self.paused.items():
            require(flight.number == number, f"trial {flight.number} is paused as trial {number}")
            require(flight.state is State.PAUSED, f"trial {number} ({flight.state.name}) is among the paused trials")
            flight.validate()
