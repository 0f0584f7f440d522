"""Objectives, samplers, pruners, callbacks and terminators that are the user's own classes and functions."""

from __future__ import annotations

import re

import optuna
import pytest

from pilotune.errors import UserError
from pilotune.pipeline.fidelity import make_pruner
from pilotune.pipeline.studyfile import check_user_parts, load_study_file, make_callbacks, plan, render_plan
from pilotune.pipeline.suggest import make_sampler
from pilotune.pipeline.worker.objective.load import load_objective

CODE = '''"""Parts of a study."""
import functools
import sys

import optuna
import optuna.terminator


class Base:
    def __call__(self, trial):
        return trial.number


class Objective:
    made = []

    def __init__(self, low, high=1.0, *, name="x"):
        self.low, self.high, self.extra = low, high, abs
        self.made.append(self)

    def __call__(self, trial):
        return self.low

    def run(self, trial):
        return self.high

    @staticmethod
    def still(trial):
        return 3.0

    @classmethod
    def of_class(cls, trial):
        return 4.0


class Inherits(Base):
    pass


class NoCall:
    def fit(self, trial):
        return 5.0


def train(trial, folder="."):
    return 6.0


async def later(trial):
    return 7.0


instance = Objective(8.0)
part = functools.partial(train, folder="/data")
number = 3


class Annealing(optuna.samplers.RandomSampler):
    def __init__(self, temperature: float, steps: int = 3, seed=None, base: optuna.samplers.BaseSampler = None):
        if temperature < 0:
            raise ValueError("too cold")
        super().__init__(seed=seed)
        self.temperature, self.base, self.seed = temperature, base, seed


class Abstract(optuna.samplers.BaseSampler):
    pass


class Late(optuna.pruners.BasePruner):
    def __init__(self, after: int = 3, **more):
        self.after, self.more = after, more

    def prune(self, study, trial):
        return False


class Tracker:
    def __init__(self, every: int):
        self.every = every

    def __call__(self, study, trial):
        pass


def note(study, trial):
    pass


def one(study):
    pass


class Stop(optuna.terminator.BaseTerminator):
    def __init__(self, after: int):
        self.after = after

    def should_terminate(self, study):
        return len(study.trials) >= self.after
'''


def with_lines(message):
    """``message`` with the number of the line in the code that begins with, or defines, each name in ``<...>``."""
    lines = CODE.splitlines()
    for name in re.findall(r"<(\w+)>", message):
        begin = re.compile(rf"\s*(class |def |async def )?{name}\b")
        number = next(index for index, line in enumerate(lines, 1) if begin.match(line))
        message = message.replace(f"<{name}>", f"parts.py:{number}")
    return message


HEAD = "name: s\ndirection: minimize\nbudget: {trials: 5}\n"


@pytest.fixture
def load(tmp_path):
    (tmp_path / "parts.py").write_text(CODE)
    (tmp_path / "broken.py").write_text("import nowhere_to_be_found\nclass S: pass\n")
    (tmp_path / "exits.py").write_text("import sys\nclass S: pass\nsys.exit(3)\n")

    def write_and_load(text, *overrides):
        path = tmp_path / "study.yaml"
        path.write_text(HEAD + text)
        return load_study_file(path, overrides)

    return write_and_load


def said(load, folder, text, *overrides):
    with pytest.raises(UserError) as caught:
        check_user_parts(load(text, *overrides))
    return str(caught.value).replace(f"{folder}/", "")


@pytest.mark.parametrize(
    ("name", "args", "value"),
    [
        ("Objective", "{low: 2.0}", 2.0),
        ("Objective", "{low: 2.0, high: 9.0, name: y}", 2.0),
        ("Objective.run", "{low: 2.0, high: 9.0}", 9.0),
        ("Objective.still", "{}", 3.0),
        ("Objective.of_class", "{}", 4.0),
        ("Inherits", "{}", 11),
        ("NoCall.fit", "{}", 5.0),
        ("train", "{}", 6.0),
        ("train", "{folder: /data}", 6.0),
        ("instance", "{}", 8.0),
        ("instance.run", "{}", 1.0),
        ("part", "{}", 6.0),
    ],
)
def test_an_objective_may_be_anything_that_can_be_called(load, name, args, value):
    study = load(f"objective: parts.py:{name}\nobjective_args: {args}\n")
    function = load_objective(study.objective)
    assert function(optuna.trial.create_trial(value=0.0) if value != 11 else FixedNumber()) == value


