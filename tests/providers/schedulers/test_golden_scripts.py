"""The batch scripts for each shipped site, word for word.

``python -m tests.providers.schedulers.golden`` writes the files anew.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ...support.cli import Pilotune, alone, pilotune_  # noqa: F401
from .golden import BLOCKS, ENVIRONMENT, FOLDER, LABEL, PYTHON, render

STUDY = """
name: digits
command: "true"
direction: minimize
space: {x: {float: [0, 1]}}
budget: {trials: 2}
trial: {gpus: 1}
"""
DIRECTIVE = {"slurm": "#SBATCH ", "pbs": "#PBS ", "cobalt": "#COBALT "}


@pytest.fixture(scope="module")
def rendered() -> dict[str, str]:
    return dict(render())


def files() -> list[str]:
    return sorted(path.name for path in FOLDER.glob("*.sh"))


def test_every_pool_of_every_shipped_site_has_a_script(rendered: dict[str, str]) -> None:
    assert sorted(rendered) == files()


@pytest.mark.parametrize("name", files())
def test_a_script_has_not_changed(rendered: dict[str, str], name: str) -> None:
    assert rendered[name] == (FOLDER / name).read_text(encoding="utf-8"), (
        "python -m tests.providers.schedulers.golden accepts the change"
    )


@pytest.mark.parametrize("name", files())
def test_a_script_is_bash(name: str) -> None:
    done = subprocess.run(["bash", "-n", FOLDER / name], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", files())
def test_directives_precede_all_commands(name: str) -> None:
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#!/bin/bash"
    kinds = [any(line.startswith(word) for word in DIRECTIVE.values()) for line in lines]
    commands = [number for number, line in enumerate(lines) if line.strip() and not line.startswith("#")]
    assert True not in kinds[commands[0] :]


@pytest.mark.parametrize("name", files())
def test_a_script_holds_nothing_of_this_environment_or_of_a_run(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert str(Path(sys.executable).parent) not in text
    assert "None" not in text
    assert not re.search(r"tcp://|--port|cert", text)
    assert not re.search(r"\$\{(PROJECT|SCRATCH|USER)", text)


@pytest.mark.parametrize(("site", "pool"), [("perlmutter", "gpu"), ("polaris", "prod"), ("aurora", "prod")])
def test_a_dry_run_prints_it(
    pilotune: Pilotune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: str, pool: str
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "executable", PYTHON)
    (tmp_path / "study.yaml").write_text(STUDY)
    result = pilotune("run", tmp_path / "study.yaml", "--site", site, "--runs", "/shared/runs", "--dry-run", "--json")
    assert (result.code, result.err) == (0, "")
    (script,) = json.loads(result.out)["scripts"]
    text = re.sub(r"/shared/runs/digits/[^/]+/blocks", str(BLOCKS), script["text"])
    text = re.sub(r"digits-[0-9a-f]{6}(?=-)", LABEL, text)
    assert text == (FOLDER / f"{site}-{pool}.sh").read_text(encoding="utf-8")
