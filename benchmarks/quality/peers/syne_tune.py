"""Syne Tune's CQR: boosted trees for quantiles of the result, corrected by conformal prediction; Thompson sampling."""

from __future__ import annotations

from optuna.distributions import CategoricalDistribution, FloatDistribution

from ..problems import Params
from .base import Outside, Setting


class CQR(Outside):
    """With its own defaults. A failed trial counts as the worst value so far."""

    def __init__(self, setting: Setting):
        from syne_tune import config_space as cs
        from syne_tune.optimizer.schedulers.searchers.conformal import (
            conformal_quantile_regression_searcher as searchers,
        )

        super().__init__(setting)
        space = {}
        for name, kind in self.distributions.items():
            if isinstance(kind, CategoricalDistribution):
                space[name] = cs.choice(list(kind.choices))
            elif isinstance(kind, FloatDistribution):
                space[name] = (cs.loguniform if kind.log else cs.uniform)(kind.low, kind.high)
            else:
                space[name] = (cs.lograndint if kind.log else cs.randint)(kind.low, kind.high)
        self.searcher = searchers.ConformalQuantileRegression(space, random_seed=setting.seed)
        self.count = 0

    def ask(self) -> Params:
        return {name: self.searcher_value(name, value) for name, value in self.searcher.suggest().items()}

    def searcher_value(self, name: str, value: object) -> object:
        kind = self.distributions[name]
        if isinstance(kind, CategoricalDistribution):
            return next(choice for choice in kind.choices if choice == value)
        return min(max(type(kind.low)(value), kind.low), kind.high)

    def tell(self, params: Params, value: float | None) -> None:
        self.searcher.on_trial_complete(self.count, params, self.penalty(value))
        self.count += 1