class FixedNumber:
    number = 11


def test_a_class_is_constructed_once_for_each_attempt(load):
    spec = load("objective: parts.py:Objective\nobjective_args: {low: 1}\n").objective
    first = load_objective(spec)
    before = len(first.made)
    assert load_objective(spec) is not first
    assert len(first.made) == before + 1


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (
            "parts.py:NoCall",
            "objective: NoCall in <NoCall> is a class without a method __call__; write "
            "`def __call__(self, trial)`, or name one of its methods, as in NoCall.method",
        ),
        ("parts.py:later", "objective: later in <later> is an async function; write a plain one: def later(...)"),
        ("parts.py:number", "objective: 'number' in <number> is 3, not a function"),
        (
            "parts.py:Objective.rum",
            "objective: the class Objective in <Objective> has no method 'rum'; did you mean 'run'?",
        ),
        ("parts.py:train.run", "objective: 'train.run': train in <train> is a function, not a class"),
        (
            "parts.py:Objective",
            "objective: Objective in <Objective> needs 'low'; give it as in objective_args: {path: data}",
        ),
        (
            "parts.py:Objective\nobjective_args: {low: 1, hgih: 2}",
            "objective_args.hgih: Objective in <Objective> has no argument 'hgih'; did you mean 'high'?",
        ),
        (
            "parts.py:NoCall.fit\nobjective_args: {a: 1}",
            "objective_args.a: NoCall in <NoCall> takes no arguments, since it has no __init__",
        ),
        (
            "parts.py:train\nobjective_args: {floder: x}",
            "objective_args.floder: train in <train> has no argument 'floder'; did you mean 'folder'?",
        ),
        ("parts.py:train\nobjective_args: 3", "objective_args: must be a mapping (key: value), but is 3"),
    ],
)
def test_an_objective_that_cannot_be_called_is_refused_before_it_is_imported(load, tmp_path, objective, message):
    assert said(load, tmp_path, f"objective: {objective}\n").split(": ", 1)[1] == with_lines(message)


def test_arguments_of_a_command_are_refused(load, tmp_path):
    text = "command: run {x}\nspace: {x: {int: [0, 1]}}\nobjective_args: {a: 1}\n"
    assert said(load, tmp_path, text).endswith("is for a Python `objective`; a command gets the values in its `run`")


def test_a_sampler_and_a_pruner_of_the_users_own_are_made_with_their_arguments(load, tmp_path):
    text = (
        "objective: parts.py:train\nsampler: {name: 'parts.py:Annealing', temperature: 100, seed: 3, base: random}\n"
        "pruner: {name: 'parts:Late', after: 2, other: [1]}\n"
    )
    study = load(text)
    assert study.sampler.name == f"{tmp_path}/parts.py:Annealing", "so that its copy elsewhere finds it"
    check_user_parts(study)
    sampler, pruner = make_sampler(study, seed=77), make_pruner(study)
    assert (sampler.temperature, sampler.seed) == (100, 77)
    assert isinstance(sampler.base, optuna.samplers.RandomSampler)
    assert (pruner.after, pruner.more) == (2, {"other": [1]})
    assert isinstance(sampler, optuna.samplers.BaseSampler)
    assert "Annealing (temperature=100, seed=3, base=random)" in render_plan(plan(study))
    short = load("objective: parts.py:train\nsampler: random\npruner: parts.py:Late\n")
    assert make_pruner(short).after == 3


