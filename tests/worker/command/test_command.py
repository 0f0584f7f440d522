"""Commands: any program as an objective."""

from __future__ import annotations

import json
import shlex
import sys
import textwrap
from pathlib import Path

import pytest

from pilotune.pipeline.trial.protocol import ObjectiveSpec, Report
from pilotune.pipeline.worker.command.process import check_command, command_fields
from pilotune.pipeline.worker.command.template import fill, fill_arguments, variable
from pilotune.pipeline.worker.run_attempt import run_attempt

from ...support.trial_driver import Driver, make_spec, stop_at_start, verdict_at


def script(text: str, **spec) -> ObjectiveSpec:
    """A Python program as a command."""
    return ObjectiveSpec(command=[sys.executable, "-c", textwrap.dedent(text)], **spec)


def shell(text: str, **spec) -> ObjectiveSpec:
    return ObjectiveSpec(command=text, shell=True, **spec)


@pytest.fixture
def drive(tmp_path):
    drivers = []

    def start(answer=None):
        drivers.append(Driver(tmp_path, answer))
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.close()


def test_reports_and_the_final_line_of_the_report_file(tmp_path, drive):
    driver = drive()
    command = """
        import json, os
        with open(os.environ["PILOTUNE_REPORTS"], "w") as file:
            for step in (1, 2):
                print(json.dumps({{"step": step, "value": step / 2}}), file=file)
            file.write(json.dumps({{"value": 4.5, "note": "last"}}))
    """
    outcome = run_attempt(make_spec(tmp_path, script(command), channel=driver.address))
    assert (outcome["kind"], outcome["values"]) == ("complete", [4.5])
    assert outcome["user_attrs"] == {"note": "last"}
    assert outcome["reports"] == [[1, 0.5], [2, 1.0]]


def test_without_a_final_line_the_last_report_is_the_value(tmp_path):
    command = shell(
        """echo '{{"step": 0, "value": 1}}' > $PILOTUNE_REPORTS; echo '{{"step": 9, "value": 3}}' >> {reports_file}"""
    )
    assert run_attempt(make_spec(tmp_path, command))["values"] == [3.0]


def test_several_values_by_the_metrics_names(tmp_path):
    command = shell("""echo '{{"acc": 0.5, "sec": 12}}' > $PILOTUNE_REPORTS""")
    outcome = run_attempt(make_spec(tmp_path, command, n_values=2, metrics=["acc", "sec"]))
    assert outcome["values"] == [0.5, 12.0]


def test_a_regular_expression_over_stdout(tmp_path, drive):
    driver = drive()
    command = shell(
        "echo epoch 1 acc=0.5; echo noise; printf 'epoch 2 acc=0.75'", reports=r"epoch (?P<step>\d+) acc=(?P<value>\S+)"
    )
    outcome = run_attempt(make_spec(tmp_path, command, channel=driver.address))
    assert (outcome["kind"], outcome["values"]) == ("complete", [0.75])
    assert outcome["reports"] == [[1, 0.5], [2, 0.75]]


def test_a_regular_expression_without_steps_counts_them(tmp_path):
    command = shell("echo acc=1 acc=2", reports=r"acc=(?P<value>\S+)")
    assert run_attempt(make_spec(tmp_path, command))["reports"] == [[0, 1.0], [1, 2.0]]


