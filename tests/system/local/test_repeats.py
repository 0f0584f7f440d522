"""Trials that are repeated, on real workers: what dies costs one repetition, and means are those of values and
constraints."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from pathlib import Path

import pytest
from optuna.trial import TrialState

from pilotune.pipeline.campaign.flight import seed_of
from pilotune.pipeline.noise import means, repetitions_of

from ...support.local import NOTE, Here, ended, until

pytestmark = pytest.mark.real

NOISY = (
    NOTE
    + """
import random, time

def objective(trial):
    saved = trial.checkpoint_dir / "begun"
    note(trial.number, trial.attempt, trial.repeat, trial.rng_seed, int(saved.exists()))
    saved.write_text("yes")
    while trial.repeat == 1 and not (STUDY / "go").exists():
        time.sleep(0.02)
    print("repetition", trial.repeat)
    trial.report(float(trial.repeat), step=1)
    return trial.params["x"] + random.random()
"""
)
STUDY = """
direction: minimize
space: {x: {float: [0, 1]}}
sampler: {name: random, seed: 5}
budget: {trials: 3}
trial: {repeats: 3}
"""


def test_a_driver_that_is_killed_between_repetitions_loses_at_most_those_that_run(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.study("noisy", NOISY, STUDY)
    with ended(here.start("run", "noisy.yaml", "--set", "pools.local.workers_per_node=2")) as process:
        until(lambda: len(here.lines("notes")) >= 4, "two trials are in their second repetition")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    here.write("go", "")
    assert here.run("resume", "noisy").returncode == 0
    trials = here.optuna("noisy").trials
    notes = [tuple(map(int, line.split(":"))) for line in here.lines("notes")]
    for trial in trials:
        found = repetitions_of(trial)
        assert (trial.state, trial.values, len(found)) == (TrialState.COMPLETE, means(found), 3)
        assert [each.seed for each in found] == [seed_of(5, "noisy", trial.number, place) for place in range(3)]
        assert trial.intermediate_values == {1: 0.0}, "the reports are those of the first repetition"
        began = defaultdict(list)
        for number, attempt, repeat, seed, saved in notes:
            if number == trial.number:
                began[repeat].append((attempt, seed, saved))
        for place, each in enumerate(found):
            assert {seed for _, seed, _ in began[place]} == {each.seed}
            assert began[place][0][2] == 0, "each repetition begins with an empty checkpoint folder"
        output = Path(trial.user_attrs["pilotune:directory"], f"stdout-{found[2].attempt}.txt")
        assert output.read_text() == "repetition 2\n"
    assert len(notes) <= 9 + 2
    assert here.run("verify", "noisy").stdout.splitlines()[-1] == "No problems found."


TWO_OBJECTIVES = """
import random

def objective(trial):
    x, y = trial.params["x"], trial.params["y"]
    trial.set_constraint("sum", x + y - 1.0 + 0.1 * random.random())
    return x + 0.1 * random.random(), (1.0 - x) * (1.0 + y) + 0.1 * random.random()
"""
TWO = """
directions: [minimize, minimize]
metrics: [cost, loss]
space: {x: {float: [0, 1]}, y: {float: [0, 1]}}
sampler: {name: NAME, seed: 1}
budget: {trials: 14}
trial: {repeats: {least: 1, most: 2}}
"""


@pytest.mark.parametrize("name", ["gp", "tpe", "nsgaii", "nsgaiii"])
def test_several_objectives_and_soft_constraints_are_means_with_each_sampler(tmp_path: Path, name: str) -> None:
    here = Here(tmp_path)
    here.study("two", TWO_OBJECTIVES, TWO.replace("NAME", name))
    here.run("run", "two.yaml", "--set", "pools.local.workers_per_node=2")
    trials = here.optuna("two").trials
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    for trial in trials:
        found = repetitions_of(trial)
        assert trial.values == means(found)
        amounts = [each.constraints["constraints:sum"] for each in found]
        assert trial.constraints == {"sum": pytest.approx(sum(amounts) / len(amounts))}
    assert {len(repetitions_of(trial)) for trial in trials} == {1, 2}
    front = {row["number"] for row in here.json("best", "two", "--json")["best"]}
    assert front == {trial.number for trial in here.optuna("two").best_trials}
    assert all(trials[number].constraints["sum"] <= 0.0 for number in front)
    assert here.run("verify", "two").stdout.splitlines()[-1] == "No problems found."


COMMAND = """
command:
  run: 'echo value={seed}.{repeat} $PILOTUNE_SEED $PILOTUNE_REPEAT'
  reports: {stdout: "value=(?P<value>\\\\S+)"}
  shell: true
direction: maximize
space: {x: {float: [0, 1]}}
sampler: random
budget: {trials: 1}
trial: {repeats: 2}
"""


def test_a_command_gets_the_repetition_and_its_seed(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.write("asked.yaml", "name: asked" + COMMAND)
    here.run("run", "asked.yaml")
    (trial,) = here.optuna("asked").trials
    found = repetitions_of(trial)
    assert [each.values for each in found] == [(each.seed + place / 10,) for place, each in enumerate(found)]
    output = Path(trial.user_attrs["pilotune:directory"], "stdout-2.txt").read_text()
    assert output == f"value={found[1].seed}.1 {found[1].seed} 1\n"
