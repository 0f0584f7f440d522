"""The group of commands: help, errors and exit codes, completion, commands of other packages, and what is imported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from pilotune.errors import SiteError
from pilotune.pipeline.cli import main as cli

from ..support.cli import Pilotune, alone, pilotune_  # noqa: F401

HEAVY = (
    "optuna",
    "parsl",
    "sqlalchemy",
    "pandas",
    "numpy",
    "rich",
    "pydantic",
    "yaml",
    "zmq",
    "torch",
    "textual",
    "waitress",
)

GUARD = """
import sys
from pilotune.pipeline.cli.main import main
code = main(sys.argv[1:])
heavy = {name.partition(".")[0] for name in sys.modules}
print(code, sorted(heavy & set(%r)))
"""


def imported_after(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", GUARD % (HEAVY,), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["completion", "bash"], ["rnu"]])
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    assert imported_after(*arguments).endswith(" []")


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_the_help_of_a_command_imports_nothing_heavy(command: str) -> None:
    assert imported_after(command, "--help") == "0 []"


def test_help_shows_all_commands_exit_codes_and_completion(pilotune: Pilotune) -> None:
    result = pilotune("--help")
    assert result.code == 0
    assert all(f"\n  {name} " in result.out for name in cli.COMMANDS)
    assert "3 site, disk or database failure" in result.out
    assert "pilotune completion bash" in result.out


def test_every_command_of_the_table_exists_under_its_name(pilotune: Pilotune) -> None:
    for name in cli.COMMANDS:
        command = cli.cli.get_command(click.Context(cli.cli), name)
        assert command is not None
        assert command.name == name


def test_version(pilotune: Pilotune) -> None:
    from pilotune import __version__

    assert pilotune("--version").out == f"pilotune {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rnu"], "no command 'rnu'; did you mean 'run'?"),
        (["run"], "missing argument 'STUDY'"),
        (["run", "s.yaml", "--trails", "3"], "--trails"),
        (["run", "s.yaml", "--trials", "0"], "0 is not in the range x>=1"),
        (["trials", "x", "--state", "done"], "'done' is not one of"),
        (["run", "none.yaml"], "there is no study file none.yaml; `pilotune init` writes one"),
        (["check", "none.yaml"], "there is no study file none.yaml"),
        (["resume", "digits"], "you have run no study 'digits' here; there are none yet"),
        (["best"], "no study has been run yet"),
        (["watch"], "nothing is running"),
        (["stop", "digits"], "no study 'digits'"),
        (["best", "x", "--storage", "sqlite:///none.db"], "there is no database file"),
        (["best", "x", "--storage", "postgresql://me:secret@host/db"], "holds a password"),
        (["best", "x", "--storage", "rubbish"], "the storage must be a URL"),
    ],
)
def test_a_users_mistake_is_one_sentence_with_exit_code_2(pilotune: Pilotune, arguments: list[str], words: str) -> None:
    result = pilotune(*arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("error: ")
    assert words in result.err
    assert "secret" not in result.err
    assert len(result.err.splitlines()) == 1


PLUGIN = """
import click

@click.command()
@click.argument("name")
def grade(name):
    click.echo(f"graded {name}")

broken = 3
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package that offers commands; one of them has the name of Pilotune's own ``best``."""
    (tmp_path / "grading.py").write_text(PLUGIN)
    metadata = tmp_path / "grading-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: grading\nVersion: 1.2\n")
    points = "grade = grading:grade\nbest = grading:grade\nbroken = grading:broken\nmissing = nowhere:grade\n"
    (metadata / "entry_points.txt").write_text(f"[{cli.PLUGINS}]\n{points}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(vars(cli.cli), "plugin_commands", raising=False)  # read once in a process
    yield
    vars(cli.cli).pop("plugin_commands", None)


@pytest.mark.usefixtures("plugin")
def test_another_package_can_offer_a_command(pilotune: Pilotune) -> None:
    assert pilotune("grade", "digits").out == "graded digits\n"
    assert "graded" not in pilotune("best", "digits").out
    text = pilotune("--help").out
    assert "\n  grade " in text
    assert "grading 1.2" in text
    assert "did you mean 'grade'?" in pilotune("grad").err


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("name", "words"), [("broken", "is not a click command"), ("missing", "cannot be loaded: No module named")]
)
def test_a_broken_command_of_another_package_is_an_error_that_names_the_package(
    pilotune: Pilotune, name: str, words: str
) -> None:
    result = pilotune(name)
    assert result.code == 2
    assert f"error: the command '{name}' of grading 1.2 {words}" in result.err


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(cli.LazyGroup, "resolve_command", fail)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (SiteError("qsub said no"), 3, "error: qsub said no"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(28, "No space left on device", "/scratch/x"), 3, "error: /scratch/x: No space left on device"),
        (OSError(13, "Permission denied", "/scratch/x"), 1, "error: /scratch/x: Permission denied"),
    ],
)
def test_expected_errors_have_their_exit_code(
    pilotune: Pilotune, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, words: str
) -> None:
    raising(monkeypatch, error)
    result = pilotune("status")
    assert (result.code, result.err.strip()) == (code, words)


