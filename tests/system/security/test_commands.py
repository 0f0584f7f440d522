"""No shell evaluates values of parameters or paths in commands, unless the study file asks for that."""

from __future__ import annotations

import itertools
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pilotune.errors import UserError
from pilotune.pipeline.studyfile import load_study_file
from pilotune.pipeline.trial.protocol import ObjectiveSpec
from pilotune.pipeline.worker.command.template import fill
from pilotune.pipeline.worker.run_attempt import run_attempt

from ...support.trial_driver import make_spec

EVIL = (
    "$(touch MARK)",
    "`touch MARK`",
    "; touch MARK;",
    "'; touch MARK; '",
    '"; touch MARK; "',
    "\n touch MARK\n",
    "\\'; touch MARK #",
    "'\nEOF\ntouch MARK #",
    "a[$(touch MARK)]",
    "${IFS}$(touch MARK)",
    "| touch MARK",
    "> MARK",
    "-",
    "--help",
    "*",
    "~",
    "!!",
    "%s%n",
    "{x}",
    "ü$(touch MARK)\u2028",
)
"""Values that create the file MARK when a shell evaluates them, and some that are only unusual."""

SAFE = ("echo {x}", "x={x}; echo $x", "echo a{x}b", "(echo {x})", "echo $(echo {x})", "[ {x} = 1 ] || echo {x}")
EXPOSED = (
    'echo "{x}"',
    "echo '{x}'",
    "echo `echo {x}`",
    "echo \\{x}",
    "echo ${x}",
    "echo $(({x}))",
    "echo a # {x}",
    "cat <<EOF\n{x}\nEOF",
    'echo "$(echo "{x}")"',
    "echo $'a\\'{x}'",
    "x=({x})",
)


def shell(text: str, folder: Path, program: str) -> bool:
    """Whether running ``text`` created MARK."""
    subprocess.run([program, "-c", text], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    mark = folder / "MARK"
    made = mark.exists()
    mark.unlink(missing_ok=True)
    return made


@pytest.mark.parametrize("program", ["/bin/sh", "/bin/bash"])
def test_a_value_is_one_word_wherever_the_shell_s_quotes_hold(program: str, tmp_path: Path) -> None:
    for template, value in itertools.product(SAFE, EVIL):
        assert not shell(fill(template, {"x": value}, quote=True), tmp_path, program), (template, value)
    said = subprocess.run([program, "-c", fill("printf %s {x}", {"x": EVIL[7]}, quote=True)], capture_output=True)
    assert said.stdout.decode() == EVIL[7]


@pytest.mark.parametrize("template", EXPOSED)
def test_where_quotes_do_not_hold_only_harmless_values_are_filled_in(template: str) -> None:
    for value in EVIL:
        if any(character in value for character in "$`;'\n|>*~!"):
            with pytest.raises(ValueError, match="without quotes around it"):
                fill(template, {"x": value}, quote=True)
    assert fill(template, {"x": 0.5}, quote=True) == template.replace("{x}", "0.5")


def test_such_a_value_would_have_been_evaluated(tmp_path: Path) -> None:
    """The reason for refusing them: each of these templates runs a value that is quoted in the usual way."""
    quoted = {"\n touch MARK #": EXPOSED[6], "$(touch MARK)": EXPOSED[0], "'$(touch MARK)'": EXPOSED[7]}
    for value, template in quoted.items():
        assert shell(template.replace("{x}", shlex.quote(value)), tmp_path, "/bin/sh"), template


PROGRAM = """
import json, os, pathlib, sys
pathlib.Path(sys.argv[1]).write_text(json.dumps([sys.argv[2:], os.environ["PILOTUNE_PARAM_X"]]))
pathlib.Path(os.environ["PILOTUNE_REPORTS"]).write_text('{"value": 1}')
"""


@pytest.mark.parametrize("by_shell", [False, True])
def test_a_command_gets_such_values_as_arguments_and_in_its_environment(by_shell: bool, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    words = [sys.executable, "program.py", "seen"]
    words[1:] = [str(tmp_path / word) for word in words[1:]]
    command = f"{shlex.join(words)} {{x}}" if by_shell else [*words, "{x}"]
    for number, value in enumerate(EVIL[::2]):
        objective = ObjectiveSpec(command=command, shell=by_shell)
        outcome = run_attempt(make_spec(tmp_path, objective, number=number, params={"x": value}, space_names=["x"]))
        assert outcome["kind"] == "complete", outcome
        assert json.loads((tmp_path / "seen").read_text()) == [[value], value]
    assert not list(tmp_path.rglob("MARK"))


def test_a_value_that_a_shell_would_look_into_is_refused_before_anything_runs(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    text = (
        "name: s\ndirection: minimize\nbudget: {trials: 1}\n"
        'command:\n  shell: true\n  run: \'train --name "{x}" --lr "{lr}"\'\n'
        "space:\n  lr: {float: [0.1, 1.0]}\n  x: {choice: [a, '$(touch MARK)']}\n"
    )
    path.write_text(text)
    with pytest.raises(UserError, match=r"study.yaml:6: command.run: the shell would read '\$\(touch MARK\)' as more"):
        load_study_file(path)
    path.write_text(text.replace("$(touch MARK)", "b-c"))
    assert load_study_file(path).objective.shell
