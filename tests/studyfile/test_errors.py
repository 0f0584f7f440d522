"""Every mistake in a study file is one sentence with file, line and key."""

import textwrap

import pytest

from pilotune.errors import UserError
from pilotune.pipeline.studyfile import load_study_file

BASE = """\
name: digits
objective: train.py:train
direction: maximize
space:
  lr: {float: [1e-5, 0.1], log: true}
  layers: {int: [1, 4]}
  optimizer: {choice: [sgd, adamw]}
  momentum: {float: [0.0, 0.99], when: {optimizer: sgd}}
  epochs: 27
budget: {trials: 10}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train.py").write_text("import os\n\ndef train(trial):\n    return 1.0\n\ndef validate(trial): ...\n")
    (tmp_path / "broken.py").write_text("x = 1\ndef train(:\n")
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')\n")
    (package / "module.py").write_text("def train(trial): ...\n")
    return tmp_path


def message(folder, text, *overrides):
    path = folder / "study.yaml"
    path.write_text(textwrap.dedent(text))
    with pytest.raises(UserError) as caught:
        load_study_file(path, overrides)
    assert caught.value.exit_code == 2
    return str(caught.value).replace(f"{folder}/", "")


# (the line of BASE to change, what to put there, the whole message)
CHANGES = [
    # keys and types
    ("name: digits", "nmae: digits", "study.yaml:1: nmae: unknown key; did you mean 'name'?"),
    ("name: digits", "name: a/b", "study.yaml:1: name: must be 1 to 128 letters, digits, '.', '_', '+' or '-', "
     "beginning with a letter or digit, but is 'a/b'"),
    ("name: digits", "name: [a]", "study.yaml:1: name: must be 1 to 128 letters, digits, '.', '_', '+' or '-', "
     "beginning with a letter or digit, but is ['a']"),
    ("direction: maximize", "direction: up", "study.yaml:3: direction: must be minimize or maximize, but is 'up'"),
    ("direction: maximize", "metrics: [a]", "study.yaml:1: direction: is missing; give minimize or maximize"),
    ("direction: maximize", "directions: [maximize]\ndirection: maximize",
     "study.yaml:3: directions: a study has a direction or directions, not both"),
    ("direction: maximize", "directions: []", "study.yaml:3: directions: must be a list of minimize and "
     "maximize, but is []"),
    ("direction: maximize", "direction: maximize\nmetrics: [a, b]",
     "study.yaml:4: metrics: names 2 values, but the study has 1 direction; give one name for each"),
    ("direction: maximize", "directions: [maximize, minimize]\nmetrics: [a, a]",
     "study.yaml:4: metrics: names a value twice"),
    # budget
    ("budget: {trials: 10}", "", "study.yaml:1: budget: no stopping condition: set trials, time or target, as in "
     "budget: {trials: 100}"),
    ("budget: {trials: 10}", "budget: {failures: 3}",
     "study.yaml:10: budget: no stopping condition: set trials, time or target, as in budget: {trials: 100}"),
    ("budget: {trials: 10}", "budget: {trials: ten}",
     "study.yaml:10: budget.trials: must be a whole number of at least 1, but is 'ten'"),
    ("budget: {trials: 10}", "budget:\n  trials: 0",
     "study.yaml:11: budget.trials: must be a whole number of at least 1, but is 0"),
    ("budget: {trials: 10}", "budget: {trails: 10}", "study.yaml:10: budget.trails: unknown key; did you mean "
     "'trials'?"),
    ("budget: {trials: 10}", "budget: 10", "study.yaml:10: budget: must be a mapping (key: value), but is 10"),
    ("budget: {trials: 10}", "budget: {time: soon}", "study.yaml:10: budget.time: must be a duration above 0, "
     "as in 90s, "
     "30m, 1h30m or 00:30:00, but is 'soon'"),
    ("budget: {trials: 10}", "budget: {target: .nan}", "study.yaml:10: budget.target: must be a number, but is nan"),
    ("budget: {trials: 10}", "trial: {isolate: perhaps}\nbudget: {trials: 10}",
     "study.yaml:10: trial.isolate: must be true or false, but is 'perhaps'"),
    *(
        ("budget: {trials: 10}", f"trial: {{repeats: {value}}}\nbudget: {{trials: 10}}",
         "study.yaml:10: trial.repeats: must be a whole number from 1 to 100, or a mapping as in {least: 1, most: 5}, "
         f"but is {shown}")
        for value, shown in (("0", "0"), ("-1", "-1"), ("1.5", "1.5"), ("often", "'often'"), ("101", "101"),
                             ("true", "true"), ("[3]", "[3]"))
    ),
    *(
        ("budget: {trials: 10}", f"trial: {{repeats: {value}}}\nbudget: {{trials: 10}}",
         f"study.yaml:10: trial.repeats: {sentence}")
        for value, sentence in (
            ("{least: 4, most: 2}", "must not have a least above most, but is {least: 4, most: 2}"),
            ("{least: 2}", "must say most, as in {least: 1, most: 5}"),
            ("{most: 0}", "most must be a whole number from 1 to 100, but is 0"),
            ("{least: 1.5, most: 2}", "least must be a whole number from 1 to 100, but is 1.5"),
            ("{max: 3}", "has only the keys least and most, as in {least: 1, most: 5}, not 'max'"),
        )
    ),
    ("budget: {trials: 10}", "trial: {memory: lots}\nbudget: {trials: 10}",
     "study.yaml:10: trial.memory: must be a size, as in 512MB, 2GB or 2GiB, but is 'lots'"),
    ("budget: {trials: 10}", "trial: {expected: long}\nbudget: {trials: 10}",
     "study.yaml:10: trial.expected: must be a duration above 0, as in 90s, 30m, 1h30m or 00:30:00, but is 'long'"),
    ("budget: {trials: 10}", "trial: {yield_before: 0}\nbudget: {trials: 10}",
     "study.yaml:10: trial.yield_before: must be a duration above 0, as in 90s, 30m, 1h30m or 00:30:00, but is 0"),
    *(
        ("budget: {trials: 10}", f"trial: {trial}\nbudget: {{trials: 10}}", f"study.yaml:10: trial.{sentence}")
        for trial, sentence in (
            ("{ranks: 3, nodes: 2}", "ranks: must be a multiple of nodes, but is 3 on 2 nodes"),
            ("{ranks: 4, nodes: 2, ranks_per_node: 4}",
             "ranks: is 4, but 2 nodes with ranks_per_node: 4 have 8; leave one of the two out"),
            ("{ranks: 0}", "ranks: must be a whole number of at least 1, but is 0"),
            ("{ranks: 4, nodes: 2, isolate: false}",
             "isolate: must be true for a trial with ranks, since each is a process of its own"),
            ("{ranks: 4, isolate: false}",
             "isolate: must be true for a trial with ranks, since each is a process of its own"),
            ("{ranks_per_node: 1, isolate: false}",
             "isolate: must be true for a trial with ranks, since each is a process of its own"),
            ("{nodes: 2, launcher: none}",
             "launcher: must be a launcher where a trial has 2 nodes, but is none; leave it out for the site's"),
            ("{launcher: mpirun}", "launcher: must be none, srun, mpiexec or aprun, but is 'mpirun'"),
            ("{launcher: srun}", "launcher: starts ranks, and the trial has none: say how many with trial.ranks, or "
             "leave it out"),
            ("{rank_timeout: never}", "rank_timeout: must be a duration above 0, as in 90s, 30m, 1h30m or 00:30:00, "
             "but is 'never'"),
        )
    ),
    # objective
    ("objective: train.py:train", "", "study.yaml:1: objective: is missing; give file.py:function, or a `command`"),
    ("objective: train.py:train", "objective: train.py",
     "study.yaml:2: objective: must be file.py:function or package.module:function, but is 'train.py'"),
    ("objective: train.py:train", "objective: trian.py:train",
     "study.yaml:2: objective: there is no file trian.py; did you mean 'train.py'?"),
    ("objective: train.py:train", "objective: train.py:trian",
     "study.yaml:2: objective: train.py has no function 'trian'; did you mean 'train'?"),
    ("objective: train.py:train", "objective: broken.py:train",
     "study.yaml:2: objective: broken.py:2 is not valid Python: invalid syntax"),
    ("objective: train.py:train", "objective: pack.module:fit",
     "study.yaml:2: objective: module.py has no function 'fit'; known are train"),
    ("objective: train.py:train", "objective: train.py:train\ncommand: run {lr}",
     "study.yaml:3: command: a study has an objective or a command, not both"),
    # command
    ("objective: train.py:train", "command: {run: run, report: file}",
     "study.yaml:2: command.report: unknown key; did you mean 'reports'?"),
    ("objective: train.py:train", "command: {reports: file}", "study.yaml:2: command.run: this key is required"),
    ("objective: train.py:train", "command: {run: run, reports: {stdout: 'acc=(.*)'}}",
     "study.yaml:2: command.reports: needs a group (?P<value>...), may have a group (?P<step>...), "
     "and no other named group"),
    ("objective: train.py:train", "command: {run: run, reports: {stdout: '('}}",
     "study.yaml:2: command.reports: is not a regular expression: missing ), unterminated subpattern at position 0"),
    # samplers and pruners
    ("budget:", "sampler: tpi\nbudget:", "study.yaml:10: sampler: there is no sampler 'tpi'; did you mean 'tpe'?"),
    ("budget:", "pruner: {max_resource: 1}\nbudget:",
     "study.yaml:10: pruner: must have a name, as in {name: median, n_startup_trials: 5}"),
    ("budget:", "sampler: {name: tpe, seeed: 1}\nbudget:",
     "study.yaml:10: sampler.seeed: tpe has no argument 'seeed'; did you mean 'seed'?"),
    ("budget:", "sampler: {name: tpe, seed: one}\nbudget:",
     "study.yaml:10: sampler.seed: must be a whole number, but is 'one'"),
    ("budget:", "sampler: grid\nbudget:", "study.yaml:10: sampler: a grid needs a finite space, and 'lr' is "
     "continuous; "
     "give it a step, or its values here: search_space: {lr: [...]}"),
    ("budget:", "sampler: {name: grid, search_space: {lr: [7], momentum: [0]}}\nbudget:",
     "study.yaml:10: sampler.search_space.lr: 7 is outside the parameter's range"),
    ("budget:", "sampler: bruteforce\nbudget:",
     "study.yaml:10: sampler: the sampler bruteforce needs a finite space, and 'lr' is continuous; give it a step"),
    ("budget:", "pruner: hyperbnd\nbudget:", "study.yaml:10: pruner: there is no pruner 'hyperbnd'; did you "
     "mean 'hyperband'?"),
    ("budget:", "pruner: hyperband\nbudget:", "study.yaml:10: pruner.max_resource: hyperband needs "
     "max_resource, the steps of a "
     "full trial (its epochs, say), as in max_resource: 27"),
    ("budget:", "pruner: {name: hyperband, max_resource: 3, min_resource: 9}\nbudget:",
     "study.yaml:10: pruner.max_resource: must be at least min_resource (9), but is 3"),
    ("budget:", "pruner: {name: hyperband, max_resource: 9, reduction_factor: 1}\nbudget:",
     "study.yaml:10: pruner.reduction_factor: must be at least 2, but is 1"),
    ("budget:", "pruner: percentile\nbudget:", "study.yaml:10: pruner.percentile: the pruner percentile needs "
     "this argument"),
    ("budget:", "pruner: {name: percentile, percentile: 120}\nbudget:",
     "study.yaml:10: pruner.percentile: must be from 0 to 100, but is 120"),
    ("budget:", "trial: {memory: 1}\nbudget:",
     "study.yaml:10: trial.memory: must be at least 1MB, but is 1; a number without a unit counts bytes"),
    ("budget:", "trial: {cores: [true, null]}\nbudget:",
     "study.yaml:10: trial.cores: must be a whole number of at least 1, but is [true, null]"),
    # points to start from
    ("budget:", "start_from: {enqueue: [{lr: 0.01}, {lt: 1}]}\nbudget:",
     "study.yaml:10: start_from.enqueue[1].lt: unknown parameter; did you mean 'lr'?"),
    ("budget:", "start_from: {enqueue: [{lr: 5}]}\nbudget:",
     "study.yaml:10: start_from.enqueue[0].lr: 5 is not one of float [1e-05, 0.1] log"),
    ("budget:", "start_from: {enqueue: [{epochs: 5}]}\nbudget:",
     "study.yaml:10: start_from.enqueue[0].epochs: is a constant of the space; leave it out of the point"),
    ("budget:", "start_from: {enqueue: [{optimizer: adamw, momentum: 0.5}]}\nbudget:",
     "study.yaml:10: start_from.enqueue[0].momentum: is active only if optimizer is 'sgd', but it is "
     "'adamw'"),
    ("budget:", "start_from: {studies: [a, b, a]}\nbudget:",
     "study.yaml:10: start_from.studies[2]: 'a' is listed twice"),
    ("budget:", "start_from: {narrow: true}\nbudget:",
     "study.yaml:10: start_from.narrow: needs `studies`, whose best trials say where to search"),
    ("budget:", "sampler: {name: grid, search_space: {lr: [0.01], momentum: [0]}}\n"
     "start_from: {narrow: true, studies: [old]}\nbudget:",
     "study.yaml:11: start_from.narrow: does not go with the sampler grid, which tries every point of the space"),
    ("budget:", "start_from: {enqueue: {lr: 1}}\nbudget:",
     "study.yaml:10: start_from.enqueue: must be a list of points, as in [{lr: 0.01}], but is {lr: 1}"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "instead", "expected"), CHANGES, ids=[c[1].replace("\n", " / ") or c[0] for c in CHANGES]
)
def test_a_mistake_is_one_sentence_with_file_line_and_key(folder, line, instead, expected):
    assert line in BASE
    assert message(folder, BASE.replace(line, instead)) == expected


def test_a_missing_module_is_named(folder):
    said = message(folder, BASE.replace("train.py:train", "pack.other:train"))
    assert said.startswith("study.yaml:2: objective: there is no module 'pack.other' in ")


def test_pruning_with_several_directions_is_refused(folder):
    text = BASE.replace("direction: maximize", "directions: [maximize, minimize]") + "pruner: median\n"
    assert message(folder, text) == (
        "study.yaml:11: pruner: a study with 2 directions cannot prune; leave the pruner out, or optimize one direction"
    )


def test_a_target_with_several_directions_is_refused(folder):
    text = BASE.replace("direction: maximize", "directions: [maximize, minimize]").replace("trials: 10", "target: 1")
    assert message(folder, text) == "study.yaml:10: budget.target: a study with 2 directions cannot have a target"


def test_a_sampler_for_one_direction_is_refused_with_several(folder):
    text = BASE.replace("direction: maximize", "directions: [maximize, minimize]") + "sampler: cmaes\n"
    assert message(folder, text) == (
        "study.yaml:11: sampler: cmaes works on one direction, and this study has 2; use gp, tpe, nsgaii or nsgaiii"
    )


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("{float: [1e-5, 0.1], log: true}", "{choice: [1, 2]}", "only 'layers'"),
        (
            "{float: [1e-5, 0.1], log: true}\n  layers: {int: [1, 4]}",
            "{choice: [1, 2]}\n  layers: {int: [1, 1]}",
            "none",
        ),
    ],
)
def test_cmaes_needs_two_numbers_that_every_trial_has(folder, old, new, found):
    text = BASE.replace(old, new) + "sampler: cmaes\n"
    assert message(folder, text) == (
        "study.yaml:11: sampler: cmaes needs at least two parameters that are numbers without conditions, and this "
        f"space has {found}; use gp, tpe or random"
    )


@pytest.mark.parametrize(
    ("pruner", "found"), [("", "there is no pruner"), ("pruner: median\n", "the pruner is median")]
)
def test_bohb_needs_hyperband(folder, pruner, found):
    text = BASE + pruner + "sampler: bohb\n"
    line = text.count("\n")
    assert message(folder, text) == (
        f"study.yaml:{line}: sampler: bohb learns from the steps that hyperband lets trials reach, but {found}; "
        "add `pruner: {name: hyperband, max_resource: STEPS}`, or use tpe"
    )


@pytest.mark.parametrize(("sampler", "package"), [("optuna_gp", "torch")])
def test_a_sampler_whose_package_is_missing_names_it(folder, monkeypatch, sampler, package):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == package else found(name))
    assert message(folder, BASE + f"sampler: {sampler}\n") == (
        f"study.yaml:11: sampler: the sampler {sampler} needs the package {package}; install it: pip install {package}"
    )


def test_all_findings_of_the_schema_are_listed_in_the_order_of_lines(folder):
    text = BASE.replace("direction: maximize", "direction: up").replace("trials: 10", "trials: ten, tiem: 1h")
    assert message(folder, text).splitlines() == [
        "study.yaml:3: direction: must be minimize or maximize, but is 'up'",
        "study.yaml:10: budget.trials: must be a whole number of at least 1, but is 'ten'",
        "study.yaml:10: budget.tiem: unknown key; did you mean 'time'?",
    ]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("budget.trials=ten", "--set budget.trials: must be a whole number of at least 1, but is 'ten'"),
        ("budget.trails=5", "--set budget.trails: unknown key; did you mean 'trials'?"),
        ("space.lr={float: [2, 1]}", "--set space.lr: space.lr.float: low 2.0 is above high 1.0; write [1.0, 2.0]"),
        ("name.first=x", "--set name.first: 'name' is 'digits', which has no keys below it"),
        ("budget.trials", "--set: 'budget.trials' is not of the form key=value, as in budget.trials=10"),
        ("sampler.n_startup=5", "--set sampler.n_startup: gp has no argument 'n_startup'; did you mean "
         "'n_startup_trials'?"),
        ("budget.trials=[1", "--set budget.trials: not valid YAML: while parsing a flow sequence "
         "expected ',' or ']', but got '<stream end>'"),
    ],
)  # fmt: skip
def test_a_mistake_in_set_names_the_option(folder, setting, expected):
    assert message(folder, BASE, setting) == expected


HOURS = "must be a number of hours above 0, or a mapping of pools as in {cpu: 400, gpu: 100}, but is"


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        ("0", f"{HOURS} 0"),
        ("many", f"{HOURS} 'many'"),
        ("true", f"{HOURS} true"),
        (".inf", f"{HOURS} inf"),
        ("{cpu: -1}", "must have for cpu a number of hours above 0, but is -1"),
        ("{}", "must name a pool, as in {cpu: 400, gpu: 100}"),
        ("1.0e+300", "must be at most 1,000,000,000, but is 1e+300"),
        ("{cpu: 2.0e+9}", "must have for cpu at most 1,000,000,000, but is 2000000000.0"),
    ],
)
def test_a_budget_in_node_hours_is_a_number_or_one_for_each_pool(folder, hours, said):
    text = BASE.replace("budget: {trials: 10}", f"budget:\n  trials: 10\n  node_hours: {hours}")
    assert message(folder, text) == f"study.yaml:12: budget.node_hours: {said}"


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ("trials: 1.0e+300", "trials: must be a whole number of at most 1,000,000,000,000,000, but is " + "1000"),
        ("trials: 9\n  time: 1.0e+300", "time: must be a duration of at most 36500d, but is 1e+300"),
        ("trials: 9\ntrial:\n  memory: 1.0e+300", "trial.memory: must be a size of at most 1000PB, but is 1e+300"),
        ("trials: 9\ntrial:\n  gpus: 1.0e+300", "trial.gpus: must be at most 1,000,000,000,000,000, but is 1e+300"),
    ],
)
def test_a_number_that_can_only_be_a_mistake_is_refused_and_shortened(folder, budget, said):
    found = message(folder, BASE.replace("budget: {trials: 10}", f"budget:\n  {budget}"))
    assert said in found
    assert len(found) < 160


def test_a_budget_in_hours_is_enough_to_end_a_study(folder):
    text = BASE.replace("{trials: 10}", "{node_hours: 500, gpu_hours: {gpu: 20}}")
    (folder / "study.yaml").write_text(text)
    accounts = load_study_file(folder / "study.yaml").budget.accounts
    assert [(each.unit, each.hours, each.pool) for each in accounts] == [
        ("node_hours", 500.0, ""),
        ("gpu_hours", 20.0, "gpu"),
    ]