def test_parameters_by_field_environment_and_file(tmp_path, monkeypatch):
    monkeypatch.setenv("PILOTUNE_LAUNCHER", "env LAUNCHED=1")
    program = """
        import json, os, sys
        print(json.dumps({"value": 1, "argv": sys.argv[1:], "lr": os.environ["PILOTUNE_PARAM_LR"],
            "file": json.load(open(os.environ["PILOTUNE_PARAMS"])), "cwd": os.getcwd(),
            "launched": os.environ["LAUNCHED"], "momentum": "PILOTUNE_PARAM_MOMENTUM" in os.environ,
            "seed": os.environ["PILOTUNE_SEED"], "study_dir": os.environ["PILOTUNE_STUDY_DIR"]}),
            file=open(os.environ["PILOTUNE_REPORTS"], "w"))
    """
    path = tmp_path / "a program.py"
    path.write_text(textwrap.dedent(program))
    command = f"{{launcher}} {sys.executable} '{path}' --lr={{lr}} {{kind}} {{number}} {{{{x}}}} {{momentum}} {{flag}}"
    params = {"lr": 1e-5, "kind": "a b; exit 9", "flag": True}
    spec = make_spec(
        tmp_path,
        ObjectiveSpec(command=command, folder=str(tmp_path)),
        params=params,
        space_names=["lr", "kind", "momentum", "flag"],
    )
    outcome = run_attempt(spec)
    assert outcome["kind"] == "complete", outcome
    assert outcome["user_attrs"] == {
        "argv": ["--lr=1e-05", "a b; exit 9", "7", "{x}", "", "true"],
        "lr": "1e-05",
        "file": params,
        "cwd": str(tmp_path / "trials" / "7" / "work-1"),
        "launched": "1",
        "momentum": False,
        "seed": "11",
        "study_dir": str(tmp_path),
    }


def test_values_are_quoted_for_a_shell(tmp_path):
    command = shell("""printf 'got=%s\\n' {x}; echo v=1""", reports="v=(?P<value>.*)")
    run_attempt(make_spec(tmp_path, command, params={"x": "$(echo no) 'a'"}))
    assert (tmp_path / "trials" / "7" / "stdout-1.txt").read_text().startswith("got=$(echo no) 'a'\n")


def test_a_pruned_command_is_ended(tmp_path, drive):
    driver = drive(verdict_at(1, "prune"))
    command = shell("""echo '{{"step": 1, "value": 1}}' > $PILOTUNE_REPORTS; sleep 600""")
    outcome = run_attempt(make_spec(tmp_path, command, channel=driver.address))
    assert (outcome["kind"], outcome["reason"], outcome["reports"]) == ("pruned", "pruned at step 1", [[1, 1.0]])


def test_a_pruned_command_that_ignores_sigterm_is_killed(tmp_path, drive):
    driver = drive(verdict_at(1, "prune"))
    command = shell(
        """trap '' TERM; echo '{{"step": 1, "value": 1}}' > $PILOTUNE_REPORTS; while :; do sleep 600; done"""
    )
    assert run_attempt(make_spec(tmp_path, command, channel=driver.address, grace=0.2))["kind"] == "pruned"


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("sleep 600", "yielded"),
        ("trap 'echo saved > {checkpoint_dir}/saved; exit 0' TERM; while :; do sleep 0.05; done", "yielded"),
        ("trap 'echo done > $PILOTUNE_REPORTS; exit 3' TERM; while :; do sleep 0.05; done", "failed"),
        (
            """trap 'echo "{{\\"value\\": 2}}" > $PILOTUNE_REPORTS; exit 0' TERM; while :; do sleep 0.05; done""",
            "complete",
        ),
    ],
)
def test_a_command_that_is_asked_to_yield(tmp_path, drive, command, kind):
    # The first report says that the shell has set its trap.
    ready = """echo '{{"step": 0, "value": 1}}' > $PILOTUNE_REPORTS;"""
    trap, _, rest = command.partition("TERM;") if "trap" in command else ("", "", command)
    text = f"{trap}TERM; {ready} {rest}" if trap else f"{ready} {rest}"
    driver = drive(verdict_at(0, "yield"))
    outcome = run_attempt(make_spec(tmp_path, shell(text), channel=driver.address))
    assert outcome["kind"] == kind, outcome
    assert len(driver.of(Report)) == 1


def test_a_kill_ends_a_command(tmp_path, drive):
    driver = drive(stop_at_start("kill"))
    assert run_attempt(make_spec(tmp_path, shell("sleep 600"), channel=driver.address))["kind"] == "stopped"


def test_a_failing_command_shows_its_last_words(tmp_path):
    outcome = run_attempt(make_spec(tmp_path, shell("echo first >&2; echo no such data >&2; exit 4")))
    assert (outcome["failure"], outcome["reason"]) == ("exit", "the command exited with 4: no such data")
    assert outcome["traceback"] == "first\nno such data"


