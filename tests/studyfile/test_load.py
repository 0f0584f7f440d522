"""A study file is read, checked and laid out as a plan; its YAML is read safely."""

import dataclasses
import json
import math

import pytest

from pilotune.errors import UserError
from pilotune.pipeline.distributions import describe
from pilotune.pipeline.noise import Repeats
from pilotune.pipeline.studyfile import Budget, Named, TrialOptions, load_study_file, plan, render_plan

WHOLE = r"""
name: digits-cnn
objective: train.py:train
direction: maximize
metrics: [accuracy]
space:
  lr:        {float: [1e-5, 1.0e-1], log: true}
  momentum:  {float: [0.0, 0.99], when: {optimizer: [sgd]}}
  layers:    {int: [1, 4]}
  units:     {int: [16, 256], step: 16}
  optimizer: {choice: [sgd, adamw]}
  flags:     {choice: [on, off, no, true, null, 1e-3, "1", 010]}
  epochs:    27
  widths:    {constant: [1, [2, 3]]}
constraints: ["layers * units <= 512"]
sampler: {name: TPESampler, seed: 3, n_startup_trials: 5}
pruner: {name: hyperband, min_resource: 1, max_resource: 27, reduction_factor: 3}
budget: {trials: 200, time: 4h, failures: 7, target: 0.99}
trial: {timeout: 1h30m, retries: 1, retry_errors: yes, gpus: 1, cores: 4, nodes: 2, isolate: yes, preload: false,
        repeats: {most: 5}, memory: 2GiB, max_output: 5MB, grace: 3, expected: 50m, yield_before: 2m, ranks_per_node: 8}
start_from: {enqueue: [{lr: 0.01, layers: 2.0}], studies: [digits-old]}
storage: postgresql://user:secret@host/db
"""

SMALL = "name: s\ncommand: run\ndirection: min\nspace:\n  x: {int: [1, 3]}\nbudget: {trials: 5}\n"


@pytest.fixture
def load(tmp_path):
    (tmp_path / "train.py").write_text("def train(trial): ...\n")
    (tmp_path / "study.yaml").touch()

    def write_and_load(text, *overrides):
        path = tmp_path / "study.yaml"
        path.write_text(text)
        return load_study_file(path, overrides)

    return write_and_load


def test_every_key_of_a_study_file_is_understood(load, tmp_path):
    study = load(WHOLE)
    assert study.path == tmp_path / "study.yaml"
    assert study.folder == tmp_path
    assert study.name == "digits-cnn"
    assert study.objective.file == str(tmp_path / "train.py")
    assert (study.objective.function, study.objective.folder) == ("train", str(tmp_path))
    assert study.directions == ("maximize",)
    assert study.metrics == ("accuracy",)
    assert {p.name: describe(p.distribution) for p in study.space.parameters} == {
        "lr": "float [1e-05, 0.1] log",
        "optimizer": "choice [sgd, adamw]",
        "momentum": "float [0.0, 0.99]",
        "layers": "int [1, 4]",
        "units": "int [16, 256] step 16",
        "flags": "choice [on, off, no, true, null, 0.001, '1', 10]",
    }
    assert [p.name for p in study.space.parameters] == ["lr", "optimizer", "momentum", "layers", "units", "flags"]
    assert study.space.parameters[2].when == {"optimizer": ("sgd",)}
    assert study.space.constants == {"epochs": 27, "widths": [1, [2, 3]]}
    assert [c.text for c in study.space.constraints] == ["layers * units <= 512"]
    assert study.sampler == Named("tpe", {"seed": 3, "n_startup_trials": 5})
    assert study.seed == 3
    assert study.pruner.name == "hyperband"
    assert study.budget == Budget(trials=200, time=14400, failures=7, target=0.99)
    assert study.trial == TrialOptions(
        timeout=5400, retries=1, retry_errors=True, gpus=1, cores=4, nodes=2, isolate=True, preload=False,
        repeats=Repeats(1, 5), memory=2 * 1024**3, max_output=5_000_000, grace=3, expected=3000, yield_before=120,
        ranks_per_node=8,
    )  # fmt: skip
    assert study.start_from.enqueue == ({"lr": 0.01, "layers": 2},)
    assert type(study.start_from.enqueue[0]["layers"]) is int
    assert study.start_from.studies == ("digits-old",)


def test_defaults(load):
    study = load(SMALL)
    assert study.directions == ("minimize",)
    assert study.sampler == Named("gp")
    assert study.sampler_why == "one direction"
    assert (study.pruner, study.seed, study.storage, study.metrics) == (None, None, None, ())
    assert study.budget == Budget(trials=5, failures=20)
    assert study.trial == TrialOptions(max_output=100_000_000, grace=10)
    assert (study.objective.command, study.objective.shell, study.objective.reports) == ("run", False, "file")