def test_an_unexpected_error_keeps_its_traceback_in_a_file(
    pilotune: Pilotune, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    raising(monkeypatch, KeyError("lr"))
    result = pilotune("status")
    assert result.code == 70
    assert len(result.err.splitlines()) == 1
    (file,) = tmp_path.glob("pilotune-*.txt")
    assert str(file) in result.err
    assert "Traceback" in file.read_text()
    assert file.stat().st_mode & 0o077 == 0


def test_debugging_prints_the_traceback(pilotune: Pilotune, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, KeyError("lr"))
    monkeypatch.setenv("PILOTUNE_DEBUG", "1")
    assert "Traceback" in pilotune("status").err


def warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on every command begins with a library's warning."""
    resolve = cli.LazyGroup.resolve_command

    def warn(*args: Any, **options: Any) -> Any:
        warnings.warn("the distribution is odd", UserWarning, stacklevel=1)
        return resolve(*args, **options)

    monkeypatch.setattr(cli.LazyGroup, "resolve_command", warn)


@pytest.mark.filterwarnings("always")
def test_warnings_of_libraries_go_to_the_log_and_not_to_the_terminal(
    pilotune: Pilotune, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    warning(monkeypatch)
    result = pilotune("status")
    assert result.code == 0
    assert "odd" not in result.err
    (record,) = [record for record in caplog.records if record.name == "py.warnings"]
    assert "UserWarning: the distribution is odd" in record.getMessage()


@pytest.mark.filterwarnings("always")
def test_debugging_leaves_warnings_as_they_are(pilotune: Pilotune, monkeypatch: pytest.MonkeyPatch) -> None:
    warning(monkeypatch)
    monkeypatch.setenv("PILOTUNE_DEBUG", "1")
    with pytest.warns(UserWarning, match="the distribution is odd"):
        pilotune("status")


def test_a_closed_pipe_is_not_an_error() -> None:
    command = f"{sys.executable} -m pilotune.pipeline.cli.main --help | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_scripts_parse(pilotune: Pilotune, shell: str, tmp_path: Path) -> None:
    result = pilotune("completion", shell)
    assert "_PILOTUNE_COMPLETE" in result.out
    if shutil.which(shell) is None and "CI" not in os.environ and os.geteuid() != 0:
        pytest.skip(f"{shell} is not installed, and only root could install it")
    subprocess.run([shell, "-n"], input=result.out, text=True, check=True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [("pilotune re", "resume"), ("pilotune run --det", "--detach"), ("pilotune best dig", "digits")],
)
def test_completion_completes_commands_options_and_studies(words: str, expected: str) -> None:
    from pilotune.pipeline.record import known_studies

    here = Path.cwd()
    known_studies.save(
        name="digits", study_file=here / "s.yaml", storage="sqlite:///x.db", runs=here, site="local", run_dir=here
    )
    environment = {
        **os.environ,
        "_PILOTUNE_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    command = [sys.executable, "-m", "pilotune.pipeline.cli.main"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert f"plain,{expected}" in done.stdout.splitlines()


KEYS_STUDY = """
name: digits
objective: train.py:train
direction: maximize
space: {lr: {float: [0, 1]}, units: {int: [1, 9]}}
sampler: {name: random, seed: 1}
pruner: median
"""


@pytest.fixture
def completed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """What the shell would offer for the last word, asked in this process."""

    def answer(words: str, shell: str = "bash") -> list[str]:
        monkeypatch.setenv("_PILOTUNE_COMPLETE", f"{shell}_complete")
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
        with pytest.raises(SystemExit) as ended:
            cli.main([])
        assert not ended.value.code
        captured = capsys.readouterr()
        assert captured.err == ""
        lines = captured.out.splitlines()
        return [line.removeprefix("plain,") for line in lines] if shell == "bash" else lines[1::3]

    return answer


@pytest.mark.parametrize(
    ("words", "expected", "missing"),
    [
        ("pilotune run study.yaml --set budget.tr", ["budget.trials="], ["budget.time="]),
        ("pilotune run study.yaml --set sp", ["space.lr=", "space.units="], []),
        ("pilotune run --set space.", ["space.lr="], []),  # the study file of this folder, as none is given yet
        ("pilotune check study.yaml --set pruner.", ["pruner.name=", "pruner.n_startup_trials="], ["pruner.seed="]),
        ("pilotune run study.yaml --set sampler.", ["sampler.seed="], ["sampler.multivariate="]),
        (
            "pilotune run study.yaml --site cluster.yaml --set pools.",
            ["pools.gpu.walltime=", "pools.gpu.blocks.max="],
            [],
        ),
        (
            "pilotune run study.yaml --site cluster.yaml --site local --set cluster.",
            ["cluster.account=", "cluster.pools.gpu.walltime="],
            ["cluster.pools.local.walltime="],
        ),
        ("pilotune run study.yaml --set pools.", ["pools.local.workers_per_node="], ["pools.gpu.walltime="]),
        ("pilotune site show cluster.yaml --set pools.gpu.wa", ["pools.gpu.walltime="], []),
        ("pilotune run nothing.yaml --set bud", ["budget.trials="], []),
        ("pilotune run broken.yaml --set bud", ["budget.trials="], []),
        ("pilotune resume known --set space.l", ["space.lr="], []),
    ],
)
def test_completion_completes_the_keys_of_set(
    completed: Callable[..., list[str]], words: str, expected: list[str], missing: list[str]
) -> None:
    from pilotune.pipeline.record import known_studies

    here = Path.cwd()
    Path("study.yaml").write_text(KEYS_STUDY)
    Path("broken.yaml").write_text("name: [\n")
    Path("cluster.yaml").write_text("scheduler: slurm\npools: {gpu: {walltime: 1h}}\n")
    known_studies.save(name="known", study_file=here / "study.yaml", storage="sqlite:///x.db", runs=here, site="local",
                       run_dir=here)  # fmt: skip
    found = completed(words)
    assert set(expected) <= set(found)
    assert not set(missing) & set(found)
    assert all(key.endswith("=") and key.startswith(words.split(" ")[-1]) for key in found)


def test_zsh_completes_values_of_keys_that_have_few(completed: Callable[..., list[str]]) -> None:
    assert completed("pilotune run study.yaml --set direction=max", "zsh") == ["direction=maximize"]
    assert "sampler=tpe" in completed("pilotune run study.yaml --set sampler=t", "zsh")
    assert completed("pilotune run study.yaml --set budget.time=1", "zsh") == []


def test_bash_adds_no_space_after_a_key(pilotune: Pilotune, tmp_path: Path) -> None:
    """The script is run by bash itself, with a program that answers as Pilotune does."""
    script = tmp_path / "completion.bash"
    script.write_text(pilotune("completion", "bash").out)
    program = tmp_path / "pilotune"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m pilotune.pipeline.cli.main "$@"\n')
    program.chmod(0o755)
    for word, reply, options in (("budget.tr", "budget.trials=", "nospace"), ("--", "", "")):
        lines = f"""
            compopt() {{ echo "option $1 $2"; }}
            . {script}
            COMP_WORDS=({program} run study.yaml --set {word}) COMP_CWORD=4
            _pilotune_completion {program}
            echo "reply ${{COMPREPLY[*]}}"
        """
        done = subprocess.run(["bash", "-c", lines], capture_output=True, text=True, check=True)
        assert f"reply {reply}" in done.stdout.splitlines()[-1]
        assert ("option -o nospace" in done.stdout) == bool(options)
