"""The sampler ``bohb``: which configurations are random, and which trials count as good."""

from __future__ import annotations

import pickle

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.testing.pytest_samplers import BasicSamplerTestCase
from optuna.trial import TrialState

from pilotune.pipeline.suggest.tpe import BOHBSampler

SPACE: dict[str, BaseDistribution] = {
    "x": FloatDistribution(0.0, 1.0),
    "y": FloatDistribution(0.0, 1.0),
    "c": CategoricalDistribution(["a", "b"]),
}


@pytest.mark.slow
class TestConformance(BasicSamplerTestCase):
    @pytest.fixture
    def sampler(self):
        return lambda: BOHBSampler(random_share=0.0)


def below(study: optuna.Study) -> list[int]:
    """The trials that count as good, after one more suggestion."""
    study.ask(SPACE)
    sampler = study.sampler
    assert isinstance(sampler, BOHBSampler)
    return sampler._model(study).history.below_numbers


def filled(reports: list[list[float]], **arguments: float) -> optuna.Study:
    """A study with a trial for each list of reports, at steps from 1; those with three are complete."""
    study = optuna.create_study(sampler=BOHBSampler(seed=0, **arguments))
    for values in reports:
        trial = study.ask(SPACE)
        for step, value in enumerate(values, start=1):
            trial.report(value, step)
        if len(values) == 3:
            study.tell(trial, values[-1])
        else:
            study.tell(trial, state=TrialState.PRUNED)
    return study


def test_the_good_trials_are_the_best_at_the_highest_step_that_enough_have_reached() -> None:
    # With three parameters five trials are enough. Step 2 has six of them, step 3 has two.
    short = [[float(value)] for value in range(10)]
    longer = [[50.0, float(value)] for value in (4, 3, 2, 1)]
    whole = [[60.0, 9.0, 0.0], [60.0, 8.0, -1.0]]
    study = filled(short + longer + whole, random_share=0.0)
    assert below(study) == [10, 11, 12, 13]


def test_without_reports_the_values_of_the_trials_decide() -> None:
    study = optuna.create_study(sampler=BOHBSampler(seed=0, random_share=0.0))
    for number in range(20):
        study.tell(study.ask(SPACE), abs(number - 7.0))
    assert below(study) == [6, 7, 8]


def test_a_share_of_the_configurations_is_random() -> None:
    study = filled([[float(value)] for value in range(12)], random_share=0.5)
    sampler = study.sampler
    assert isinstance(sampler, BOHBSampler)
    trials = [study.ask(SPACE) for _ in range(40)]
    at_random = set(sampler._at_random)
    assert 10 < len(at_random) < 30
    for trial in trials:
        study.tell(trial, 1.0)
    assert not sampler._at_random


def test_all_are_random_before_enough_have_reported() -> None:
    study = filled([[1.0]] * 4, random_share=0.0)
    assert below(study) == []


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_beyond_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="random_share must be from 0 to 1, but is"):
        BOHBSampler(random_share=share)


def test_a_pickled_copy_continues_with_the_same_numbers() -> None:
    study = filled([[float(value)] for value in range(12)])
    copy = optuna.load_study(
        study_name=study.study_name, storage=study._storage, sampler=pickle.loads(pickle.dumps(study.sampler))
    )
    first, second = study.ask(SPACE).params, None
    study.tell(12, state=TrialState.FAIL)
    second = copy.ask(SPACE).params
    assert first == second
