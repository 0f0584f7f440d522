"""A campaign waits for the end of a generation where its sampler wants that, and never for ever."""

from __future__ import annotations

import random
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from pilotune.pipeline.attributes import GENERATION, PARENT
from pilotune.pipeline.campaign.events import Capacity, Lost
from pilotune.pipeline.suggest.evolution import AgeingSampler, DHPOSampler, EvolutionSampler, GeneticSampler
from pilotune.pipeline.trial.protocol import AttemptSpec

from ..support.campaign_bench import Bench, benches, over, started


def generations(bench: Bench) -> list[int]:
    return [trial.system_attrs[GENERATION] for trial in bench.trials()]


def four(**options: Any) -> dict[str, Any]:
    return {"sampler": DHPOSampler(barrier=True, seed=0), **options}


def test_free_workers_wait_until_the_whole_generation_has_ended(tmp_path) -> None:
    bench = benches(tmp_path)("c1", four(), trials=12)
    specs = bench.specs(Capacity(10))
    assert len(specs) == 4
    assert bench.specs(over(specs[0]), over(specs[1])) == []
    assert bench.specs(over(specs[2])) == []
    assert len(bench.specs(over(specs[3]))) == 4
    assert generations(bench) == [0] * 4 + [1] * 4


def test_no_more_workers_are_asked_for_than_a_generation_has_trials(tmp_path) -> None:
    bench = benches(tmp_path)("c1", four(), trials=100)
    specs = bench.specs(Capacity(2))
    bench.turn(over(specs[0]), after=10.0)
    assert {scale.workers for scale in bench.scales} == {4}
    assert benches(tmp_path)("c2", {"sampler": DHPOSampler()}, trials=100).campaign.study.at_once is None


@pytest.mark.parametrize("end", ["failed", "pruned", "lost"])
def test_the_last_of_a_generation_may_end_in_any_way(tmp_path, end: str) -> None:
    bench = benches(tmp_path)("c1", four(), trials=8, retries=0)
    specs = bench.specs(Capacity(4))
    assert bench.specs(*(over(spec) for spec in specs[:3])) == []
    if end == "lost":
        (again,) = bench.specs(started(specs[3]), Lost(specs[3].token, "the node failed"))
        assert again.number == specs[3].number, "a lost trial is tried again before the next generation"
        assert len(bench.specs(over(again))) == 4
    else:
        assert len(bench.specs(over(specs[3], end))) == 4
    parents = {trial.system_attrs.get(PARENT) for trial in bench.trials()[4:]}
    assert parents <= ({0, 1, 2, 3} if end == "lost" else {0, 1, 2})


def test_a_generation_that_fails_as_a_whole_is_followed_by_one_at_random(tmp_path) -> None:
    bench = benches(tmp_path)("c1", four(), trials=8)
    assert len(bench.specs(*(over(spec, "failed") for spec in bench.specs(Capacity(4))))) == 4
    assert generations(bench) == [0] * 4 + [1] * 4
    assert all(PARENT not in trial.system_attrs for trial in bench.trials())


def test_enqueued_trials_do_not_wait(tmp_path) -> None:
    bench = benches(tmp_path)("c1", four(), trials=12)
    specs = bench.specs(Capacity(10))
    bench.campaign.study.study.enqueue_trial({"x": 0.5})
    (extra,) = bench.specs()
    assert extra.params == {"x": 0.5}
    assert bench.specs(*(over(spec) for spec in specs[:3])) == []
    assert len(bench.specs(over(extra))) == 4, "it is one more of the running generation, of which four have ended"


def test_a_resumed_campaign_goes_on_with_its_generation(tmp_path) -> None:
    first = benches(tmp_path)("c1", four(), trials=12)
    specs = first.specs(Capacity(4))
    first.turn(*(over(spec) for spec in specs))
    second = first.trials()
    first.storage.close()
    assert len(second) == 8
    again = benches(tmp_path)("c2", four(), trials=12)
    assert len(again.specs(Capacity(4))) == 1, "the trials of the other campaign are not known to end"
    assert generations(again) == [0] * 4 + [1] * 5


def test_a_campaign_with_nothing_in_flight_does_not_wait_for_others(tmp_path) -> None:
    bench = benches(tmp_path)("c1", four(), trials=12)
    other = optuna.load_study(study_name="s", storage=bench.storage, sampler=DHPOSampler(barrier=True))
    for _ in range(4):
        other.ask()
    (spec,) = bench.specs(Capacity(4))
    for number in range(5, 8):
        (spec,) = bench.specs(over(spec))
        assert spec.number == number


class Wilful(optuna.samplers.RandomSampler):
    """A sampler of a user's that always wants to wait, or fails when it is asked."""

    def __init__(self, error: Exception | None = None):
        super().__init__(seed=0)
        self.at_once, self.error = 3, error

    def waits(self, study: optuna.Study) -> bool:
        if self.error is not None:
            raise self.error
        return True


def test_a_sampler_that_always_waits_runs_one_trial_after_the_other(tmp_path) -> None:
    bench = benches(tmp_path)("c1", {"sampler": Wilful()}, trials=3)
    specs = bench.specs(Capacity(4))
    for _ in range(2):
        assert len(specs) == 1
        specs = bench.specs(over(specs[0]))
    bench.turn(over(specs[0]))
    assert bench.campaign.finished


def test_a_sampler_that_fails_when_it_is_asked_whether_it_waits_does_not_wait(tmp_path) -> None:
    bench = benches(tmp_path)("c1", {"sampler": Wilful(RuntimeError("no"))}, trials=3)
    assert len(bench.specs(Capacity(4))) == 3


SAMPLERS = {
    "evolution": lambda: EvolutionSampler(population=3, offspring=5, barrier=True, seed=0),
    "ageing": lambda: AgeingSampler(population=4, barrier=True, seed=0),
    "genetic": lambda: GeneticSampler(population=6, barrier=True, seed=0),
    "dhpo": lambda: DHPOSampler(barrier=True, seed=0),
    "without": lambda: GeneticSampler(population=6, seed=0),
}


@pytest.mark.parametrize("workers", [1, 3, 20])
@pytest.mark.parametrize("name", SAMPLERS)
def test_whatever_happens_to_trials_the_budget_is_used_up(tmp_path, name: str, workers: int) -> None:
    """And no trial of a generation begins before all trials of the one before have ended."""
    bench = benches(tmp_path)("c1", {"sampler": SAMPLERS[name]()}, trials=60, retries=1)
    draw = random.Random(f"{name} {workers}")
    running: list[AttemptSpec] = bench.specs(Capacity(workers))
    study, turns = bench.campaign.study.study, 0
    while not bench.campaign.finished:
        turns += 1
        assert turns < 1000, "it stalls"
        assert running, "nothing runs, and it has not ended"
        bench.campaign.validate()
        spec = running.pop(draw.randrange(len(running)))
        kind = draw.choice(["complete", "complete", "complete", "failed", "pruned", "lost"])
        if kind == "lost":
            running += bench.specs(started(spec), Lost(spec.token, "the node failed"))
        else:
            running += bench.specs(over(spec, kind, value=draw.random()))
        if name != "without":
            running_now = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            assert len({trial.system_attrs[GENERATION] for trial in running_now}) <= 1
    assert len(bench.trials()) == 60
