"""Counts the finished trials since the best value of a study last improved, for ``budget: patience``."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from datetime import datetime

from optuna import Study
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ..attributes import LEARNED
from ..study_changes import FINISHED, StudyWatch

_End = tuple[datetime, int]
"""When a trial ended, and its number."""


class Stagnation:
    """Finished trials of one study, all drivers' together, since one was better than all before it.

    Trials count in the order in which they ended: complete, pruned and failed ones. Nothing counts before the first
    complete trial. One that breaks a constraint is no improvement. Trials that were copied from other studies do not
    count, but their best value has to be improved upon. A refresh costs what has changed, not the whole study.

    Attributes:
        best: Number of the trial that improved the value last; None before any, or where a copied one is the best.

    Example:
        >>> import optuna
        >>> study = optuna.create_study(direction="maximize")
        >>> for value in (0.5, 0.9, 0.9, 0.1):
        ...     study.tell(study.ask(), value) and None
        >>> Stagnation().refresh(study)
        2
    """

    def __init__(self) -> None:
        self._watch = StudyWatch()
        self._forget()

    def _forget(self) -> None:
        self._seen: set[int] = set()  # ids of all ended trials
        self._ends: list[_End] = []  # of those that count, sorted
        self._loss: float | None = None  # the best; where several trials have it, the first that ended is the best
        self._best_end: _End = (datetime.min, -1)
        self.best: int | None = None

    def refresh(self, study: Study) -> int:
        """``count`` after all changes of the study until now."""
        changes = self._watch.refresh(study)
        trials: Sequence[FrozenTrial] = [trial for trial in changes.trials if trial.state.is_finished()]
        if changes.whole or any(key in self._seen for key in (*changes.gone, *(each._trial_id for each in trials))):
            # A trial that was counted may have been ended otherwise by another driver.
            self._forget()
            trials = study.get_trials(deepcopy=False, states=FINISHED)
        sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
        for trial in trials:
            self._add(trial, sign)
        return self.count

    @property
    def count(self) -> int:
        """Trials since the last improvement, as of the last refresh."""
        return 0 if self._loss is None else len(self._ends) - bisect_right(self._ends, self._best_end)

    def _add(self, trial: FrozenTrial, sign: float) -> None:
        self._seen.add(trial._trial_id)
        end: _End = (datetime.min, -1)
        copied = LEARNED in trial.user_attrs
        if not copied:
            end = (trial.datetime_complete or datetime.min, trial.number)
            insort(self._ends, end)
        if trial.state == TrialState.COMPLETE and all(amount <= 0.0 for amount in trial.constraints.values()):
            loss = sign * trial.values[0]
            if self._loss is None or (loss, end) < (self._loss, self._best_end):
                self._loss, self._best_end, self.best = loss, end, None if copied else trial.number