def test_an_objective_may_define_the_space_as_it_runs(load):
    assert load("name: s\nobjective: train.py:train\ndirection: minimize\nbudget: {time: 1h}\n").space is None


def test_the_long_form_of_a_command(load):
    command = r"{run: [python, train.py, --x, '{x}', 3], reports: {stdout: 'acc=(?P<value>\S+)'}, shell: no}"
    study = load(SMALL.replace("command: run", f"command: {command}"))
    assert study.objective.command == ["python", "train.py", "--x", "{x}", "3"]
    assert study.objective.reports == r"acc=(?P<value>\S+)"


@pytest.mark.parametrize("command", ["run {y}", "run 'x", "run {x", ["run", "{y}"]])
def test_a_command_that_cannot_be_filled_in_is_refused(load, command):
    with pytest.raises(UserError, match=r"study\.yaml:2: command"):
        load(SMALL.replace("command: run", f"command: {json.dumps(command)}"))


def test_a_module_is_found_beside_the_study_file_without_being_imported(load, tmp_path):
    (tmp_path / "beside.py").write_text(
        "raise RuntimeError\ntry:\n    from x import fit\nexcept ImportError: fit = None\n"
    )
    study = load("name: s\nobjective: beside:fit\ndirection: min\nbudget: {trials: 1}\n")
    assert (study.objective.module, study.objective.function) == ("beside", "fit")
    installed = load("name: s\nobjective: json.decoder:JSONDecoder.decode\ndirection: min\nbudget: {trials: 1}\n")
    assert installed.objective.module == "json.decoder"


@pytest.mark.parametrize(
    ("settings", "get", "value"),
    [
        (["budget.trials=7"], lambda s: s.budget.trials, 7),
        (["budget.time=30m", "trial.cores=2"], lambda s: (s.budget.time, s.trial.cores), (1800, 2)),
        (["space.x={int: [1, 9]}"], lambda s: describe(s.space.parameters[0].distribution), "int [1, 9]"),
        (["space.x.int=[2, 3]"], lambda s: describe(s.space.parameters[0].distribution), "int [2, 3]"),
        (["space.x=2", "space.y={int: [0, 1]}"], lambda s: s.space.constants, {"x": 2}),
        (["sampler=random", "sampler.seed=4"], lambda s: s.sampler, Named("random", {"seed": 4})),
        (["sampler.seed=4"], lambda s: s.sampler, Named("gp", {"seed": 4})),
        (
            ["start_from.enqueue=[{x: 1}, {x: 2}]", "start_from.enqueue.1.x=3"],
            lambda s: s.start_from.enqueue[1],
            {"x": 3},
        ),
        (["command.shell=true"], lambda s: (s.objective.command, s.objective.shell), ("run", True)),
        (["pruner=median"], lambda s: s.pruner, Named("median")),
        (["pruner=median", "pruner=null"], lambda s: s.pruner, None),
        (["pruner=none"], lambda s: s.pruner, None),
        (["storage=sqlite:///x.db"], lambda s: s.storage, "sqlite:///x.db"),
    ],
)
def test_set_changes_any_key(load, settings, get, value):
    assert get(load(SMALL, *settings)) == value


def test_set_finds_keys_that_hold_dots(load):
    study = load(SMALL.replace("x:", "opt.lr:"), "space.opt.lr.int=[5, 6]")
    assert study.space.names == ["opt.lr"]
    assert study.space.distributions["opt.lr"].low == 5


def test_the_resolved_file_reads_back_the_same_without_the_password(load, tmp_path):
    study = load(WHOLE, "budget.trials=9")
    text = study.resolved()
    assert "secret" not in text
    again = load(text.replace("***", "secret"))
    for field in dataclasses.fields(study):
        if field.compare:
            assert getattr(again, field.name) == getattr(study, field.name), field.name


def test_the_resolved_file_of_a_command_reads_back_the_same(load):
    study = load(
        SMALL.replace(
            "command: run",
            r"command: {run: 'a {x} | b', shell: true, reports: {stdout: "
            r"'(?P<value>\d)'}}",
        )
    )
    assert load(study.resolved()) == study


def test_later_errors_find_their_line(load):
    assert str(load(SMALL).error("is taken", "name")).endswith("study.yaml:1: name: is taken")
    assert str(load(SMALL).error("is needed", "trial.gpus")).endswith("study.yaml:1: trial.gpus: is needed")


