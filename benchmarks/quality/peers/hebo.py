"""HEBO: a Gaussian process with learned warps of inputs and values, and a genetic search of three acquisitions."""

from __future__ import annotations

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution

from ..problems import Params
from .base import Outside, Setting


class Hebo(Outside):
    """With its own defaults. A log integer is a `pow_int`; it knows no failures and no running trials."""

    def __init__(self, setting: Setting):
        import torch
        from hebo.design_space.design_space import DesignSpace
        from hebo.optimizers.hebo import HEBO

        super().__init__(setting)
        np.random.seed(setting.seed)  # it draws from the global generators
        torch.manual_seed(setting.seed)
        torch.set_num_threads(1)
        parts = []
        for name, kind in self.distributions.items():
            if isinstance(kind, CategoricalDistribution):
                parts.append({"name": name, "type": "cat", "categories": list(kind.choices)})
                continue
            number = "num" if isinstance(kind, FloatDistribution) else "int"
            if kind.log:
                number = "pow" if number == "num" else "pow_int"
            parts.append({"name": name, "type": number, "lb": kind.low, "ub": kind.high})
        self.optimizer = HEBO(DesignSpace().parse(parts), scramble_seed=setting.seed)

    def ask(self) -> Params:
        row = self.optimizer.suggest(n_suggestions=1).iloc[0].to_dict()
        found: Params = {}
        for name, kind in self.distributions.items():
            value = row[name]
            if isinstance(kind, CategoricalDistribution):
                found[name] = next(choice for choice in kind.choices if choice == value)
            else:
                found[name] = type(kind.low)(min(max(type(kind.low)(value), kind.low), kind.high))
        return found

    def tell(self, params: Params, value: float | None) -> None:
        import pandas as pd

        row = pd.DataFrame([params], columns=list(self.distributions))
        self.optimizer.observe(row, np.array([[self.penalty(value)]]))
