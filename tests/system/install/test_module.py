"""``make install-module`` and the module file it writes, loaded by a real Lmod into clean shells."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pilotune

from ...support.install import REPOSITORY, make_install_module

pytestmark = [pytest.mark.slow, pytest.mark.installs, pytest.mark.exhaustive]

LMOD = Path("/usr/share/lmod/lmod/init")
VERSION = pilotune.__version__


@pytest.fixture
def shell(prefix: Path, tmp_path: Path):
    """Runs lines in a shell with Lmod and without start-up files; returns stdout and stderr."""
    if not LMOD.is_dir() and os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("Lmod is not installed, and this user cannot install it")

    def run(lines: str, program: str = "bash") -> str:
        options = ["--norc", "--noprofile"] if program == "bash" else ["-f"]
        text = f". {LMOD / program}\nmodule use {prefix}/modulefiles\n{lines}\n"
        environment = {"HOME": str(tmp_path), "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
        done = subprocess.run(
            [program, *options, "-c", text],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        return done.stdout

    return run


def test_the_module_is_listed_described_and_helps(shell) -> None:
    assert f"pilotune/{VERSION}" in shell("module avail 2>&1")
    assert "Hyperparameter optimization" in shell("module whatis pilotune")
    assert "pilotune run my-study/study.yaml" in shell("module help pilotune")


def test_loaded_in_a_clean_shell_it_gives_the_command_and_nothing_else(shell, prefix: Path) -> None:
    lines = "before=$(type -P python3)\nmodule load pilotune\ntype -P pilotune\npilotune --version\n"
    lines += '[ "$(type -P python3)" = "$before" ] && echo the same python3\necho $PILOTUNE_SITES'
    bin_folder = prefix / "pilotune" / VERSION / "bin"
    assert shell(lines).splitlines() == [
        str(bin_folder / "pilotune"),
        f"pilotune {VERSION}",
        "the same python3",
        str(prefix / "pilotune" / "sites"),
    ]
    assert [path.name for path in bin_folder.iterdir()] == ["pilotune"]


def test_unloading_leaves_the_shell_as_it_was(shell) -> None:
    lines = "before=$PATH\nmodule load pilotune\nmodule unload pilotune\n"
    lines += '[ "$PATH" = "$before" ] && echo same PATH\ntype -P pilotune\necho "$PILOTUNE_SITES"\n'
    lines += "complete -p pilotune\ntype -t _pilotune_completion"
    out = shell(lines)
    assert out.startswith("same PATH\n\n")
    assert "no completion specification" in out
    assert "function" not in out


def test_a_study_runs_from_the_module_in_its_own_environment(shell, prefix: Path) -> None:
    """Workers start by an absolute path, since only ``pilotune`` is on PATH."""
    lines = "module load pilotune\npilotune init first >log\npilotune run first --trials 3 >log 2>&1 || cat log\n"
    out = shell(lines + "pilotune trials first --json")
    assert len(json.loads(out)) == 3


def test_site_files_of_the_installation_are_found_by_name(shell, prefix: Path) -> None:
    folder = prefix / "pilotune" / "sites"
    (folder / "ours.yaml").write_text("scheduler: local\npools: {small: {workers_per_node: 1}}\n")
    assert "site       ours (local)" in shell("module load pilotune\npilotune init x && pilotune check x --site ours")


@pytest.mark.parametrize("program", ["bash", "zsh"])
def test_loading_it_brings_completion(shell, program: str) -> None:
    if shutil.which(program) is None and os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip(f"{program} is not installed, and this user cannot install it")
    if program == "bash":
        lines = "module load pilotune\ncomplete -p pilotune\nCOMP_WORDS=(pilotune resu)\nCOMP_CWORD=1\n"
        out = shell(lines + '_pilotune_completion pilotune\necho "${COMPREPLY[*]}"')
        assert out.splitlines() == ["complete -o nosort -F _pilotune_completion pilotune", "resume"]
        return
    lines = "autoload -U compinit && compinit -D\nmodule load pilotune\necho $_comps[pilotune]\n"
    lines += "module unload pilotune\necho left: $_comps[pilotune]"
    assert shell(lines, program).splitlines() == ["_pilotune_completion", "left:"]


def test_others_can_read_all_of_it(prefix: Path) -> None:
    for path in [
        prefix / "pilotune",
        *prefix.joinpath("pilotune").rglob("*"),
        *prefix.joinpath("modulefiles").rglob("*"),
    ]:
        wanted = 0o005 if path.is_dir() else 0o004
        assert path.is_symlink() or path.stat().st_mode & wanted == wanted, path


@pytest.mark.exhaustive
def test_a_second_run_installs_again_in_the_same_place(prefix: Path) -> None:
    root = prefix / "pilotune" / VERSION
    module = prefix / "modulefiles" / "pilotune" / f"{VERSION}.lua"
    before, text = (root / "venv" / "pyvenv.cfg").stat().st_mtime_ns, module.read_text()
    errors = root / "venv" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages" / "pilotune" / "errors.py"
    errors.write_text("broken")
    make_install_module(prefix, PIP_NO_DEPS="1")
    assert errors.read_text() == (REPOSITORY / "errors.py").read_text()
    assert (root / "venv" / "pyvenv.cfg").stat().st_mtime_ns == before
    assert module.read_text() == text
    assert sorted(path.name for path in module.parent.iterdir()) == [f"{VERSION}.lua", "default"]
    assert os.readlink(module.parent / "default") == module.name


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("", "PREFIX is missing, as in make install-module PREFIX=/soft/apps"),
        ("soft/apps", "PREFIX must be absolute, as in make install-module PREFIX=/soft/apps, but is 'soft/apps'"),
        ("/soft/a:b", "PREFIX must be made of letters, digits and /._+,@=- only, but is '/soft/a:b'"),
        ("/etc/passwd/apps", "/etc/passwd is not a folder; give another PREFIX"),
        (
            "/proc/apps",
            f"/proc/apps/pilotune/{VERSION}/bin cannot be created or written to (No such file or directory); "
            "give another PREFIX",
        ),
    ],
)
def test_an_impossible_prefix_is_refused_with_the_reason(wanted: str, words: str) -> None:
    assert make_install_module(wanted, code=2).stderr.splitlines()[0] == f"error: {words}"
