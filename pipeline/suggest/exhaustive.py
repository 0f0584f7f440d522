"""Samplers that try every configuration once, for a campaign that asks and tells.

Optuna's own end the study by ``study.stop()`` when all is tried, which only ``study.optimize`` allows. Here the budget
ends it: a study file with such a sampler is never given more trials than there are configurations.
"""

from __future__ import annotations

from collections.abc import Sequence

from optuna.samplers import BruteForceSampler, GridSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


class Grid(GridSampler):
    """``optuna.samplers.GridSampler`` that leaves the end to the budget."""

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Nothing: the budget ends the study."""


class BruteForce(BruteForceSampler):
    """``optuna.samplers.BruteForceSampler`` that leaves the end to the budget."""

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Nothing: the budget ends the study."""
