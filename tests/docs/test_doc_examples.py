"""The complete examples of docs/objectives.md: each study file is valid, and its objective fits it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from pilotune.pipeline.studyfile import load_study_file
from pilotune.pipeline.worker.objective.call import signature_problem
from pilotune.pipeline.worker.objective.load import load_objective

PAGE = (Path(__file__).resolve().parents[2] / "docs/objectives.md").read_text(encoding="utf-8")


def examples() -> dict[str, dict[str, str]]:
    """The files of each complete example, by the heading it stands under."""
    found = {}
    for section in re.split(r"^##+ ", PAGE, flags=re.MULTILINE):
        files = dict(re.findall(r"^`([\w.]+)`:\n```\w+\n(.*?)```", section, flags=re.MULTILINE | re.DOTALL))
        if files:
            found[section.splitlines()[0]] = files
    return found


def test_every_kind_of_objective_has_a_complete_example():
    assert len(examples()) == 6
    assert all("study.yaml" in files and len(files) == 2 for files in examples().values())


@pytest.mark.parametrize("title", list(examples()))
def test_an_example_is_valid(title, tmp_path, monkeypatch):
    for name, text in examples()[title].items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path])
    study = load_study_file(tmp_path / "study.yaml")
    if study.objective.command:
        assert (tmp_path / "solve.sh").exists()
    else:
        assert signature_problem(load_objective(study.objective), study.space.names if study.space else []) == ""