@pytest.mark.parametrize(
    ("command", "failure", "words"),
    [
        ("kill -SEGV $$", "signal", "killed by SIGSEGV (signal 11)"),
        ("true", "value", "the command ended without a value in its report file"),
        ("echo rubbish > $PILOTUNE_REPORTS", "value", "line 1 of the report file, 'rubbish', cannot be used"),
        ("""echo '{{"step": -1, "value": 2}}' > $PILOTUNE_REPORTS; sleep 600""", "value", "a report is "),
        ("""echo '{{"value": NaN}}' > $PILOTUNE_REPORTS""", "value", "the command's value is nan, not a finite number"),
        ("sleep 600", "timeout", "it ran longer than its timeout of 1 s"),
        ("yes", "output", "it wrote more than 1000000 bytes to stdout-1.txt"),
        ("echo {nothing}", "setup", "the command has no value for {nothing}; known are number, "),
    ],
)
def test_a_command_s_failure_is_named(tmp_path, command, failure, words):
    outcome = run_attempt(make_spec(tmp_path, shell(command), timeout=1.0, max_output=1_000_000))
    assert (outcome["kind"], outcome["failure"]) == ("failed", failure), outcome
    assert words in outcome["reason"]


def test_memory_without_end_meets_the_limit(tmp_path):
    outcome = run_attempt(make_spec(tmp_path, script("x = bytearray(10**9)"), memory=200_000_000))
    assert outcome["failure"] == "exit"
    assert outcome["reason"].endswith("MemoryError")


def test_a_program_that_is_not_there_is_a_sentence(tmp_path):
    outcome = run_attempt(make_spec(tmp_path, ObjectiveSpec(command="no-such-program {x}")))
    assert outcome["failure"] == "setup"
    assert outcome["reason"] == "the command cannot be started: no-such-program: No such file or directory"


def test_what_a_command_leaves_running_is_killed(tmp_path):
    command = shell("""sleep 600 & echo $! > pid; echo '{{"value": 1}}' > $PILOTUNE_REPORTS""")
    assert run_attempt(make_spec(tmp_path, command))["kind"] == "complete"
    pid = int((tmp_path / "trials" / "7" / "work-1" / "pid").read_text())
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        state = "gone"
    assert state in ("Z", "X", "gone")


@pytest.mark.parametrize(
    ("command", "options", "words"),
    [
        ("train --lr {lr} --n {number} {{}}", {}, ""),
        ("train {rate}", {}, "the command has no value for {rate}; known are lr, number, "),
        ("train {lr", {}, "a single '{' in the command"),
        ("train 'lr", {}, "No closing quotation"),
        ("", {}, "the command is empty"),
        (["train", "{lr}"], {}, ""),
        (["train"], {"shell": True}, "one string, not a list"),
        ("train", {"reports": "acc=(.*)"}, "needs a group named value"),
        ("train", {"reports": "acc=("}, "is not one"),
        ("train", {"reports": "(?P<value>.)(?P<epoch>.)"}, "has a group 'epoch'"),
        ("train", {"reports": r"(?P<step>\d) (?P<value>.)"}, ""),
    ],
)
def test_commands_are_checked_before_anything_runs(command, options, words):
    problem = check_command(command, ["lr"], **options)
    assert words in problem
    assert bool(problem) is bool(words)


def test_fields_of_a_template():
    assert command_fields("a {lr} {{no}} {x}{lr}") == {"lr", "x"}
    assert command_fields(["{a}", "b{c}"]) == {"a", "c"}
    assert fill_arguments("run '{a} b' {{}}", {"a": "x y"}) == ["run", "x y b", "{}"]
    assert shlex.split(fill("run {a}", {"a": "x 'y'"}, quote=True)) == ["run", "x 'y'"]
    assert variable("optimizer.lr-max") == "PILOTUNE_PARAM_OPTIMIZER_LR_MAX"


def test_the_parameters_file_is_the_owner_s(tmp_path):
    run_attempt(make_spec(tmp_path, shell("true")))
    path = tmp_path / "trials" / "7" / "params-1.json"
    assert json.loads(path.read_text()) == {"x": 1.5}
    assert path.stat().st_mode & 0o077 == 0
