"""The command ``report``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from ..support.cli import Pilotune, alone, of_pilotune, pilotune_  # noqa: F401


@pytest.fixture
def url(tmp_path: Path) -> str:
    of_pilotune(f"sqlite:///{tmp_path}/study.db")
    return f"sqlite:///{tmp_path}/study.db"


def test_it_writes_report_html(pilotune: Pilotune, url: str) -> None:
    result = pilotune("report", "digits", "--storage", url)
    assert (result.code, result.out, result.err) == (0, "", "wrote the report of digits to report.html\n")
    assert "<h1>Report of digits</h1>" in Path("report.html").read_text()


def test_json_says_the_same(pilotune: Pilotune, url: str) -> None:
    (found,) = json.loads(pilotune("report", "digits", "--storage", url, "--json").out)["reports"]
    sections = {section["key"]: section for section in found["sections"]}
    assert sections["result"]["text"][0] == "The best is trial 1: value 0.9."
    assert "history" in [figure["kind"] for figure in sections["plots"]["figures"]]


def test_an_unknown_study_or_metric_is_one_sentence(pilotune: Pilotune, url: str) -> None:
    assert pilotune("report", "digts", "--storage", url).code == 2
    result = pilotune("report", "digits", "--storage", url, "--metric", "loss")
    assert (result.code, result.err) == (2, "error: study 'digits' has no metric 'loss'; it has value\n")


def test_without_jinja2_it_says_how_to_install_it(
    pilotune: Pilotune, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    result = pilotune("report", "digits", "--storage", url)
    assert result.code == 2
    assert result.err == "error: reports need jinja2, which is not installed: pip install 'pilotune[report]'\n"


def test_another_form_than_html_is_refused(pilotune: Pilotune, url: str, tmp_path: Path) -> None:
    result = pilotune("report", "digits", "--storage", url, "-o", str(tmp_path / "a.pdf"))
    assert (result.code, result.err) == (2, "error: a report is an HTML file; end 'a.pdf' with .html\n")
