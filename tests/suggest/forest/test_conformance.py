"""Optuna's conformance suite for samplers, and what is imported when."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, RelativeSamplerTestCase

from pilotune.pipeline.suggest.forest import ForestSampler


@pytest.mark.slow
class TestConformance(RelativeSamplerTestCase, BasicSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: ForestSampler(n_startup_trials=1, trees=10, candidates=200)


def test_several_directions_are_refused() -> None:
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=ForestSampler(n_startup_trials=0))
    study.add_trial(
        optuna.trial.create_trial(
            params={"x": 0.5}, distributions={"x": optuna.distributions.FloatDistribution(0, 1)}, values=[0.0, 1.0]
        )
    )
    with pytest.raises(ValueError, match="ForestSampler cannot be used"):
        study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"acquire": "ucb"}, "acquire must be one of qucb, lcb, ei, pi, gp_hedge, but is 'ucb'"),
        ({"lie": "cl_max"}, "lie must be one of max, min, mean, but is 'cl_max'"),
    ],
)
def test_unknown_words_are_refused(argument: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ForestSampler(**argument)  # type: ignore[arg-type]


ALONE = """
import importlib, sys
import optuna
from pilotune.pipeline.suggest.forest import ForestSampler
from pilotune.pipeline.suggest.forest.sampler import IMPORTS

optuna.logging.set_verbosity(optuna.logging.ERROR)
early = [name for name in ("scipy", "sklearn") if name in sys.modules]
for name in reversed(IMPORTS):
    importlib.import_module(name)
before = set(sys.modules)
study = optuna.create_study(sampler=ForestSampler(seed=0, trees=5))
study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=12)
print(early, [name for name in set(sys.modules) - before if name.startswith(("scipy", "numpy", "sklearn"))])
"""


def test_a_forest_imports_nothing_before_and_nothing_more_than_what_is_imported_in_parts() -> None:
    found = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[] []"