def test_a_sampler_of_the_users_own_may_be_inside_another(load):
    inner = "{name: 'parts.py:Annealing', temperature: 1}"
    for text in (
        f"sampler: {{name: partial_fixed, fixed_params: {{x: 1}}, base_sampler: {inner}}}",
        f"sampler: {{name: qmc, independent_sampler: {inner}}}",
    ):
        study = load(f"objective: parts.py:train\nspace: {{x: {{int: [0, 1]}}}}\n{text}\n")
        sampler = make_sampler(study)
        assert any(type(each).__name__ == "Annealing" for each in vars(sampler).values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sampler: parts.py:Anealing", "sampler: parts.py has no class 'Anealing'; did you mean 'Annealing'?"),
        ("sampler: part.py:Annealing", "sampler: there is no file part.py; did you mean 'parts.py'?"),
        ("sampler: {name: 'nowhere.at.all:Annealing'}", "sampler.name: there is no module 'nowhere.at.all' in "),
        (
            "sampler: {name: 'parts.py:Annealing', temprature: 3}",
            "sampler.temprature: the sampler Annealing "
            "(<Annealing>) has no argument 'temprature'; did you mean 'temperature'?",
        ),
        ("sampler: {name: 'parts.py:Annealing'}", "sampler: the sampler Annealing (<Annealing>) needs 'temperature'"),
        (
            "sampler: {name: 'parts.py:Annealing', temperature: hot}",
            "sampler.temperature: must be a number, but is 'hot'",
        ),
        (
            "sampler: {name: 'parts.py:Annealing', temperature: 1, steps: 1.5}",
            "sampler.steps: must be a whole number, but is 1.5",
        ),
        (
            "sampler: parts.py:Abstract",
            "sampler.name: the sampler Abstract (<Abstract>) has no method "
            "infer_relative_search_space, sample_independent, sample_relative",
        ),
        (
            "sampler: parts.py:Late",
            "sampler.name: the sampler must be a class derived from "
            "optuna.samplers.BaseSampler, but Late (<Late>) is another class",
        ),
        (
            "sampler: parts.py:note",
            "sampler.name: the sampler must be a class derived from "
            "optuna.samplers.BaseSampler, but note (<note>) is a function",
        ),
        (
            "sampler: broken.py:S",
            "sampler.name: the sampler broken.py:S cannot be imported: ModuleNotFoundError: No "
            "module named 'nowhere_to_be_found' (broken.py:1); a sampler runs in the driver, so keep it in a file that "
            "imports only what is installed here",
        ),
        ("sampler: exits.py:S", "sampler.name: the sampler exits.py:S cannot be imported: SystemExit: 3 (exits.py:3)"),
        (
            "pruner: parts.py:Annealing",
            "pruner.name: the pruner must be a class derived from "
            "optuna.pruners.BasePruner, but Annealing (<Annealing>) is another class",
        ),
        ("pruner: {name: 'parts.py:Late', after: soon}", "pruner.after: must be a whole number, but is 'soon'"),
        ("callbacks: [parts.py:nope]", "callbacks[0]: parts.py has no function 'nope'; did you mean 'note'?"),
        (
            "callbacks: [parts.py:one]",
            "callbacks[0]: the callback parts.py:one (<one>) must take two arguments, as in def callback(study, trial)",
        ),
        ("callbacks: [parts.py:note, {name: 'parts.py:Tracker'}]", "callbacks[1]: Tracker in <Tracker> needs 'every'"),
        (
            "callbacks: [{name: 'parts.py:Tracker', evry: 1}]",
            "callbacks[0].evry: Tracker in <Tracker> has no argument 'evry'; did you mean 'every'?",
        ),
        (
            "callbacks: [3]",
            "callbacks: must be a list of functions, as in [file.py:function] or [{name: "
            "file.py:Class, every: 10}], but is [3]",
        ),
        ("callbacks: [broken.py:S]", "callbacks[0]: the callback broken.py:S cannot be imported: "),
    ],
)
def test_a_mistake_in_the_users_parts_is_a_sentence(load, tmp_path, text, message):
    found = said(load, tmp_path, f"objective: parts.py:train\n{text}\n")
    assert found.startswith("study.yaml:5: ")
    assert found.removeprefix("study.yaml:5: ").startswith(with_lines(message))


def test_a_constructor_that_raises_is_quoted_with_its_line(load, tmp_path):
    study = load("objective: parts.py:train\nsampler: {name: 'parts.py:Annealing', temperature: -1}\n")
    with pytest.raises(UserError) as caught:
        plan(study)
    assert str(caught.value).replace(f"{tmp_path}/", "") == with_lines(
        "study.yaml:5: sampler: the sampler Annealing (<Annealing>) cannot be created: ValueError: too cold (<raise>)"
    )


def test_loading_a_study_file_imports_nothing_of_the_users(load, tmp_path):
    """``pilotune best study.yaml`` works where the sampler cannot be imported."""
    study = load("objective: parts.py:train\nsampler: broken.py:S\ncallbacks: [broken.py:S]\n")
    assert study.sampler.name.endswith("broken.py:S")


def test_callbacks_are_functions_or_constructed_classes(load):
    study = load("objective: parts.py:train\ncallbacks: [parts.py:note, {name: 'parts.py:Tracker', every: 10}]\n")
    note, tracker = make_callbacks(study)
    assert (note.function.__name__, tracker.function.every) == ("note", 10)
    assert load("objective: parts.py:train\ncallbacks: parts.py:note\n").callbacks == study.callbacks[:1]


