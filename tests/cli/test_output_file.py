"""Files and folders that commands write to: what cannot be written is one sentence that names it, and exit code 2."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pilotune.pipeline.cli import output_file

from ..support.cli import Pilotune, alone, of_pilotune, pilotune_  # noqa: F401

STUDY = "name: s\nobjective: f.py:f\ndirection: minimize\nspace: {x: {float: [0, 1]}}\nbudget: {trials: 1}\n"
COMMANDS = [
    ("plot", "digits", "history", "-o", "x.html"),
    ("plot", "digits", "history", "curves", "-o", "x.png"),
    ("report", "digits", "-o", "x.html"),
    ("export", "digits", "-o", "x.csv"),
    ("export", "digits", "--best", "-o", "x.yaml"),
    ("export", "digits", "--plot", "history", "-o", "x.json"),
]


@pytest.fixture
def storage(tmp_path: Path) -> str:
    of_pilotune(f"sqlite:///{tmp_path}/study.db")
    return f"sqlite:///{tmp_path}/study.db"


@pytest.mark.parametrize("words", COMMANDS)
@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        ("nowhere", "there is no folder nowhere to write {} to; create it, or give another path"),
        ("a-file", "a-file is a file, so {} cannot be written to it; give another path"),
    ],
)
def test_a_folder_that_is_none(
    pilotune: Pilotune, storage: str, words: tuple[str, ...], folder: str, sentence: str
) -> None:
    Path("a-file").write_text("")
    *rest, name = words
    result = pilotune(*rest, f"{folder}/{name}", "--storage", storage)
    assert (result.code, result.out, result.err) == (2, "", f"error: {sentence.format(name)}\n")


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_or_a_file_that_may_not_be_written(
    pilotune: Pilotune, storage: str, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    monkeypatch.setattr(output_file.os, "access", lambda path, mode: mode != os.W_OK)
    if exists:
        Path("x.csv").write_text("")
    result = pilotune("export", "digits", "-o", "x.csv", "--storage", storage)
    what = "file x.csv" if exists else "folder ."
    assert (result.code, result.err) == (2, f"error: you may not write to the {what}; give another path\n")


def test_what_the_system_refuses_is_one_sentence_and_a_full_disk_has_its_own_code(
    pilotune: Pilotune, storage: str
) -> None:
    result = pilotune("export", "digits", "-o", "/proc/x.csv", "--storage", storage)
    assert result.code == 2
    assert result.err.startswith("error: ")
    assert "/proc" in result.err
    full = pilotune("export", "digits", "-o", "/dev/full", "--format", "csv", "--storage", storage)
    assert (full.code, full.err) == (3, "error: /dev/full: No space left on device\n")


@pytest.mark.parametrize(
    ("words", "path"),
    [(("init", "a-file/x"), "a-file/x"), (("try", "study.yaml", "--checkpoint-dir", "a-file/x"), "a-file/x")],
)
def test_folders_that_cannot_be_created(pilotune: Pilotune, words: tuple[Any, ...], path: str) -> None:
    Path("a-file").write_text("")
    Path("study.yaml").write_text(STUDY)
    Path("f.py").write_text("def f(x):\n    return x\n")
    result = pilotune(*words)
    assert (result.code, result.out) == (2, "")
    assert result.err == f"error: {path} cannot be written (not a directory); give another path\n"
