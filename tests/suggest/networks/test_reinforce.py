"""The sampler reinforce: a policy with independent probabilities."""

import pickle
import random

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.testing.pytest_samplers import BasicSamplerTestCase, SingleOnlySamplerTestCase

from pilotune.pipeline.expressions import Constraint
from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.suggest.genes import Gene
from pilotune.pipeline.suggest.networks import ReinforceSampler
from pilotune.pipeline.suggest.networks.policy import Policy

SPACE = Space(
    (
        *(Parameter(f"op{i}", CategoricalDistribution(["a", "b", "c", "d"])) for i in range(6)),
        Parameter("lr", FloatDistribution(1e-4, 1.0, log=True)),
        Parameter("seed", IntDistribution(0, 1000)),
    )
)


@pytest.mark.slow
class TestConformance(BasicSamplerTestCase, SingleOnlySamplerTestCase):
    @pytest.fixture
    def sampler(self):
        return ReinforceSampler


def run(sampler, space, trials, workers=8):
    study, waiting = optuna.create_study(direction="maximize", sampler=sampler), []
    for _ in range(trials):
        trial = study.ask()
        waiting.append((trial, space.suggest(trial)))
        if len(waiting) == workers:
            done, params = waiting.pop(0)
            study.tell(done, sum(value == "c" for value in params.values()))
    return study


def test_the_policy_comes_to_the_best_operations():
    study = run(ReinforceSampler(seed=0, space=SPACE), SPACE, 400)
    last = [trial.value for trial in study.trials[300:390]]
    assert sum(last) / len(last) > 4  # 1.5 at random


def test_constraints_are_met_and_probabilities_noted():
    space = Space(SPACE.parameters, constraints=(Constraint("op0 != op1"),))
    study = run(ReinforceSampler(seed=0, space=space), space, 60)
    assert all(trial.params["op0"] != trial.params["op1"] for trial in study.trials)
    assert set(study.trials[0].system_attrs["pilotune:probabilities"]) == set(space.distributions)
    assert study.trials[0].system_attrs["pilotune:probabilities"]["op0"] == 0.25


def test_a_result_counts_by_what_the_policy_has_become():
    gene = Gene("op", CategoricalDistribution(["a", "b"]))
    moved = []
    for drawn in (0.5, 0.25, 0.01):
        policy = Policy()
        policy.learn({"op": "b"}, 1.0, {}, {"op": gene})
        policy.learn({"op": "a"}, 0.0, {"op": drawn}, {"op": gene})
        moved.append(policy.probabilities(gene)[0])
    assert 0.5 < moved[0] < moved[1] == moved[2]


def test_failures_count_as_the_worst():
    gene, policy = Gene("op", CategoricalDistribution(["a", "b"])), Policy()
    policy.learn({"op": "a"}, 1.0, {}, {"op": gene})
    policy.learn({"op": "b"}, float("inf"), {}, {"op": gene})
    assert policy.probabilities(gene)[0] > 0.5


def test_a_copy_learns_the_policy_again_from_the_trials():
    sampler = ReinforceSampler(seed=0, space=SPACE)
    study = run(sampler, SPACE, 80)
    study.sampler = pickle.loads(pickle.dumps(sampler))
    for each in (sampler, study.sampler):
        each._refresh(study)
    gene = Gene("op3", SPACE.distributions["op3"])
    one, other = (each._policy.probabilities(gene) for each in (sampler, study.sampler))
    assert one.tolist() == pytest.approx(other.tolist())


def test_wide_ranges_are_drawn_within_parts():
    gene = Gene("seed", SPACE.distributions["seed"])
    policy, rng = Policy(), random.Random(0)
    values = [policy.draw(gene, rng)[0] for _ in range(2000)]
    assert len(policy.probabilities(gene)) == 10
    assert (min(values), max(values), len(set(values))) > (0, 990, 800)
    assert max(values) <= 1000
