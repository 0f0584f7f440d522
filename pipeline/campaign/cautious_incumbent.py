"""Keeps track of the best trial of a study whose trials are repeated. A refresh costs what has changed."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from optuna import Study
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ..noise import repetitions_of, spreads
from ..study_changes import StudyWatch

if TYPE_CHECKING:
    from ..noise.bounds import CautiousBest


class CautiousIncumbent:
    """The best trial of a study with one direction by its pessimistic bound, see :mod:`pilotune.pipeline.noise.bounds`.

    Trials that break a constraint do not count.
    """

    def __init__(self) -> None:
        self._watch = StudyWatch()
        self._best: CautiousBest | None = None
        self._forget()

    def _forget(self) -> None:
        self._ids: set[int] = set()
        self._numbers, self._counts = array("q"), array("q")
        self._means, self._variances = array("d"), array("d")

    def refresh(self, study: Study) -> CautiousBest | None:
        """The best trial now; None where no trial has been repeated."""
        changes = self._watch.refresh(study)
        complete = [trial for trial in changes.trials if trial.state == TrialState.COMPLETE]
        changed = (*changes.gone, *(trial._trial_id for trial in complete))
        if changes.whole or any(trial_id in self._ids for trial_id in changed):
            self._forget()
            complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        elif not complete:
            return self._best
        for trial in complete:
            self._add(trial)
        self._best = self._find(study)
        return self._best

    def _add(self, trial: FrozenTrial) -> None:
        if any(amount > 0.0 for amount in trial.constraints.values()):
            return
        repetitions = repetitions_of(trial)
        spread = spreads(repetitions)
        self._ids.add(trial._trial_id)
        self._numbers.append(trial.number)
        self._counts.append(max(1, len(repetitions)))
        self._means.append(trial.values[0])
        self._variances.append(0.0 if spread is None else spread[0] * spread[0])

    def _find(self, study: Study) -> CautiousBest | None:
        if max(self._counts, default=1) == 1:
            return None
        from ..noise.bounds import Measured, cautious_best  # with NumPy and SciPy, which other studies do not need

        measured = Measured(self._numbers, self._means, self._counts, self._variances)
        return cautious_best(measured, maximize=study.direction == StudyDirection.MAXIMIZE)
