"""The best trials of a study with intermediate values, at the highest step that enough of them have reported."""

from __future__ import annotations

import math
from bisect import insort
from dataclasses import dataclass, field

from optuna.trial import FrozenTrial, TrialState

from ...study_changes import Changes

ENOUGH = 25
"""Reports that a step needs before trials are compared at it: as many as there are good trials at most."""
KEPT = 4 * ENOUGH


@dataclass
class Rung:
    """What was reported at one step: how many trials did, and the best of them as (loss, trial id)."""

    count: int = 0
    best: list[tuple[float, int]] = field(default_factory=list)

    def has(self, trial_id: int) -> bool:
        return any(found[1] == trial_id for found in self.best)


class Rungs:
    """Reports of all trials, running ones too, by step.

    Args:
        sign: -1.0 where values are maximized, else 1.0.

    A look at a trial costs what it reported since the last, as long as its steps grow.
    """

    def __init__(self, sign: float):
        self._sign = sign
        self.clear()

    def clear(self) -> None:
        self._steps: dict[int, Rung] = {}
        self._last: dict[int, int] = {}
        self._complete: set[int] = set()

    def learn(self, changes: Changes) -> None:
        if changes.whole:
            self.clear()
        for gone in changes.gone:
            self._forget(gone, [step for step, rung in self._steps.items() if rung.has(gone)])
        for trial in changes.trials:
            if trial.state == TrialState.FAIL:
                values = trial.intermediate_values
                self._forget(trial._trial_id, [step for step in values if not math.isnan(values[step])])
                continue
            if trial.state == TrialState.COMPLETE:
                self._complete.add(trial._trial_id)
            if trial.intermediate_values:
                self._learn(trial)

    def _learn(self, trial: FrozenTrial) -> None:
        last = self._last.get(trial._trial_id)
        for step in reversed(trial.intermediate_values):
            if last is not None and step <= last:
                break
            loss = trial.intermediate_values[step] * self._sign
            if math.isnan(loss):
                continue
            rung = self._steps.setdefault(step, Rung())
            rung.count += 1
            if len(rung.best) < KEPT or loss < rung.best[-1][0]:
                insort(rung.best, (loss, trial._trial_id))
                del rung.best[KEPT:]
        self._last[trial._trial_id] = max(trial.intermediate_values)

    def _forget(self, trial_id: int, steps: list[int]) -> None:
        self._complete.discard(trial_id)
        last = self._last.pop(trial_id, None)
        for rung in (self._steps[step] for step in steps if last is not None and step <= last):
            rung.count -= 1
            if rung.has(trial_id):
                rung.best = [found for found in rung.best if found[1] != trial_id]

    def best(self, count: int) -> list[int] | None:
        """Ids of the ``count`` best trials, best first, at the highest step that ``ENOUGH`` trials have reported.

        None where enough trials are complete, so that their own values decide, or no step has enough reports.
        """
        if len(self._complete) >= ENOUGH:
            return None
        steps = [step for step, rung in self._steps.items() if rung.count >= ENOUGH and len(rung.best) >= count]
        return [trial_id for _, trial_id in self._steps[max(steps)].best[:count]] if steps else None
