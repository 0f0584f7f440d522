"""What is checked before a release: the files, installed in empty environments, and the lowest versions."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


def test_every_dependency_has_a_lowest_version() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    code = "import json, sys, lowest_versions as l; print(json.dumps(l.lowest(json.loads(sys.argv[1]))))"
    words = [sys.executable, "-c", code, json.dumps(project["dependencies"])]
    found = json.loads(subprocess.run(words, cwd=REPOSITORY / "release", capture_output=True, check=True).stdout)
    assert [each for each in found if "==" not in each or ">" in each] == []


@pytest.mark.exhaustive
@pytest.mark.installs
def test_what_is_to_be_released_runs_the_demo_in_an_empty_environment(tmp_path: Path) -> None:
    words = ["--dist", str(tmp_path / "dist"), "--trials", "4", "--python", Path(sys.executable).resolve().name]
    checked = subprocess.run(
        [sys.executable, "release/check.py", *words], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("ran 4 trials of the demo") == 2
