"""The user's own classes and functions in a whole study: objective, sampler, pruner, callbacks; a driver that dies."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from optuna.trial import TrialState

from pilotune.pipeline.attributes import details_of

from ...support.local import Here, end_of, until

pytestmark = pytest.mark.real

PARTS = '''
import os

import numpy as np
import optuna


class SimulatedAnnealing(optuna.samplers.BaseSampler):
    """In the shape of the example in Optuna's tutorial: it looks at the trial before the one that it samples."""

    def __init__(self, temperature=100):
        self._rng = np.random.RandomState(0)
        self._temperature = temperature
        self._current = None

    def infer_relative_search_space(self, study, trial):
        return optuna.search_space.intersection_search_space(study.get_trials(deepcopy=False))

    def sample_relative(self, study, trial, search_space):
        if search_space == {}:
            return {}
        before = study.trials[-2]
        if before.value is None:
            assert before.state in (optuna.trial.TrialState.FAIL, optuna.trial.TrialState.PRUNED), before.state
        elif self._current is None or before.value <= self._current.value or self._jumps(before):
            self._current = before
        self._temperature *= 0.9
        if self._current is None:
            return {}
        values = {}
        for name, distribution in search_space.items():
            width = 0.1 * (distribution.high - distribution.low)
            low = max(self._current.params[name] - width, distribution.low)
            values[name] = self._rng.uniform(low, min(self._current.params[name] + width, distribution.high))
        return values

    def _jumps(self, before):
        return self._rng.uniform() < np.exp((self._current.value - before.value) / self._temperature)

    def sample_independent(self, study, trial, name, distribution):
        return optuna.samplers.RandomSampler(seed=1).sample_independent(study, trial, name, distribution)


class Above(optuna.pruners.BasePruner):
    def __init__(self, limit: float):
        self.limit = limit

    def prune(self, study, trial):
        assert isinstance(study, optuna.Study) and isinstance(trial, optuna.trial.FrozenTrial)
        return trial.intermediate_values[trial.last_step] > self.limit


class Objective:
    def __init__(self, low, high):
        self.low, self.high, self.calls = low, high, 0

    def __call__(self, trial):
        self.calls += 1
        assert self.calls == 1, "each attempt has an instance of its own"
        x = trial.suggest_float("x", self.low, self.high)
        y = trial.suggest_float("y", self.low, self.high)
        trial.report(100.0 if trial.number == 2 else x, 0)
        if trial.should_prune():
            raise optuna.TrialPruned
        if trial.number == 3:
            raise RuntimeError("the third")
        return x**2 + y


def note(study, trial):
    print("noted", trial.number)
    study.set_user_attr(f"noted {trial.number}", [trial.state.name, os.getpid()])


def odd(study, trial):
    raise LookupError("always")


class StopAfter:
    def __init__(self, number):
        self.number = number

    def __call__(self, study, trial):
        if trial.number == self.number:
            study.stop()


def hangs(study, trial):
    study.set_user_attr("called", study.user_attrs.get("called", []) + [trial.number])
    with open("begun", "a") as file:
        file.write(f"{trial.number}\\n")
    if trial.number == 1 and not os.path.exists("mended"):
        import time
        time.sleep(600)
'''

OWN = """
name: own
objective: parts.py:Objective
objective_args: {low: -5.0, high: 5.0}
direction: minimize
sampler: {name: "parts.py:SimulatedAnnealing", temperature: 100}
pruner: {name: "parts.py:Above", limit: 50}
callbacks: [parts.py:note, parts.py:odd, {name: "parts.py:StopAfter", number: 7}]
budget: {trials: 40}
"""

DIES = """
name: dies
objective: parts.py:Objective
objective_args: {low: 0.0, high: 1.0}
direction: minimize
sampler: random
callbacks: [parts.py:hangs]
budget: {trials: 2}
"""
ONE_WORKER = ("--set", "pools.local.workers_per_node=1")


@pytest.fixture
def here(tmp_path: Path) -> Here:
    here = Here(tmp_path)
    here.write("parts.py", PARTS)
    here.write("own.yaml", OWN)
    here.write("dies.yaml", DIES)
    return here


def test_everything_of_the_users_own_works_in_one_study(here: Here) -> None:
    run = here.json("run", "own.yaml", *ONE_WORKER)
    study = here.optuna("own")
    states = [trial.state for trial in study.trials]
    assert states[2:4] == [TrialState.PRUNED, TrialState.FAIL]
    assert details_of(study.trials[2])["rung"] == 0
    assert 8 <= len(states) <= 9, "trials that run at the end of a study go on"
    noted = {int(key.removeprefix("noted ")): value for key, value in study.user_attrs.items() if "noted" in key}
    assert {number: value[0] for number, value in noted.items()} == dict(enumerate(state.name for state in states))
    assert {value[1] for value in noted.values()} == {run["campaign"]["pid"]}, "in the driver"
    assert run["campaign"]["code"] == 0
    assert run["campaign"]["reason"] == "the callback parts.py:StopAfter stopped the study after trial 7"
    (warning,) = run["campaign"]["warnings"]
    assert warning.startswith(f"the callback parts.py:odd failed {len(states)} times, at last after trial ")
    assert "LookupError: always (" in warning
    assert f"{here.folder}/parts.py:" in warning
    moves = [abs(now.params["x"] - then.params["x"]) for then, now in zip(study.trials, study.trials[1:], strict=False)]
    assert min(moves) > 0, "it samples anew"
    again = here.json("resume", "own", *ONE_WORKER, "--trials", "10")
    assert again["summary"]["total"] == 10


def test_a_callback_that_had_not_returned_when_its_driver_died_is_called_again(here: Here) -> None:
    process = here.start("run", "dies.yaml", *ONE_WORKER)
    until(lambda: "1\n" in begun(here), "the callback of trial 1 runs")
    os.kill(process.pid, signal.SIGKILL)
    end_of(process, -signal.SIGKILL)
    here.write("mended", "")
    resumed = here.json("resume", "dies", *ONE_WORKER)
    assert resumed["summary"]["complete"] == 2
    assert begun(here) == ["0\n", "1\n", "1\n"]
    here.json("resume", "dies", *ONE_WORKER)
    assert begun(here) == ["0\n", "1\n", "1\n"], "nothing is due any more"


def begun(here: Here) -> list[str]:
    path = here.folder / "begun"
    return path.read_text().splitlines(keepends=True) if path.exists() else []
