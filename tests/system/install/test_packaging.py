"""The wheel: what is in it, and that it runs a study in an empty environment away from the repository."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.installs]

REPOSITORY = Path(__file__).resolve().parents[3]
SHIPPED = ("pipeline", "providers", "objectives")
STUDY = """
name: away
objective: pilotune.objectives.functions:learning_curve
direction: minimize
space:
  lr: {float: [1.0e-4, 1.0], log: true}
  epochs: 9
pruner: {name: hyperband, min_resource: 1, max_resource: 9, reduction_factor: 3}
budget: {trials: 6}
"""


@pytest.fixture
def pilotune(elsewhere, tmp_path):
    """Runs the console command of that environment in a new folder, and returns its stdout."""
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "XDG_STATE_HOME": str(tmp_path)}

    def run(*words: str, code: int = 0) -> str:
        command = [str(elsewhere / "pilotune"), *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    return run


def test_the_wheel_holds_every_module_and_file_of_the_package_and_nothing_else(wheel):
    wanted = {path.relative_to(REPOSITORY) for path in REPOSITORY.glob("*.py")} | {Path("py.typed")}
    for room, kind in ((room, kind) for room in SHIPPED for kind in ("*.py", "*.sh")):
        wanted |= {path.relative_to(REPOSITORY) for path in (REPOSITORY / room).rglob(kind)}
    for templates in ("pipeline/cli/templates", "pipeline/analysis/report/templates"):
        wanted |= {path.relative_to(REPOSITORY) for path in (REPOSITORY / templates).iterdir() if path.is_file()}
    wanted |= {
        path.relative_to(REPOSITORY)
        for path in (REPOSITORY / "site-configs").glob("*")
        if path.suffix in (".yaml", ".lua")
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {Path(name) for name in archive.namelist()}
    assert {path.relative_to("pilotune") for path in held if path.parts[0] == "pilotune"} == wanted
    assert {path.parts[0] for path in held} == {"pilotune", wheel.name.rsplit("-py3")[0] + ".dist-info"}


def test_it_runs_a_study_away_from_the_repository(pilotune, tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY, encoding="utf-8")
    pilotune("run", "study.yaml")
    trials = json.loads(pilotune("trials", "away", "--json"))
    assert len(trials) == 6
    assert {trial["state"] for trial in trials} <= {"complete", "pruned"}
    assert json.loads(pilotune("best", "away", "--json"))["best"][0]["params"]["epochs"] == 9


@pytest.mark.exhaustive
def test_what_init_writes_there_runs(pilotune, tmp_path):
    pilotune("init", "first")
    pilotune("run", "first/study.yaml", "--trials", "4")
    assert len(json.loads(pilotune("trials", "first/study.yaml", "--json"))) == 4


def test_the_package_is_imported_from_that_environment(elsewhere, tmp_path):
    code = "import pilotune; print(pilotune.__file__)"
    found = subprocess.run([elsewhere / "python", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert os.path.realpath(found.stdout.strip()).startswith(os.path.realpath(elsewhere.parent))
