"""Ranks trials by intermediate values, at the highest step that enough trials have reported."""

from __future__ import annotations

import math
from bisect import insort
from dataclasses import dataclass, field

from optuna.trial import FrozenTrial, TrialState

from ...study_changes import Changes

MIN_REPORTS = 25
"""Trials that must have reported a step before trials are compared at it: as many as are below the split at most."""
MAX_KEPT = 4 * MIN_REPORTS
"""Scores kept a step: more than are asked for, so that enough are left when some of the trials fail."""


@dataclass
class _StepScores:
    """The values reported at one step.

    Attributes:
        count: Trials that reported a number at this step.
        best: The best ``MAX_KEPT`` of them as (loss, trial id), ascending.
    """

    count: int = 0
    best: list[tuple[float, int]] = field(default_factory=list)

    def has(self, trial_id: int) -> bool:
        return any(found[1] == trial_id for found in self.best)


class PartialResults:
    """The intermediate values of all trials, running ones included, by step.

    An update costs what the trials have reported since the last one, since the steps of a trial ascend. A step that a
    trial reports after a higher one is not counted.

    Args:
        sign: -1.0 where values are maximized, else 1.0.
    """

    def __init__(self, sign: float):
        self._sign = sign
        self.clear()

    def clear(self) -> None:
        """Forget all trials."""
        self._scores: dict[int, _StepScores] = {}
        self._last_step: dict[int, int] = {}
        self._complete: set[int] = set()

    def apply(self, changes: Changes) -> None:
        """Count the new reports of changed trials; those of failed and vanished trials no longer count."""
        if changes.whole:
            self.clear()
        for gone in changes.gone:
            self._remove(gone, [step for step, scores in self._scores.items() if scores.has(gone)])
        for trial in changes.trials:
            if trial.state == TrialState.FAIL:
                values = trial.intermediate_values
                self._remove(trial._trial_id, [step for step in values if not math.isnan(values[step])])
                continue
            if trial.state == TrialState.COMPLETE:
                self._complete.add(trial._trial_id)
            if trial.intermediate_values:
                self._add(trial)

    def _add(self, trial: FrozenTrial) -> None:
        last = self._last_step.get(trial._trial_id)
        for step in reversed(trial.intermediate_values):
            if last is not None and step <= last:
                break
            loss = trial.intermediate_values[step] * self._sign
            if math.isnan(loss):
                continue
            scores = self._scores.setdefault(step, _StepScores())
            scores.count += 1
            if len(scores.best) < MAX_KEPT or loss < scores.best[-1][0]:
                insort(scores.best, (loss, trial._trial_id))
                del scores.best[MAX_KEPT:]
        self._last_step[trial._trial_id] = max(trial.intermediate_values)

    def _remove(self, trial_id: int, steps: list[int]) -> None:
        self._complete.discard(trial_id)
        last = self._last_step.pop(trial_id, None)
        for scores in (self._scores[step] for step in steps if last is not None and step <= last):
            scores.count -= 1
            if scores.has(trial_id):
                scores.best = [found for found in scores.best if found[1] != trial_id]

    def best(self, count: int) -> list[int] | None:
        """Ids of the ``count`` best trials, best first, at the highest step that ``MIN_REPORTS`` trials have reported.

        None when no step has enough reports, or enough trials are complete to be compared by their final values.
        """
        if len(self._complete) >= MIN_REPORTS:
            return None
        steps = [
            step for step, scores in self._scores.items() if scores.count >= MIN_REPORTS and len(scores.best) >= count
        ]
        return [trial_id for _, trial_id in self._scores[max(steps)].best[:count]] if steps else None

    def best_share(self, least: int, share: float) -> list[int] | None:
        """Ids of the best trials, best first, at the highest step that more than ``least`` trials have reported.

        They are a ``share`` of these trials, but at least ``least`` and at most MAX_KEPT. None where no
        step has enough.
        """
        steps = [step for step, scores in self._scores.items() if scores.count > least]
        if not steps:
            return None
        scores = self._scores[max(steps)]
        return [trial_id for _, trial_id in scores.best[: max(least, int(share * scores.count))]]
