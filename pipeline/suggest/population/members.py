"""Counts the members of a population, by what changed in the study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from optuna.study import Study
from optuna.trial import TrialState

from ....grammar import count
from ...attributes import LEARNED, PAUSED
from ...study_changes import StudyWatch
from ..exhaustive import FIXED

NEVER_PAUSED = "none ever paused, so none was compared or replaced: report after each interval of steps, or shorten it"
LIVE = (TrialState.RUNNING, TrialState.COMPLETE)
"""States of a trial that is a member: it trains, pauses, or was trained to the end."""


class Members:
    """The members of the population of one study; trials that were copied from other studies are none."""

    def __init__(self) -> None:
        self._watch = StudyWatch()
        self._states: dict[int, TrialState] = {}  # by trial id
        self._counts: Counter[TrialState] = Counter()
        self._own: set[int] = set()  # ids of those that nobody enqueued
        self._paused = False  # whether any has ever paused

    def refresh(self, study: Study) -> None:
        """Read what changed in the study."""
        changes = self._watch.refresh(study)
        if changes.whole:
            self._states, self._counts, self._own, self._paused = {}, Counter(), set(), False
        for gone in changes.gone:
            self._forget(gone)
            self._own.discard(gone)
        for trial in changes.trials:
            if LEARNED not in trial.user_attrs:
                self._forget(trial._trial_id)
                self._states[trial._trial_id] = trial.state
                self._counts[trial.state] += 1
                self._paused = self._paused or PAUSED in trial.user_attrs
                if FIXED not in trial.system_attrs:
                    self._own.add(trial._trial_id)

    def _forget(self, trial_id: int) -> None:
        state = self._states.pop(trial_id, None)
        if state is not None:
            self._counts[state] -= 1

    @property
    def live(self) -> int:
        """How many members there are."""
        return sum(self._counts[state] for state in LIVE)

    def surplus(self, size: int, new: Collection[int]) -> list[int]:
        """Those of the trials ``new`` (ids) that began when the population was full already.

        Two drivers that fill a population at once, or the place of a failed member, may begin more than it has; the
        ones that came last are too many, unless the user enqueued them. These are the new ones, whatever their ids: a
        trial that another driver has just stored has a greater id here.
        """
        own = sorted((i for i in self._own if self._states[i] in LIVE), key=lambda i: (i in new, i))
        return [i for i in own[size:] if i in new]

    def said(self) -> str:
        """What became of the members, as a sentence."""
        counts = self._counts
        complete = counts[TrialState.COMPLETE]
        trained = f"{count(complete, 'member')} {'was' if complete == 1 else 'were'} trained to the end"
        others = [
            f"{amount:,} {one if amount == 1 else several}"
            for amount, one, several in (
                (counts[TrialState.PRUNED], "was replaced", "were replaced"),
                (counts[TrialState.FAIL], "failed", "failed"),
                (counts[TrialState.RUNNING], "has not ended", "have not ended"),
            )
            if amount
        ]
        never = "" if self._paused or not complete else f"; {NEVER_PAUSED}"
        return ", ".join([trained, *others]) + never
