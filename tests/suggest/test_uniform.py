"""The sampler ``random`` draws what Optuna's draws."""

from __future__ import annotations

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from pilotune.pipeline.suggest.registry import SAMPLERS
from pilotune.pipeline.suggest.uniform import RandomSampler

DISTRIBUTIONS = {
    "float": FloatDistribution(-1.0, 1.0),
    "log float": FloatDistribution(1e-4, 1.0, log=True),
    "stepped float": FloatDistribution(0.0, 1.0, step=0.25),
    "single float": FloatDistribution(0.5, 0.5),
    "int": IntDistribution(1, 16),
    "log int": IntDistribution(1, 1024, log=True),
    "stepped int": IntDistribution(-8, 8, step=4),
    "single int": IntDistribution(3, 3),
    "choice": CategoricalDistribution(["a", "b", "c"]),
    "mixed choice": CategoricalDistribution([None, True, 1.5, "x"]),
    "single choice": CategoricalDistribution(["a"]),
}


@pytest.mark.parametrize("names", [[name] for name in DISTRIBUTIONS] + [list(DISTRIBUTIONS)], ids=", ".join)
def test_draws_the_values_of_optunas_sampler(names: list[str]) -> None:
    space: dict[str, BaseDistribution] = {name: DISTRIBUTIONS[name] for name in names}
    drawn = []
    for sampler in (optuna.samplers.RandomSampler(seed=7), RandomSampler(seed=7)):
        study = optuna.create_study(sampler=sampler)
        drawn.append([study.ask(space).params for _ in range(60)])
    assert drawn[0] == drawn[1]
    for first, second in zip(*drawn, strict=True):
        assert {name: type(value) for name, value in first.items()} == {n: type(v) for n, v in second.items()}


def test_is_the_sampler_random() -> None:
    assert SAMPLERS.load("random", key="sampler.name") is RandomSampler