BUDGETS = [
    ("{patience: 0}", "budget.patience: must be a whole number of at least 1, but is 0"),
    ("{patience: many}", "budget.patience: must be a whole number of at least 1, but is 'many'"),
    (
        "{terminator: yes please}",
        "budget.terminator: must be true, or a mapping as in {min_n_trials: 30}, but is 'yes please'",
    ),
    (
        "{terminator: {min_n_trails: 3}}",
        "budget.terminator.min_n_trails: terminator has no argument 'min_n_trails'; did you mean 'min_n_trials'?",
    ),
    (
        "{terminator: {min_n_trials: 0}}",
        "budget.terminator.min_n_trials: must be at least 1, but is 0",
    ),
    (
        "{terminator: {improvement_evaluator: regret}}",
        "budget.terminator.improvement_evaluator: there is no "
        "improvement evaluator 'regret'; did you mean 'regret_bound'?",
    ),
    ("{terminator: {error_evaluator: static}}", "budget.terminator.error_evaluator: static needs constant"),
    (
        "{terminator: {error_evaluator: {constant: 3}}}",
        "budget.terminator.error_evaluator: must name one, as in {name: cross_validation}",
    ),
    (
        "{terminator: {name: parts}}",
        "budget.terminator.name: must be a class of your own, as in file.py:Class; without "
        "a name it is Optuna's terminator",
    ),
    ("{terminator: {name: 'parts.py:Stop'}}", "budget.terminator: the terminator Stop (<Stop>) needs 'after'"),
    (
        "{terminator: {name: 'parts.py:Tracker'}}",
        "budget.terminator.name: the terminator must be a class derived from optuna.terminator",
    ),
]


@pytest.mark.parametrize(("budget", "message"), BUDGETS)
def test_a_mistake_in_a_stop_rule_is_a_sentence(load, tmp_path, budget, message):
    found = said(load, tmp_path, "objective: parts.py:train\n", f"budget={budget}")
    assert with_lines(message) in found


def test_stop_rules_are_refused_for_several_directions(tmp_path, load):
    for rule, words in (("patience: 3", "patience"), ("terminator: true", "a terminator"), ("target: 1", "a target")):
        text = f"objective: parts.py:train\ndirections: [minimize, minimize]\nbudget: {{trials: 9, {rule}}}\n"
        (tmp_path / "two.yaml").write_text("name: s\n" + text)
        with pytest.raises(UserError, match=f"a study with 2 directions cannot have {words}"):
            load_study_file(tmp_path / "two.yaml")


def test_check_shows_the_stop_rules(load):
    budget = "budget={patience: 30, terminator: {improvement_evaluator: stagnation}}"
    text = render_plan(plan(load("objective: parts.py:train\ncallbacks: parts.py:note\n", budget)))
    assert "until 30 trials in a row bring nothing better" in text
    assert "until Optuna's terminator (stagnation) says that nothing is left to gain" in text
    assert "parts.py:note" in text


def test_check_and_run_construct_no_callback_before_the_driver_does(load, tmp_path):
    (tmp_path / "tracking.py").write_text(
        "class Tracker:\n    def __init__(self):\n        raise RuntimeError('begins a run')\n"
        "    def __call__(self, study, trial): pass\n"
        "class Short:\n    def __call__(self, study): pass\n"
        "async def later(study, trial): pass\n"
    )
    study = load("objective: parts.py:train\ncallbacks: tracking.py:Tracker\n")
    check_user_parts(study)
    plan(study)
    with pytest.raises(UserError, match=r"the callback Tracker cannot be created: RuntimeError: begins a run \("):
        make_callbacks(study)
    assert said(load, tmp_path, "objective: parts.py:train\ncallbacks: tracking.py:Short\n").endswith(
        "must take two arguments, as in def callback(study, trial)"
    )
    assert said(load, tmp_path, "objective: parts.py:train\ncallbacks: tracking.py:later\n").endswith(
        "is an async function, which nobody awaits; write a plain one"
    )


def test_a_class_in_another_module_is_written_with_a_colon(load, tmp_path):
    found = said(load, tmp_path, "objective: parts.py:train\nsampler: optuna.samplers.NoSuchSampler\n")
    assert found.endswith("a class of another module is written optuna.samplers:NoSuchSampler")
    study = load("objective: parts.py:train\nsampler: {name: 'optuna.samplers:RandomSampler', seed: 1}\n")
    assert type(make_sampler(study)) is optuna.samplers.RandomSampler
