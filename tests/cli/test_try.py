"""``pilotune try``: one trial in the foreground, without a database."""

from __future__ import annotations

import json
import os
import pdb
import pty
import select
import signal
import sys
import time
from pathlib import Path

import pytest
import threadpoolctl  # noqa: F401  # the default sampler uses it, and it sets a variable once

from pilotune.pipeline.cli.main import main

from ..support.cli import Pilotune, alone, pilotune_  # noqa: F401
from ..support.graphs import graph_of

TRAIN = """
import os
from pathlib import Path

def train(trial):
    print("epochs", trial.params["epochs"])
    saved = trial.checkpoint_dir / "epochs"
    first = int(saved.read_text()) if saved.exists() else 0
    for epoch in range(first + 1, trial.params["epochs"] + 1):
        trial.report(trial.params["lr"] * epoch, step=epoch)
    saved.write_text(str(trial.params["epochs"]))
    Path("left.txt").write_text("in the working directory")
    trial.set_user_attr("first", first)
    return {"value": trial.params["lr"], "folder": os.environ["PILOTUNE_CHECKPOINT_DIR"], "here": os.getcwd()}
"""
STUDY = """
name: digits
objective: train.py:train
direction: minimize
metrics: [loss]
space:
  lr: {float: [0.001, 0.1], log: true}
  optimizer: {choice: [sgd, adamw]}
  momentum: {float: [0.0, 0.9], when: {optimizer: sgd}}
  epochs: 3
budget: {trials: 5}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study in a folder of its own."""
    return write(tmp_path / "digits", STUDY, train=TRAIN)


