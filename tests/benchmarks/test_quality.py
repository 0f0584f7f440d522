"""The benchmark of search quality at its smallest size: what its problems give, its workers' clock, its tables."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from benchmarks.quality import problems, results, simulate
from benchmarks.quality.problems import Outcome, Problem

ROOT = Path(__file__).resolve().parents[2]
needs_data = pytest.mark.skipif(
    not problems.data_folder().is_dir(), reason=f"the benchmark's data are not here ({problems.data_folder()})"
)


def parabola(**options: object) -> Problem:
    def evaluate(params: dict[str, float]) -> Outcome:
        return Outcome(params["x"] ** 2)

    return Problem("parabola", {"x": FloatDistribution(-1.0, 1.0)}, options.get("evaluate", evaluate), 0.0)  # type: ignore[arg-type]


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
    best = simulate.Workers(parabola(), sampler, workers=4, trials=12, seed=0).run()
    assert sampler.running == [0, 1, 2] + [3] * 9
    assert len(best) == 12
    assert best == sorted(best, reverse=True)


def test_trials_end_in_the_order_of_the_virtual_clock():
    def evaluate(params: dict[str, float]) -> Outcome:
        return Outcome(params["x"], seconds=params["x"] + 2.0)

    workers = simulate.Workers(parabola(evaluate=evaluate), optuna.samplers.RandomSampler(0), 5, 5, seed=0)
    best = workers.run()
    assert best == [min(best[0], value) for value in best]  # the least ends first
    assert best[0] == min(trial.value for trial in workers.study.trials)


def test_a_failed_configuration_is_a_failed_trial_and_no_result():
    def evaluate(params: dict[str, float]) -> Outcome:
        return Outcome(None if params["x"] < 0 else params["x"])

    workers = simulate.Workers(parabola(evaluate=evaluate), optuna.samplers.RandomSampler(0), 2, 20, seed=0)
    workers.run()
    for trial in workers.study.trials:
        assert trial.state.name == ("FAIL" if trial.params["x"] < 0 else "COMPLETE")


def test_learning_curves_are_stopped_early():
    def evaluate(params: dict[str, float]) -> Outcome:
        return Outcome(params["x"], curve=tuple((step, params["x"]) for step in (1, 3, 9)))

    problem = Problem("curves", {"x": FloatDistribution(0.0, 1.0)}, evaluate, 0.0, steps=9)
    workers = simulate.Workers(problem, optuna.samplers.RandomSampler(0), 4, 60, seed=0)
    workers.run()
    states = [trial.state.name for trial in workers.study.trials]
    assert set(states) == {"COMPLETE", "PRUNED"}
    assert all(trial.last_step == 9 for trial in workers.study.trials if trial.state.name == "COMPLETE")


def test_a_seed_gives_the_same_regrets_again():
    def once() -> list[float]:
        return simulate.regrets(parabola(), optuna.samplers.TPESampler(seed=3), 8, 40, seed=3)

    assert once() == once()


def test_regret_is_one_at_what_a_hundred_random_draws_find():
    problem = parabola()
    draws = np.random.default_rng(1).uniform(-1, 1, (2000, 100)) ** 2
    assert problem.regret(float(np.median(draws.min(axis=1)))) == pytest.approx(1.0, rel=0.25)
    assert problem.regret(0.0) == 0.0
    assert problem.regret(math.inf) == math.inf


def test_random_values_lie_in_their_range():
    rng = np.random.default_rng(0)
    assert {problems.drawn(IntDistribution(1, 3), rng) for _ in range(99)} == {1, 2, 3}
    assert {problems.drawn(CategoricalDistribution(["a", "b"]), rng) for _ in range(99)} == {"a", "b"}
    assert all(1e-3 <= problems.drawn(FloatDistribution(1e-3, 1.0, log=True), rng) <= 1.0 for _ in range(99))


def test_equal_samplers_share_places():
    assert results.places(np.array([[0.0], [1.0], [0.0]])).ravel().tolist() == [1.5, 3.0, 1.5]


def test_what_is_missing_is_said_and_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PILOTUNE_DATA", str(tmp_path / "none"))
    assert "set PILOTUNE_DATA" in (problems.missing("nas201") or "")


@needs_data
@pytest.mark.parametrize("name", [name for name in problems.MAKERS if not name.startswith("lcbench")])
def test_random_draws_never_beat_the_optimum(name: str):
    problem = problems.make(name)
    rng = np.random.default_rng(0)
    found = [problem.evaluate({n: problems.drawn(kind, rng) for n, kind in problem.space.items()}) for _ in range(300)]
    values = [outcome.value for outcome in found if outcome.value is not None]
    assert values
    assert min(values) >= problem.optimum
    assert problem.optimum < problem.reference < float(np.median(values))


@needs_data
def test_illegal_kernels_fail():
    problem = problems.make("kernel-a100")
    rng = np.random.default_rng(0)
    found = [problem.evaluate({n: problems.drawn(kind, rng) for n, kind in problem.space.items()}) for _ in range(300)]
    assert 0.3 < sum(outcome.value is None for outcome in found) / 300 < 0.8
    assert all(outcome.seconds for outcome in found)


@needs_data
def test_one_command_prints_the_tables_and_runs_add_up(tmp_path: Path):
    command = [sys.executable, str(ROOT / "benchmarks" / "quality"), "--seeds", "2", "--workers", "4", "--cache"]
    command += [str(tmp_path), "--problems", "nas201,taskset-gru", "--samplers", "random,optuna"]
    first = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert first.returncode == 0, first.stderr
    assert "4 workers, 20 trials: median regret over 2 seeds" in first.stdout
    assert "mean rank" in first.stdout
    kept = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert len(kept) == 4
    again = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert again.stdout == first.stdout
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == kept


def test_an_unknown_name_is_refused():
    command = [sys.executable, str(ROOT / "benchmarks" / "quality"), "--problems", "nothing"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 1
    assert "nothing is unknown; known are" in done.stderr
