"""The benchmark of search quality: its workers' virtual clock, what counts as found, and what peers are told."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from benchmarks.quality import peers, problems, simulate
from benchmarks.quality.peers.base import Cube, Outside, Setting
from benchmarks.quality.problems.base import FAILED, Outcome, Params, Problem, space_of
from benchmarks.quality.simulate import Incumbent, Step, Trace, Workers


def parabola(**changes: object) -> Problem:
    def evaluate(params: Params) -> Outcome:
        return Outcome((params["x"] ** 2,))

    made = Problem("parabola", space_of({"x": FloatDistribution(-1.0, 1.0)}), evaluate, 0.0, unit=1.0)
    return replace(made, **changes)  # type: ignore[arg-type]


class Watched(optuna.samplers.RandomSampler):
    """Counts how many trials run when the next is asked for."""

    def __init__(self, seed: int):
        super().__init__(seed)
        self.running: list[int] = []

    def before_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        states = (optuna.trial.TrialState.RUNNING,)
        self.running.append(len(study.get_trials(deepcopy=False, states=states)) - 1)


def test_workers_are_all_busy_until_the_last_trial_was_asked_for():
    sampler = Watched(0)
    trace = Workers(parabola(), sampler, workers=4, trials=12, seed=0).run()
    assert sampler.running == [0, 1, 2] + [3] * 9
    assert trace.trials == 12
    values = [step.value for step in trace.steps]
    assert values == sorted(values, reverse=True)


def test_trials_end_in_the_order_of_the_virtual_clock():
    def evaluate(params: Params) -> Outcome:
        return Outcome((params["x"],), seconds=params["x"] + 2.0)

    workers = Workers(parabola(evaluate=evaluate), optuna.samplers.RandomSampler(0), 5, 5, seed=0)
    trace = workers.run()
    values = [trial.values[0] for trial in workers.study.trials]
    assert [(step.trials, step.value) for step in trace.steps] == [(1, min(values))]  # the least ends first
    assert trace.steps[0].seconds == min(values) + 2.0
    assert trace.seconds == max(values) + 2.0


def test_a_failed_configuration_is_a_failed_trial_and_no_result():
    def evaluate(params: Params) -> Outcome:
        return FAILED if params["x"] < 0 else Outcome((params["x"],))

    workers = Workers(parabola(evaluate=evaluate), optuna.samplers.RandomSampler(0), 2, 20, seed=0)
    workers.run()
    for trial in workers.study.trials:
        assert trial.state.name == ("FAIL" if trial.params["x"] < 0 else "COMPLETE")


def test_learning_curves_are_stopped_early():
    def evaluate(params: Params) -> Outcome:
        return Outcome((params["x"],), curve=tuple((step, params["x"]) for step in (1, 3, 9)))

    workers = Workers(parabola(evaluate=evaluate, steps=9), optuna.samplers.RandomSampler(0), 4, 60, seed=0)
    workers.run()
    states = [trial.state.name for trial in workers.study.trials]
    assert set(states) == {"COMPLETE", "PRUNED"}
    assert all(trial.last_step == 9 for trial in workers.study.trials if trial.state.name == "COMPLETE")


def test_a_seed_gives_the_same_run_again_but_for_its_cost():
    def once() -> list[tuple]:
        problem = parabola(noise=problems.base.gaussian(0.1))
        trace = Workers(problem, optuna.samplers.TPESampler(seed=3), 8, 40, seed=3).run()
        return [(step.trials, step.seconds, step.value) for step in trace.steps]

    assert once() == once()


def test_a_run_ends_at_the_deadline():
    with pytest.raises(simulate.OutOfTime):
        Workers(parabola(), optuna.samplers.RandomSampler(0), 2, 20, seed=0, deadline=-1.0).run()


def test_calls_of_the_sampler_are_counted_and_those_of_the_problem_are_not(monkeypatch: pytest.MonkeyPatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(simulate.time, "process_time", lambda: next(clock))
    trace = Workers(parabola(), optuna.samplers.RandomSampler(0), 2, 6, seed=0).run()
    assert (trace.cpu, trace.largest) == (12, 1)  # an ask and a result each


def test_what_a_trace_knows_at_a_time():
    trace = Trace((Step(2, 1.0, 0.1, 5.0), Step(4, 3.0, 0.2, 1.0)), 6, 9.0, 0.5, 0.1)
    assert [trace.at("trials", n) for n in (1, 2, 3, 4, 6)] == [math.inf, 5.0, 5.0, 1.0, 1.0]
    assert [trace.at("seconds", at) for at in (0.5, 1.0, 8.0)] == [math.inf, 5.0, 1.0]
    assert [trace.at("cpu", at) for at in (0.05, 0.15, 30.0)] == [math.inf, 5.0, 1.0]


def test_with_noise_the_trial_counts_that_looks_best():
    found = Incumbent(parabola())
    assert found.add(Outcome((3.0,)), told=1.0) == 3.0
    assert found.add(Outcome((2.0,)), told=1.5) == 3.0
    assert found.add(Outcome((4.0,)), told=0.5) == 4.0


def test_what_breaks_a_constraint_is_not_found():
    found = Incumbent(parabola())
    assert found.add(Outcome((1.0,), constraints=(-1.0, 0.1)), told=1.0) == math.inf
    assert found.add(Outcome((2.0,), constraints=(-1.0, 0.0)), told=2.0) == 2.0


def test_with_several_objectives_it_is_the_hypervolume():
    found = Incumbent(parabola(corner=(4.0, 4.0)))
    assert found.add(Outcome((2.0, 2.0)), told=2.0) == -4.0
    assert found.add(Outcome((3.0, 3.0)), told=3.0) == -4.0  # dominated
    assert found.add(Outcome((1.0, 3.0)), told=1.0) == -5.0
    assert found.add(Outcome((1.0, 1.0)), told=1.0) == -9.0
    assert found.add(Outcome((5.0, 0.0)), told=5.0) == -9.0  # beyond the corner


def test_samplers_see_constraints_several_values_and_only_active_parameters():
    for name in ("gramacy", "branin-currin", "conditional-layers"):
        problem = problems.make(name)
        sampler = peers.peer("tpe").make(Setting(problem, 0, 4, 20))
        workers = Workers(problem, sampler, 4, 20, seed=0)
        workers.run()
        for trial in workers.study.trials:
            expected = problem.evaluate(trial.params)
            assert tuple(trial.values) == expected.values
            assert tuple(trial.constraints.values()) == expected.constraints
            assert list(trial.params) == list(problem.space.walk(lambda each, kind, known=trial.params: known[each]))


class Scripted(Outside):
    """Asks for places in order, and keeps what it is told."""

    def __init__(self, setting: Setting):
        super().__init__(setting)
        self.asked, self.heard = 0, []

    def ask(self) -> Params:
        self.asked += 1
        return {name: kind.low for name, kind in self.distributions.items()} | {"x": np.float64(self.asked / 10)}

    def tell(self, params: Params, value: float | None) -> None:
        self.heard.append((params["x"], value, self.penalty(value)))


def test_a_library_hears_of_failures_as_the_worst_value_so_far():
    def evaluate(params: Params) -> Outcome:
        return FAILED if params["x"] > 0.35 else Outcome((1 - params["x"],), seconds=1.0)

    problem = parabola(evaluate=evaluate)
    sampler = Scripted(Setting(problem, 0, 1, 5))
    Workers(problem, sampler, 1, 5, seed=0).run()
    worst = 0.9
    assert sampler.heard == [(0.1, 0.9, 0.9), (0.2, 0.8, 0.8), (0.3, 0.7, 0.7), (0.4, None, worst), (0.5, None, worst)]
    assert not sampler.open


def test_a_cube_gives_each_configuration_back():
    kinds = {
        "f": FloatDistribution(1e-3, 10.0, log=True),
        "i": IntDistribution(2, 8, step=3),
        "c": CategoricalDistribution(["a", "b", "c"]),
    }
    cube = Cube(kinds)
    assert cube.size == 5
    for params in ({"f": 0.5, "i": 5, "c": "b"}, {"f": 1e-3, "i": 8, "c": "a"}):
        back = cube.params(cube.point(params))
        assert back["f"] == pytest.approx(params["f"])
        assert (back["i"], back["c"]) == (params["i"], params["c"])
    assert cube.point({"f": 1e-3, "i": 2, "c": "c"}).tolist() == [0.0, pytest.approx(1 / 6), 0.0, 0.0, 1.0]
    assert cube.params(np.array([2.0, -1.0, 0.1, 0.2, 0.3])) == {"f": pytest.approx(10.0), "i": 2, "c": "c"}


def test_samplers_are_found_by_name_with_arguments():
    assert peers.families()[0] == "tpe"
    problem = parabola()
    made = peers.peer("tpe+n_startup_trials=3+parallel=crowd").make(Setting(problem, 0, 4, 20))
    assert type(made).__name__ == "TPESampler"
    assert made._n_startup_trials == 3  # type: ignore[attr-defined]
    with pytest.raises(Exception, match="tpee"):
        peers.peer("tpee")


def test_a_sampler_that_does_not_suit_a_problem_is_left_out_with_a_sentence():
    several, soft = problems.make("zdt1"), problems.make("gramacy")
    assert "several objectives" in (peers.unsuited("deephyper", several, 100) or "")
    assert "soft constraints" in (peers.unsuited("cmaes", soft, 100) or "")
    assert "more than 700 trials" in (peers.unsuited("hebo", parabola(), 5120) or "")
    assert peers.unsuited("tpe", several, 5120) is None
