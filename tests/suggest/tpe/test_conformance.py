"""Optuna's conformance suite for samplers, and tests of the private parts of Optuna that the sampler uses."""

import subprocess
import sys

import optuna
import pytest
from optuna.storages import BaseStorage
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase, RelativeSamplerTestCase

from pilotune.pipeline.suggest.published import RELATIVE
from pilotune.pipeline.suggest.tpe import TPESampler

pytestmark = pytest.mark.slow
EXHAUSTIVE = pytest.mark.exhaustive


class TestIndependent(BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture(
        params=[{}, *(pytest.param(o, marks=EXHAUSTIVE) for o in ({"multivariate": False}, {"constant_liar": False}))]
    )
    def sampler(self, request):
        return lambda: TPESampler(n_startup_trials=0, **request.param)


class TestMultivariate(RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    # With one direction it is the default, which TestIndependent is about.
    @pytest.fixture
    def sampler(self):
        return lambda: TPESampler(n_startup_trials=0, multivariate=True)


class TestGroups(RelativeSamplerTestCase, BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self):
        return lambda: TPESampler(n_startup_trials=0, multivariate=True, group=True)


def test_the_private_parts_of_optuna_still_exist():
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(multivariate=True, n_startup_trials=1, seed=0))
    assert isinstance(study._storage, BaseStorage)
    assert study._storage.get_study_name_from_id(study._study_id) == study.study_name
    for _ in range(2):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        if trial.number == 0:
            study.tell(trial, 0.0)
    running = study.get_trials()[1]
    assert study._storage.get_trial(running._trial_id).number == running.number == 1
    assert f"{RELATIVE}:0" in running.system_attrs
    trial.set_constraint("c", 1.0)
    assert study.get_trials()[1].system_attrs["constraints:c"] == 1.0


def test_optunas_study_of_a_bracket_has_what_the_sampler_needs():
    pruner = optuna.pruners.HyperbandPruner(1, 9, 3)
    study = optuna.create_study(pruner=pruner, sampler=TPESampler(seed=0, n_startup_trials=2))
    for number in range(8):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        trial.report(number, 1)
        trial.should_prune()
        study.tell(trial, number)
    part = pruner._create_bracket_study(study, 0)
    assert part._storage is study._storage
    assert part._study_id == study._study_id
    assert part.directions == study.directions
    # Optuna's own sampler reads all trials here, not only those of the bracket, and so does ours.
    assert len(part._get_trials(deepcopy=False)) == 8 > len(part.get_trials())


def test_scipy_is_imported_by_the_first_modelled_suggestion_and_not_before():
    program = (
        "import sys, optuna; from pilotune.pipeline.suggest.tpe import TPESampler\n"
        "study = optuna.create_study(sampler=TPESampler(n_startup_trials=1)); before = 'scipy' in sys.modules\n"
        "study.optimize(lambda trial: trial.suggest_float('x', 0, 1), n_trials=3)\n"
        "print(before, 'scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
