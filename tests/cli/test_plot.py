"""The command ``plot``, and ``export --plot``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import optuna
import pandas as pd
import pytest

from ..support.cli import Pilotune, alone, of_pilotune, pilotune_, random_study  # noqa: F401


@pytest.fixture
def url(tmp_path: Path) -> str:
    of_pilotune(f"sqlite:///{tmp_path}/study.db")
    return f"sqlite:///{tmp_path}/study.db"


def test_without_a_file_it_draws_text_on_stdout(pilotune: Pilotune, url: str) -> None:
    result = pilotune("plot", "digits", "history", "--storage", url)
    assert (result.code, result.err) == (0, "")
    assert "Value of each trial: value (maximize)" in result.out
    assert "\x1b" not in result.out


def test_without_a_kind_it_draws_those_that_suit(pilotune: Pilotune, url: str) -> None:
    result = pilotune("plot", "digits", "--storage", url)
    assert result.code == 0
    assert "How busy the workers were" in result.out
    assert "Pareto" not in result.out


def test_kinds_without_text_need_a_file(pilotune: Pilotune, url: str) -> None:
    result = pilotune("plot", "digits", "timeline", "--storage", url)
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "error: timeline cannot be drawn as text; give -o FILE.html or .png, or choose history, pareto, utilization, "
        "cost\n"
    )


def test_several_pictures_get_a_file_each_and_a_page_has_all(pilotune: Pilotune, url: str, tmp_path: Path) -> None:
    out = tmp_path / "x.svg"
    result = pilotune("plot", "digits", "history", "curves", "--storage", url, "-o", out)
    assert result.err == f"wrote 2 plots of digits to {tmp_path}/x-history.svg, {tmp_path}/x-curves.svg\n"
    assert (tmp_path / "x-curves.svg").read_bytes().startswith(b"<?xml")
    pilotune("plot", "digits", "history", "--storage", url, "-o", out)
    assert out.exists()
    pilotune("plot", "digits", "history", "curves", "--storage", url, "-o", tmp_path / "x.html")
    assert (tmp_path / "x.html").read_text().count("<figure ") == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["pareto", "-o", "x.png"], "study 'digits' has one objective; the plot pareto needs several"),
        (["history", "-o", "x.bmp"], "cannot tell a form from 'x.bmp'; end it with .html, .png, .svg, .pdf"),
        (["history", "--metric", "loss"], "study 'digits' has no metric 'loss'; it has value"),
        (["slice", "-o", "x.png", "--param", "lrr"], "study 'digits' has no parameter 'lrr'; did you mean 'lr'?"),
    ],
)
def test_a_mistake_is_one_sentence(pilotune: Pilotune, url: str, arguments: list[str], sentence: str) -> None:
    result = pilotune("plot", "digits", *arguments, "--storage", url)
    assert (result.code, result.out, result.err) == (2, "", f"error: {sentence}\n")


@pytest.mark.parametrize("words", [["plot", "empty", "history"], ["plot", "empty", "-o", "x.html"],
                                   ["export", "empty", "--plot", "history"]])  # fmt: skip
def test_nothing_to_show_yet_has_the_exit_code_of_best(pilotune: Pilotune, tmp_path: Path, words: list[str]) -> None:
    url = f"sqlite:///{tmp_path}/empty.db"
    optuna.create_study(study_name="empty", storage=url)
    result = pilotune(*words, "--storage", url)
    assert (result.code, result.out) == (pilotune("best", "empty", "--storage", url).code, "")
    assert "the study has no trials" in result.err


def test_json_says_what_a_plot_shows(pilotune: Pilotune, url: str) -> None:
    (found,) = json.loads(pilotune("plot", "digits", "curves", "--storage", url, "--json").out)["plots"]
    assert (found["kind"], found["numbers"]["reports"]) == ("curves", 3)


@pytest.mark.parametrize("package", ["matplotlib", "plotly", "plotext"])
def test_a_missing_package_is_one_sentence(
    pilotune: Pilotune, url: str, package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    file = {"matplotlib": ["-o", tmp_path / "x.png"], "plotly": ["-o", tmp_path / "x.html"], "plotext": []}[package]
    result = pilotune("plot", "digits", "history", "--storage", url, *file)
    assert result.code == 2
    assert result.err == f"error: plots need {package}, which is not installed: pip install 'pilotune[plots]'\n"


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_export_gives_the_numbers_of_a_plot(pilotune: Pilotune, url: str, form: str, tmp_path: Path) -> None:
    out = tmp_path / f"x.{form}"
    result = pilotune("export", "digits", "--plot", "timeline", "--storage", url, "-o", out)
    assert result.err == f"wrote the numbers of the plot timeline of digits to {out}\n"
    frame = {"csv": pd.read_csv, "json": pd.read_json, "parquet": pd.read_parquet}[form](out)
    assert sorted(frame["trial"]) == [0, 1, 2, 3]
    assert list(frame)[:6] == ["trial", "attempt", "asked", "began", "ended", "how"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--plot", "history", "--best"], "--plot writes the numbers of a plot"),
        (["--metric", "value"], "--metric belongs to --plot KIND, which is missing"),
        (["--plot", "blocks"], "has no record of its blocks"),
        (["--plot", "history", "--format", "yaml"], "numbers of a plot are written as csv, json, parquet, not as yaml"),
    ],
)
def test_export_of_a_plot_refuses_what_does_not_fit(
    pilotune: Pilotune, url: str, arguments: list[str], sentence: str
) -> None:
    result = pilotune("export", "digits", *arguments, "--storage", url)
    assert (result.code, result.out) == (2, "")
    assert sentence in result.err
