"""Optuna's conformance suite for samplers."""

import subprocess
import sys

import pytest
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase, RelativeSamplerTestCase

from pilotune.pipeline.suggest.surrogate import GPSampler


@pytest.mark.slow
class TestConformance(RelativeSamplerTestCase, BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self):
        return lambda: GPSampler(n_startup_trials=1)


def test_scipy_is_imported_by_the_first_modelled_suggestion_and_not_before():
    program = (
        "import sys, optuna; from pilotune.pipeline.suggest.surrogate import GPSampler\n"
        "study = optuna.create_study(sampler=GPSampler(n_startup_trials=2)); found = []\n"
        "for _ in range(3):\n"
        "    study.optimize(lambda trial: trial.suggest_float('x', 0, 1), n_trials=1)\n"
        "    found.append('scipy' in sys.modules)\n"
        "print(*found, 'scipy.optimize' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "True", "False"]
