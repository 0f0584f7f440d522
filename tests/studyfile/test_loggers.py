"""The key ``loggers``: its forms, its mistakes, and packages that are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilotune.errors import UserError
from pilotune.pipeline.loggers import settings
from pilotune.pipeline.studyfile import check_user_parts, load_study_file
from pilotune.pipeline.studyfile.study_file import StudyFile

STUDY = """name: digits
objective: branin
direction: minimize
space: {x: {float: [-5, 10]}, y: {float: [0, 15]}}
budget: {trials: 3}
"""


def load(folder: Path, text: str) -> StudyFile:
    path = folder / "study.yaml"
    path.write_text(f"{STUDY}loggers: {text}\n")
    return load_study_file(path)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[tensorboard, wandb]", {"tensorboard": {}, "wandb": {}}),
        ("tensorboard", {"tensorboard": {}}),
        ("[{mlflow: {uri: 'sqlite:///all.db'}}, wandb]", {"mlflow": {"uri": "sqlite:///all.db"}, "wandb": {}}),
        (
            "{wandb: {project: p, mode: online}, tensorboard: }",
            {"wandb": {"project": "p", "mode": "online"}, "tensorboard": {}},
        ),
    ],
)
def test_names_and_mappings(text: str, found: dict[str, dict[str, str]], tmp_path: Path) -> None:
    study = load(tmp_path, text)
    assert {each.name: dict(each.args) for each in study.loggers} == found
    again = tmp_path / "again.yaml"
    again.write_text(study.resolved())
    assert load_study_file(again).loggers == study.loggers


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tensorbord]", "has no logger 'tensorbord'; did you mean 'tensorboard'?"),
        ("[mlflow, mlflow]", "names mlflow twice"),
        ("[{mlflow: {url: x}}]", "has no key 'url' of mlflow; did you mean 'uri'?"),
        ("[{wandb: {mode: on}}]", "must have offline or online for wandb.mode, but has 'on'"),
        ("[{tensorboard: {dir: 3}}]", "must have text for tensorboard.dir, but has 3"),
        ("[{tensorboard: logs}]", "must have a mapping for tensorboard, as in [{tensorboard: {dir: ...}}]"),
        ("[3]", "must be a list of names, or mappings as in [{mlflow: {uri: ...}}], but is [3]"),
    ],
)
def test_mistakes(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, text)
    assert str(caught.value) == f"{tmp_path}/study.yaml:6: loggers: {said}"


def test_a_missing_package_is_said_with_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = load(tmp_path, "[tensorboard, mlflow]")
    monkeypatch.setattr(settings, "find_spec", lambda name: None if name == "mlflow" else name)
    with pytest.raises(UserError) as caught:
        check_user_parts(study)
    assert caught.value.exit_code == 2
    assert str(caught.value) == (
        f"{tmp_path}/study.yaml:6: loggers[1]: mlflow needs the package mlflow, which is not installed: "
        "pip install 'pilotune[mlflow]'"
    )
