"""SMAC 3: a random forest, expected improvement, by its facade for hyperparameters with its own defaults."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from optuna.distributions import CategoricalDistribution, FloatDistribution

from ..problems import Params
from .base import Outside, Setting


class Smac(Outside):
    """Asked and told by its ask-and-tell interface; a failed trial is told as crashed."""

    def __init__(self, setting: Setting):
        from ConfigSpace import Categorical, ConfigurationSpace, Float, Integer
        from smac import HyperparameterOptimizationFacade, Scenario

        super().__init__(setting)
        logging.getLogger("smac").setLevel(logging.ERROR)
        space = ConfigurationSpace(seed=setting.seed)
        for name, kind in self.distributions.items():
            if isinstance(kind, CategoricalDistribution):
                space.add(Categorical(name, list(kind.choices)))
            else:
                number = Float if isinstance(kind, FloatDistribution) else Integer
                space.add(number(name, (kind.low, kind.high), log=kind.log))
        self.folder = tempfile.TemporaryDirectory()
        scenario = Scenario(
            space,
            deterministic=setting.problem.noise is None,
            n_trials=setting.trials,
            seed=setting.seed,
            output_directory=Path(self.folder.name),
        )
        once = HyperparameterOptimizationFacade.get_intensifier(scenario, max_config_calls=1)
        self.facade = HyperparameterOptimizationFacade(
            scenario, lambda config, seed=0: 0.0, intensifier=once, logging_level=False, overwrite=True
        )
        self.infos: dict[tuple, list] = {}

    def ask(self) -> Params:
        info = self.facade.ask()
        params = dict(info.config)
        self.infos.setdefault(_key(params), []).append(info)
        return params

    def tell(self, params: Params, value: float | None) -> None:
        from smac.runhistory import StatusType, TrialValue

        info = self.infos[_key(params)].pop()
        status = StatusType.CRASHED if value is None else StatusType.SUCCESS
        result = TrialValue(cost=self.penalty(value), status=status)  # an infinite cost becomes NaN in its model
        self.facade.tell(info, result, save=False)


def _key(params: Params) -> tuple:
    return tuple(sorted((name, str(value)) for name, value in params.items()))