def write(folder: Path, study: str, **modules: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    (folder / "study.yaml").write_text(study)
    return folder / "study.yaml"


def test_a_trial_runs_here_with_its_output_and_leaves_nothing_behind(pilotune: Pilotune, study: Path) -> None:
    before, folder = dict(os.environ), os.getcwd()
    result = pilotune("try", study)
    assert result.code == 0
    assert "epochs 3\n" in result.out
    assert "complete after" in result.out
    assert ": loss 0.0" in result.out
    assert "and 3 reports" in result.out
    for words in (
        "step 1: ",
        "step 3: ",
        "attribute first = 0",
        "deleted afterwards",
        "epochs",
        "3  constant",
        "  drawn",
    ):
        assert words in result.err, result.err
    assert (dict(os.environ), os.getcwd()) == (before, folder)
    assert sorted(path.name for path in study.parent.iterdir() if path.name != "__pycache__") == [
        "study.yaml",
        "train.py",
    ]
    assert not (Path(os.environ["XDG_STATE_HOME"]) / "pilotune").exists()
    checkpoints = result.err.split("checkpoints in ")[1].split(" (")[0]
    assert not Path(checkpoints).exists()


def test_the_best_parameters_are_given_by_the_files_that_export_and_best_write(
    pilotune: Pilotune, study: Path, tmp_path: Path
) -> None:
    params = {"lr": 0.02, "optimizer": "adamw", "epochs": 2}
    files = {
        "best.yaml": "lr: 0.02\noptimizer: adamw\nepochs: 2\n",
        "best.json": json.dumps(params),
        "listed.json": json.dumps({"study": "digits", "best": [{"number": 7, "params": params}]}),
        "printed.txt": "trial     7\nloss      0.5\n  lr      0.02\n  optimizer  adamw\n  epochs  2\nseconds   1.2\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        result = pilotune("try", study, "--params", tmp_path / name, "--json")
        assert result.code == 0, result.err
        data = json.loads(result.out)
        assert data["params"] == params
        assert data["values"] == {"loss": 0.02}
        assert data["reports"] == [[1, 0.02], [2, 0.04]]
        assert f"epochs is 2, as {name} gives it; the study file says 3" in result.err
        assert "epochs 2\n" in result.err


GRAPH = "inputs: {x: 6}\ncells: 1\nchoice: [identity, dense(4)]\noutput: dense(2)\n"


def test_the_best_parameters_may_hold_a_graph_and_mappings(pilotune: Pilotune, tmp_path: Path) -> None:
    graph = "".join(f"      {line}\n" for line in GRAPH.splitlines())
    text = STUDY.replace(
        "  epochs: 3\n", f"  kernel: {{choice: [{{name: rbf}}, {{name: poly}}]}}\n  net:\n    graph:\n{graph}"
    )
    train = "def train(trial):\n    return len(trial.params['net']['nodes']) + len(trial.params['kernel'])\n"
    study = write(tmp_path / "net", text, train=train)
    best = {"lr": 0.02, "net.cell1": "dense(4)", "kernel": {"name": "poly"}, "net": graph_of(GRAPH).to_data()}
    Path("best.json").write_text(json.dumps(best))
    result = pilotune("try", study, "--params", "best.json", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["values"] == {"loss": 3.0}
    Path("best.json").write_text(json.dumps({**best, "net": {**best["net"], "inputs": {"x": [7]}}}))
    other = pilotune("try", study, "--params", "best.json")
    assert (other.code, "net: is another graph than that of the study file" in other.err) == (2, True)


def test_set_wins_over_a_file_of_parameters_and_a_plain_value_fixes_a_parameter(
    pilotune: Pilotune, study: Path, tmp_path: Path
) -> None:
    best = tmp_path / "best.yaml"
    best.write_text("lr: 0.02\noptimizer: sgd\nmomentum: 0.5\nepochs: 2\n")
    result = pilotune(
        "try", study, "--params", best, "--json", "--set", "space.epochs=4", "--set", "space.optimizer=adamw"
    )
    assert json.loads(result.out)["params"] == {"lr": 0.02, "optimizer": "adamw", "epochs": 4}
    assert "epochs is 4, as --set gives it; best.yaml says 2" in result.err
    assert "momentum is not used: it is inactive in this configuration" in result.err
    lone = pilotune("try", study, "--json", "--set", "space.lr=0.05")
    assert json.loads(lone.out)["params"]["lr"] == 0.05


def test_checkpoints_stay_in_the_stated_folder_and_the_next_call_continues(pilotune: Pilotune, study: Path) -> None:
    data = json.loads(pilotune("try", study, "--checkpoint-dir", "final", "--json").out)
    assert (Path("final") / "epochs").read_text() == "3"
    assert data["user_attrs"]["folder"] == str(Path("final").absolute())
    assert not Path(data["user_attrs"]["here"]).exists()
    again = json.loads(pilotune("try", study, "--checkpoint-dir", "final", "--json", "--set", "space.epochs=5").out)
    assert again["user_attrs"]["first"] == 3
    assert [step for step, _ in again["reports"]] == [4, 5]


OPTUNA = """
import optuna

def objective(trial):
    x = trial.suggest_float("x", 0.0, 1.0)
    kind = trial.suggest_categorical("kind", ["a", "b"])
    trial.report(x, 0)
    if trial.should_prune():
        raise optuna.TrialPruned()
    if kind == "b":
        raise optuna.TrialPruned("not b")
    return x
"""


def test_an_optuna_objective_is_suggested_given_values_and_others_by_the_sampler(
    pilotune: Pilotune, tmp_path: Path
) -> None:
    study = write(
        tmp_path / "o", "name: o\nobjective: m.py:objective\ndirection: minimize\nbudget: {trials: 3}\n", m=OPTUNA
    )
    best = tmp_path / "best.yaml"
    best.write_text("kind: a\nold: 3\n")
    result = pilotune("try", study, "--params", best)
    assert result.code == 0, result.err
    assert "suggested x = 0." in result.err
    assert ", from float [0.0, 1.0]" in result.err
    assert "suggested kind = a (given), from choice [a, b]" in result.err
    assert "old in best.yaml was not used: the objective did not suggest it" in result.err
    best.write_text("kind: b\nx: 0.5\n")
    pruned = pilotune("try", study, "--params", best)
    assert (pruned.code, "pruned by the objective itself" in pruned.out) == (0, True)
    best.write_text("kind: c\n")
    wrong = pilotune("try", study, "--params", best)
    assert wrong.code == 1
    assert "the value of 'kind' is 'c', which is none of its choices ['a', 'b']" in wrong.err


FAILURES = {
    "raise ValueError('no data')": (1, "failed after", "ValueError: no data"),
    "return None": (1, "failed after", "the objective returned None"),
    "raise SystemExit(3)": (1, "failed after", "the objective called sys.exit(3)"),
    "import pilotune; raise pilotune.TrialYield": (0, "yielded by the objective itself", ""),
    "raise KeyboardInterrupt": (130, "", "interrupted"),
}


@pytest.mark.parametrize(("line", "code", "out", "err"), [(line, *words) for line, words in FAILURES.items()])
def test_how_the_trial_ends_is_the_exit_code(
    pilotune: Pilotune, study: Path, line: str, code: int, out: str, err: str
) -> None:
    (study.parent / "train.py").write_text(f"def train(trial):\n    {line}\n")
    result = pilotune("try", study)
    assert result.code == code
    assert out in result.out + result.err
    assert err in result.err
    if "ValueError" in line:
        assert 'train.py", line 2, in train' in result.err


INPUTS = {
    "lrr: 0.1\n": "best.yaml:1: lrr: the study's space has no such parameter; did you mean 'lr'?",
    "lr: fast\n": "best.yaml:1: lr: must be a number, but is 'fast'",
    "lr: true\n": "best.yaml:1: lr: must be a number, but is true",
    "lr: .nan\n": "best.yaml:1: lr: must be a number, but is nan",
    "optimizer: adam\n": "best.yaml:1: optimizer: 'adam' is not one of choice [sgd, adamw]",
    "lr: 0.1\nlr: 0.2\n": "best.yaml:2: lr: duplicate key; first defined on line 1",
    "- lr: 0.1\n": "best.yaml:1: a file of parameters is a mapping of keys to values",
    "": "best.yaml: the file of parameters is empty",
    "lr: {float: [0, 1]}\n": "best.yaml:1: lr: give one value, as in lr: 0.01",
    "name: x\nspace: {lr: 0.1}\n": "best.yaml:2: space: this looks like a study file; give parameters, as in lr: 0.01",
    '{"study": "s", "best": []}': "best: study 's' has no best trial yet",
    '{"study": "s", "best": [{"params": {}}, {"params": {}}]}': "2 trials are on the Pareto front; choose one of them",
    "3 trials on the Pareto front\ntrial  value\n": "lists the whole Pareto front; choose one of them",
    "trial,value\n0,1\n": "a file of parameters is a mapping",
}


@pytest.mark.parametrize(("text", "words"), INPUTS.items())
def test_a_wrong_file_of_parameters_is_a_sentence(pilotune: Pilotune, study: Path, text: str, words: str) -> None:
    Path("best.yaml").write_text(text)
    result = pilotune("try", study, "--params", "best.yaml")
    assert result.code == 2
    assert words in result.err
    assert "Traceback" not in result.err


def test_other_mistakes_are_sentences_too(pilotune: Pilotune, study: Path) -> None:
    missing = pilotune("try", study, "--params", "none.yaml")
    assert (
        "none.yaml: there is no such file of parameters; `pilotune export NAME --best -o none.yaml` writes one"
        in missing.err
    )
    folder = pilotune("try", study, "--params", study.parent)
    assert "this is a folder; name a file of parameters in it" in folder.err
    site = pilotune("try", study, "--set", "pools.local.workers_per_node=2")
    assert "this key is of the site file, and `pilotune try` uses no site" in site.err
    typo = pilotune("try", study, "--set", "space.lrr=0.1")
    assert "there is no parameter 'lrr'; did you mean 'lr'?" in typo.err
    assert {missing.code, folder.code, site.code, typo.code} == {2}
    Path("best.yaml").write_text("lr: 5.0\noptimizer: adamw\n")
    outside = pilotune("try", study, "--params", "best.yaml")
    assert outside.code == 0
    assert "note: lr is 5.0, which is outside float [0.001, 0.1] log" in outside.err


COMMAND = """
name: newton
command: {run: "sh {study_dir}/solve.sh {start}", reports: %s}
direction: minimize
space: {start: {float: [1.0, 2.0]}}
budget: {trials: 2}
trial: {timeout: 5m}
"""
SOLVE = """
echo "start $PILOTUNE_PARAM_START in $(basename $PWD)"
echo '{"step": 1, "value": 0.5}' >> "$PILOTUNE_REPORTS"
echo "loss=0.25"
touch "$PILOTUNE_CHECKPOINT_DIR/saved"
echo '{"value": 0.25, "root": 1.4}' >> "$PILOTUNE_REPORTS"
exit ${CODE:-0}
"""


@pytest.mark.parametrize("reports", ["file", "{stdout: 'loss=(?P<value>\\S+)'}"])
def test_a_command_runs_in_the_foreground_with_its_files_and_variables(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, reports: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "c", COMMAND % reports).parent
    (folder / "solve.sh").write_text(SOLVE)
    call = ["try", str(folder), "--checkpoint-dir", str(tmp_path / "kept")]
    code, shown = main(call), capfd.readouterr()
    assert code == 0, shown.err
    assert "start 1." in shown.out
    assert "in work-1" in shown.out
    assert "loss=0.25" in shown.out
    assert ": value 0.25" in shown.out
    assert ("step 1: 0.5" if reports == "file" else "step 0: 0.25") in shown.err
    assert "trial.timeout is not enforced here" in shown.err
    assert (tmp_path / "kept" / "saved").exists()
    monkeypatch.setenv("CODE", "4")
    code, shown = main([*call, "--json"]), capfd.readouterr()
    assert (code, "the command exited with 4" in shown.err, "loss=0.25" in shown.err) == (1, True, True)
    assert json.loads(shown.out)["state"] == "failed"


RANKS = """
import os

def train(trial):
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR")
    assert int(os.environ["MASTER_PORT"]) > 0
    return {"loss": 1.0, "seen": [trial.rank, trial.world_size, *(os.environ[name] for name in names)]}
"""


def test_an_objective_with_ranks_runs_as_the_only_one(pilotune: Pilotune, tmp_path: Path) -> None:
    path = write(tmp_path, f"{STUDY}trial: {{ranks: 4}}\n", train=RANKS)
    done = pilotune("try", path, "--json")
    assert json.loads(done.out)["user_attrs"] == {"seen": [0, 1, "0", "0", "1", "1", "127.0.0.1"]}
    assert "note: a trial has 4 ranks, but this one runs as rank 0 of 1" in done.err
    assert "RANK" not in os.environ


def test_a_command_that_cannot_be_started_is_a_sentence(pilotune: Pilotune, tmp_path: Path) -> None:
    study = write(tmp_path / "c", COMMAND.replace("sh {study_dir}/solve.sh", "/no/such/program") % "file")
    result = pilotune("try", study)
    assert result.code == 2
    assert "the command cannot be started: /no/such/program: No such file or directory" in result.err


def test_what_an_objective_cannot_be_called_with_is_the_users_mistake(pilotune: Pilotune, study: Path) -> None:
    (study.parent / "train.py").write_text("train = lambda lr, units: lr\n")
    result = pilotune("try", study)
    assert result.code == 2
    assert "needs 'units', which the space does not have" in result.err


def in_terminal(arguments: list[str], dialogue: list[tuple[str, str]]) -> tuple[int, str]:
    """Run a command line on a terminal; for each pair, wait for the first text and type the second."""
    pid, terminal = pty.fork()
    if pid == 0:
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        sys.breakpointhook = lambda: pdb.Pdb().set_trace(sys._getframe(1))  # not pytest's
        code = main(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    shown, waiting, until = "", list(dialogue), time.monotonic() + 60
    while time.monotonic() < until:
        if not select.select([terminal], [], [], 1.0)[0]:
            continue
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece.decode(errors="replace")
        if waiting and waiting[0][0] in shown:
            os.write(terminal, waiting.pop(0)[1].encode())
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown


def test_the_debugger_works_on_the_terminal_in_a_function_and_in_a_command(tmp_path: Path) -> None:
    study = write(
        tmp_path / "d",
        "name: d\nobjective: m.py:f\ndirection: minimize\nspace: {x: {float: [1.0, 2.0]}}\nbudget: {trials: 1}\n",
        m="def f(trial):\n    secret = 41\n    breakpoint()\n    return secret\n",
    )
    code, shown = in_terminal(["try", str(study)], [("(Pdb)", "p 'value', secret + 1\n"), ("('value', 42)", "c\n")])
    assert (code, ": value 41" in shown) == (0, True), shown
    code, shown = in_terminal(["try", str(study)], [("(Pdb)", "q\n")])
    assert (code, "interrupted" in shown) == (130, True), shown
    (tmp_path / "d" / "m.py").write_text("def f(trial):\n    secret = 41\n    return 1 / 0\n")
    code, shown = in_terminal(
        ["try", str(study), "--pdb"], [("(Pdb)", "p 'value', secret + 1\n"), ("('value', 42)", "q\n")]
    )
    assert (code, "division by zero" in shown) == (1, True), shown
    command = f'[{sys.executable}, "{{study_dir}}/m.py"]'
    text = f"name: d\ncommand: {{run: {command}, reports: file}}\ndirection: minimize\n"
    study.write_text(text + "space: {x: {float: [1.0, 2.0]}}\nbudget: {trials: 1}\n")
    (tmp_path / "d" / "m.py").write_text(
        "import os\nsecret = 41\nbreakpoint()\nopen(os.environ['PILOTUNE_REPORTS'], 'w').write('{\"value\": 41}')\n"
    )
    code, shown = in_terminal(["try", str(study)], [("(Pdb)", "p 'value', secret + 1\n"), ("('value', 42)", "c\n")])
    assert (code, ": value 41" in shown) == (0, True), shown
