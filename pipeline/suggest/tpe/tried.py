"""Which configurations a study has tried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial

from ...study_changes import Changes


class Tried:
    """The configurations of all trials of a study, whatever became of them.

    Those with a continuous parameter are not kept: none of them comes twice.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._running: dict[int, int] = {}

    def learn(self, changes: Changes) -> None:
        if changes.whole:
            self._seen.clear()
            self._running.clear()
        for trial in changes.trials:
            if trial.state.is_finished():
                if self._running.pop(trial._trial_id, -1) != len(trial.params):
                    self._add(trial)
            elif self._running.get(trial._trial_id) != len(trial.params):
                self._running[trial._trial_id] = len(trial.params)
                self._add(trial)

    def _add(self, trial: FrozenTrial) -> None:
        kinds = trial.distributions
        if any(
            isinstance(kind, FloatDistribution) and kind.step is None and not kind.single() for kind in kinds.values()
        ):
            return
        self._seen.add(_key({name: value for name, value in trial.params.items() if not kinds[name].single()}))

    def __contains__(self, params: Mapping[str, Any]) -> bool:
        return _key(params) in self._seen


def _continuous(kind: BaseDistribution) -> bool:
    return isinstance(kind, FloatDistribution) and kind.step is None


def _key(params: Mapping[str, Any]) -> int:
    return hash(tuple(sorted((name, repr(value)) for name, value in params.items())))
