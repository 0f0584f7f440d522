"""Studies of population-based training that cannot work are refused, in one sentence each."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilotune.errors import UserError
from pilotune.pipeline.studyfile import load_study_file
from pilotune.pipeline.studyfile.plan import plan, render_plan

SAVES = "def objective(trial):\n    (trial.checkpoint_dir / 'x').write_text('')\n    return 1.0\n"
STUDY = "name: s\ndirection: minimize\nspace: {lr: {float: [0.1, 1]}, width: {int: [1, 9]}}\n"


def load(folder: Path, rest: str, *, objective: str = SAVES, study: str = STUDY):
    (folder / "train.py").write_text(objective)
    text = study + rest
    if "command" not in text:
        text += "\nobjective: train.py:objective\n"
    (folder / "study.yaml").write_text(text)
    return load_study_file(folder / "study.yaml")


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("sampler: pbt", "pbt needs `interval`, the steps that a member trains until it may be"),
        ("sampler: {name: pbt, interval: 0}", "sampler.interval: must be at least 1, but is 0"),
        ("sampler: {name: pbt, interval: 1.5}", "must be a whole number"),
        ("sampler: {name: pbt, interval: 1, population: 1}", "must be at least 2, but is 1"),
        ("sampler: {name: pbt, interval: 1, quantile: 0.9}", "sampler.quantile: must be above 0 and at most 0.5, but"),
        ("sampler: {name: pbt, interval: 1, perturb: lr}", "must be a list, but is 'lr'"),
        ("sampler: {name: pbt, interval: 1, perturb: [lr, lr]}", "names 'lr' twice"),
        ("sampler: {name: pbt, interval: 1, perturb: [lt]}", "there is no parameter 'lt'; did you mean 'lr'?"),
        ("sampler: {name: pbt, interval: 1, perturb: []}", "an empty list would make every copy the same"),
        ("sampler: {name: pbt, interval: 9, max_resource: 9}", "sampler.max_resource: must be more than interval,"),
        ("sampler: {name: pbt, interval: 1}\npruner: median", "pbt itself ends the worst members; leave the"),
        ("sampler: {name: pbt, interval: 1}\ntrial: {repeats: 3}", "a member of pbt cannot be repeated"),
        ("sampler: {name: partial_fixed, fixed_params: {lr: 0.5}, base_sampler: {name: pbt, interval: 1}}\n"
         "budget: {trials: 9}", "pbt cannot be inside another sampler"),
    ],
)  # fmt: skip
def test_it_is_refused(rest: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, rest)
    assert words in str(caught.value)
    assert "study.yaml" in str(caught.value)


def test_two_directions_are_refused(tmp_path: Path) -> None:
    study = STUDY.replace("direction: minimize", "directions: [minimize, minimize]")
    with pytest.raises(UserError, match="pbt works on one direction"):
        load(tmp_path, "sampler: {name: pbt, interval: 1}", study=study)


def test_a_space_that_the_objective_defines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the sampler pbt needs a `space:`"):
        load(tmp_path, "sampler: {name: pbt, interval: 1}", study="name: s\ndirection: minimize\n")


PBT = "sampler: {name: pbt, interval: 1, max_resource: 9}\n"


@pytest.mark.parametrize(
    ("objective", "refused"),
    [
        ("def objective(trial):\n    return trial.params['lr']\n", True),
        ("def objective(trial):\n    trial.report(1, 1)\n    return len([trial])\n", True),
        ("import train_loop\ndef objective(trial):\n    return train_loop.train(trial)\n", False),
        ("import os\ndef objective(trial):\n    os.environ['PILOTUNE_CHECKPOINT_DIR']\n    return 1.0\n", False),
        ("class objective:\n    def __call__(self, trial):\n        return 1.0\n", False),
        ("from helper import save\ndef objective(trial):\n    save()\n    return 1.0\n", False),
    ],
)
def test_an_objective_that_saves_nothing_is_refused(objective: str, refused: bool, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("def save():\n    'Write a checkpoint.'\n")
    if not refused:
        load(tmp_path, PBT, objective=objective)
        return
    with pytest.raises(UserError, match=r"pbt goes on from checkpoints, and train.py saves none: save into trial.ch"):
        load(tmp_path, PBT, objective=objective)


@pytest.mark.parametrize(
    ("command", "script", "refused"),
    [
        ("python3 train.py {lr}", "print(1)", True),
        ("python3 {study_dir}/train.py {lr}", "print(1)", True),
        ("python3 train.py {lr} {checkpoint_dir}", "print(1)", False),
        ("python3 train.py {lr}", "import os; os.environ['PILOTUNE_CHECKPOINT_DIR']", False),
        ("some-program {lr}", "print(1)", False),
    ],
)
def test_a_command_that_saves_nothing_is_refused(command: str, script: str, refused: bool, tmp_path: Path) -> None:
    rest = f"{PBT}command: {{run: '{command}'}}"
    if not refused:
        load(tmp_path, rest, objective=script)
        return
    with pytest.raises(UserError, match="the command's script saves none"):
        load(tmp_path, rest, objective=script)


def test_the_plan_says_how_the_population_is_trained(tmp_path: Path) -> None:
    found = load(tmp_path, "sampler: {name: pbt, interval: 2, perturb: [lr]}\nbudget: {trials: 16}")
    text = render_plan(plan(found))
    assert (
        "population 16 members; each pauses after every 2 steps, and goes on as a changed copy of one of the best 4 "
        "where it is among the worst 4; a copy changes lr\n"
    ) in text
    assert "budget     16 trials, until every member was trained to its end, stops after" in text
    assert "the budget of 16 trials leaves none for copies" in text
    assert "without sampler.max_resource, the steps of a whole training, members pause at its end, too" in text


def test_no_budget_is_needed(tmp_path: Path) -> None:
    assert load(tmp_path, PBT).budget.trials is None
