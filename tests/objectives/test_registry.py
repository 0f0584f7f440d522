"""The ready-made objectives by name, in a study file and from installed packages."""

from __future__ import annotations

import importlib
import random
import re
from pathlib import Path

import pytest

from pilotune.errors import UserError
from pilotune.objectives import settings
from pilotune.objectives.registry import OBJECTIVES
from pilotune.pipeline.studyfile import load_study_file
from pilotune.pipeline.studyfile.objective import find_objective
from pilotune.yamlfile import parse_yaml

PAGE = Path(__file__).resolve().parents[2] / "docs/ready-made.md"
SOURCE = parse_yaml("name: s\nobjective: branin\n", Path("study.yaml"))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_name_stands_for_a_function_that_exists(name: str, tmp_path: Path) -> None:
    names = ["x", "y"] if name == "branin" else []  # it takes its parameters as arguments
    found = find_objective(name, {}, tmp_path, SOURCE, names)
    module, function, _ = OBJECTIVES[name]
    assert (found.module, found.function) == (f"pilotune.objectives.{module}", function)


def test_a_bad_name_is_an_error_that_names_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"study.yaml:2: objective: must be .* but is 'branni'; did you mean 'branin'\?"
    ):
        find_objective("branni", {}, tmp_path, SOURCE)


def test_a_package_adds_an_objective_by_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acme_models.py").write_text("def tune(x):\n    return x\n")
    metadata = tmp_path / "acme-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[pilotune.objectives]\nacme = acme_models:tune\nlost = acme_models:no\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = find_objective("acme", {}, Path("/"), SOURCE)
    assert (found.module, found.function) == ("acme_models", "tune")
    with pytest.raises(UserError, match=r"study.yaml:2: objective: .*acme_models.*'no'"):
        find_objective("lost", {}, Path("/"), SOURCE)


def test_the_page_has_a_study_that_is_valid_for_each_objective_that_reports(tmp_path: Path) -> None:
    texts = re.findall(r"^```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = []
    for text in texts:
        (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
        study = load_study_file(tmp_path / "study.yaml")
        module = importlib.import_module(study.objective.module)
        given = study.space.sample(random.Random(0)) if study.space else {}
        settings.settings(given, module.DEFAULTS, {})
        found.append(study.source.data["objective"])
    assert found == ["mlp_classifier", "mlp_regressor", "cnn_classifier", "svm_classifier", "boosting_classifier"]


def test_the_page_lists_every_name() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in OBJECTIVES if f"`{name}`" not in text] == []