@pytest.mark.parametrize("sampler", ["grid", "bruteforce"])
def test_an_exhaustive_sampler_knows_its_points_and_needs_no_budget(load, sampler):
    noun = "grid point" if sampler == "grid" else "configuration"
    for changes, trials, words in (
        ((), 5, f"all 3 {noun}s"),
        (("budget.trials=2",), 2, f"2 of the 3 {noun}s"),
        (("budget=null",), None, f"all 3 {noun}s"),
        (("budget=null", "space.x.int=[3, 3]"), None, f"1 {noun}"),
    ):
        study_file = load(SMALL, f"sampler={sampler}", *changes)
        assert study_file.budget.trials == trials, "extra points that are enqueued do not count as the sampler's"
        assert plan(study_file).budget[0] == words
    assert load(SMALL, f"sampler={sampler}").points == 3
    assert load(SMALL, "sampler=random").points is None
    enqueued = load(SMALL, f"sampler={sampler}", "budget=null", "start_from.enqueue=[{x: 1}]")
    assert plan(enqueued).trials == 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "study.yaml: the study file is empty"),
        ("# nothing\n", "study.yaml: the study file is empty"),
        ("- a\n", "study.yaml:1: a study file is a mapping of keys to values (key: value)"),
        ("a: 1\nb: [1, 2\n", "study.yaml:3: not valid YAML: while parsing a flow sequence expected ',' or ']', "
         "but got '<stream end>' (column 1)"),
        ("a: 1\n\tb: 2\n", "study.yaml:2: not valid YAML: while scanning for the next token found character '\\t' that "
         "cannot start any token (column 1)"),
        ("name: a\nspace:\n  x: 1\n  x: 2\n", "study.yaml:4: space.x: duplicate key; first defined on line 3"),
        ("name: !!python/object/apply:os.system [ls]\n",
         "study.yaml:1: name: the tag !!python/object/apply:os.system is not allowed here; write plain values only"),
        ("name: !mine x\n", "study.yaml:1: name: the tag !mine is not allowed here; write plain values only"),
        ("name: !!int x\n", "study.yaml:1: name: 'x' is not of the type int of its tag"),
        ("a: &a [*a]\n", "study.yaml:1: a[0]: an alias (*) must not be inside the value that it refers to"),
        ("[a]: 1\n", "study.yaml:1: a key must be one word, not a list or a mapping"),
        ("a: 1\n---\nb: 1\n", "study.yaml:2: not valid YAML: a second document begins here; keep one (remove the `---`)"
         " (column 1)"),
        ("a: \x07\n", "study.yaml:1: not valid YAML: this is a control character"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_a_study_file_is_refused(load, tmp_path, text, expected):
    with pytest.raises(UserError) as caught:
        load(text)
    assert str(caught.value).replace(f"{tmp_path}/", "") == expected


def test_aliases_of_aliases_do_not_fill_the_memory(load):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(UserError, match="more than 200,000 values"):
        load("\n".join(lines))


def test_very_deep_nesting_is_refused(load):
    with pytest.raises(UserError, match="nested too deeply"):
        load("a: " + "[" * 5000)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.yaml: there is no such study file"):
        load_study_file(tmp_path / "nothing.yaml")
    with pytest.raises(UserError, match="this is a folder; name a study file in it"):
        load_study_file(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nname: \xe9t\xe9\n")
    with pytest.raises(UserError, match=r"latin\.yaml:2: the study file is not UTF-8 text"):
        load_study_file(tmp_path / "latin.yaml")


def test_emoji_that_json_writes_as_pairs_of_surrogates_are_characters(load):
    written = json.dumps(["loss \U0001f4a5"])
    assert "\\ud83d" in written
    assert load(f"{SMALL}metrics: {written}\n").metrics == ("loss \U0001f4a5",)
    with pytest.raises(UserError, match="must not contain NUL or surrogates"):
        load(SMALL + 'metrics: ["loss \\ud83d"]\n')


def test_merged_and_aliased_mappings_work(load):
    study = load(SMALL.replace("  x: {int: [1, 3]}", "  x: &r {int: [1, 3]}\n  y: {<<: *r, step: 2}\n  z: *r"))
    assert {n: describe(d) for n, d in study.space.distributions.items()} == {
        "x": "int [1, 3]", "y": "int [1, 3] step 2", "z": "int [1, 3]",
    }  # fmt: skip


def test_the_plan_lays_out_the_study(load):
    laid = plan(load(WHOLE))
    assert laid.size == math.inf
    assert [b.rungs for b in laid.brackets] == [(1, 3, 9), (3, 9), (9,), ()]
    assert json.loads(json.dumps(laid.to_json()))["size"] is None
    text = render_plan(laid)
    for line in ("direction  maximize accuracy", "  momentum   float [0.0, 0.99], when optimizer is sgd", "  "
     "epochs     constant 27",
                 "  where layers * units <= 512", "sampler    tpe (seed=3, n_startup_trials=5)"):  # fmt: skip
        assert line in text.splitlines()
    assert "budget     200 trials, 4h a campaign, until a value >= 0.99, stops after 7 failures in a row" in text


def test_the_plan_says_what_a_trial_gets(load):
    trial = plan(load(WHOLE)).trial
    for part in ("2 nodes", "8 ranks a node", "expected to run 50m", "yields 2m before its block ends"):
        assert part in trial


def test_the_plan_notes_a_command_that_runs_on_its_first_node_only(load):
    alone = plan(load(SMALL, "trial.nodes=4")).notes
    assert ["the command runs on the first of them" in note for note in alone] == [True]
    assert plan(load(SMALL, "trial.nodes=4", "command='{launcher} run'")).notes == ()
    assert plan(load(SMALL)).notes == ()


@pytest.mark.parametrize(
    ("trial", "cores", "words", "notes"),
    [
        ("{ranks: 4}", 4, ["4 cores", "4 ranks"], ["each trial has 4 ranks, but the command is started once"]),
        ("{ranks_per_node: 4}", 4, ["4 cores", "4 ranks"], ["the command is started once"]),
        ("{ranks: 4, cores: 2}", 2, ["4 ranks"], ["the 4 ranks of a trial on a node share 2 cores", "started once"]),
        ("{ranks: 8, nodes: 2, launcher: srun}", 1, ["4 ranks a node", "ranks started by srun"], ["the first of them"]),
        ("{ranks: 1}", 1, ["1 core"], []),
    ],
)
def test_the_plan_says_how_many_ranks_a_trial_has(load, trial, cores, words, notes):
    study = load(SMALL + f"trial: {trial}\n")
    found = plan(study)
    assert study.trial.cores == cores
    assert [word for word in words if word not in found.trial] == []
    assert len(found.notes) == len(notes)
    assert all(part in note for part, note in zip(notes, found.notes, strict=True))


@pytest.mark.parametrize("field", ["{launcher}", "{ranks}", "{ranks_per_node}"])
def test_a_command_that_uses_its_ranks_needs_no_note(load, field):
    assert plan(load(SMALL, "trial.ranks=4", f"command='run {field}'")).notes == ()


def test_the_plan_of_a_small_space_counts_it(load):
    assert plan(load(SMALL)).size == 3
    assert "space      3 configurations" in render_plan(plan(load(SMALL)))


def test_the_plan_warns_of_brackets_with_too_few_trials(load):
    notes = plan(load(WHOLE, "budget.trials=60")).notes
    assert len(notes) == 1
    assert notes[0].startswith("trials are compared with those of their own bracket")
    assert plan(load(WHOLE)).notes == ()


def test_a_whole_number_may_be_written_with_an_exponent(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(
        "name: s\ncommand: run\ndirection: minimize\nbudget: {trials: 5}\nspace: {x: {int: [0, 3]}}\n"
        "sampler: {name: partial_fixed, fixed_params: {x: 1}, base_sampler: {name: tpe, n_ei_candidates: 1e1}}\n"
        "pruner: {name: hyperband, max_resource: 2.7e1}\n"
    )
    settings = ["sampler={name: random, seed: 1e3}"]
    assert load_study_file(path, settings).seed == 1000
    assert load_study_file(path).pruner.args == {"max_resource": 27}


@pytest.mark.parametrize(
    ("repeats", "trials", "words"),
    [
        ("3", "trials: 5", "3 runs a trial (15 runs in all)"),
        ("{most: 4}", "trials: 5", "1 to 4 runs a trial (at most 20 runs in all)"),
        ("{least: 2, most: 2}", "time: 1h", "2 runs a trial"),
    ],
)
def test_the_plan_says_how_many_runs_there_may_be(load, repeats, trials, words):
    text = SMALL.replace("trials: 5", trials) + f"trial: {{repeats: {repeats}}}\n"
    (line,) = [line for line in render_plan(plan(load(text))).splitlines() if line.startswith("trial ")]
    assert f", {words}, " in line


def test_the_plan_says_nothing_of_runs_where_each_trial_has_one(load):
    assert "run" not in " ".join(plan(load(SMALL + "trial: {repeats: 1}\n")).trial)
