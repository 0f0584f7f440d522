"""nevergrad's NGOpt, which chooses an optimizer by the space, the budget and the number of workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ..problems import Params
from .base import Outside, Setting


class NGOpt(Outside):
    """A failed trial counts as the worst value so far: it knows no failures."""

    def __init__(self, setting: Setting):
        import nevergrad as ng

        super().__init__(setting)
        parts = {}
        for name, kind in self.distributions.items():
            if isinstance(kind, CategoricalDistribution):
                parts[name] = ng.p.Choice(list(kind.choices))
                continue
            assert isinstance(kind, FloatDistribution | IntDistribution)
            number = (ng.p.Log if kind.log else ng.p.Scalar)(lower=kind.low, upper=kind.high)
            parts[name] = number.set_integer_casting() if isinstance(kind, IntDistribution) else number
        space = ng.p.Dict(**parts)
        space.random_state.seed(setting.seed)
        self.optimizer = ng.optimizers.NGOpt(space, budget=setting.trials, num_workers=setting.workers)
        self.candidates: dict[int, Any] = {}

    def ask(self) -> Params:
        candidate = self.optimizer.ask()
        found: Params = {}
        for name, kind in self.distributions.items():
            value = candidate.value[name]
            if not isinstance(kind, CategoricalDistribution):
                value = min(max(type(kind.low)(value), kind.low), kind.high)
            found[name] = value
        self.last = candidate
        return found

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> Params:
        found = super().sample_relative(study, trial, search_space)
        self.candidates[trial.number] = self.last
        return found

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self.last = self.candidates.pop(trial.number)  # it wants its own object back, not the values
        super().after_trial(study, trial, state, values)

    def tell(self, params: Params, value: float | None) -> None:
        self.optimizer.tell(self.last, self.penalty(value))
