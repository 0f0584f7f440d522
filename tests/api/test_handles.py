"""``pilotune.open`` and the study that it returns say what the commands say, of any study in a database."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import pilotune as package
from pilotune.errors import PilotuneError, UserError
from pilotune.pipeline.analysis import export, read_study
from pilotune.pipeline.analysis.plots import KINDS
from pilotune.pipeline.api.plots import Plots
from pilotune.pipeline.driver.status import Status
from pilotune.pipeline.record import RunDirectory

from ..support.cli import Pilotune, alone, new_study, of_pilotune, pilotune_, random_study  # noqa: F401


@pytest.fixture
def url(tmp_path: Path) -> str:
    of_pilotune(f"sqlite:///{tmp_path}/study.db")
    return f"sqlite:///{tmp_path}/study.db"


def test_the_package_imports_nothing_heavy_until_it_is_used() -> None:
    heavy = ("optuna", "pandas", "yaml", "click", "cloudpickle")
    code = f"import sys, pilotune; dir(pilotune); print([each for each in {heavy} if each in sys.modules], "
    code += "pilotune.run.__name__, 'run' in dir(pilotune))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] run True\n"


def test_the_best_trial_is_that_of_the_command(pilotune: Pilotune, url: str) -> None:
    study = package.open("digits", storage=url)
    told = json.loads(pilotune("best", "digits", "--storage", url, "--json").out)
    assert [row.as_dict() for row in study.best_trials] == told["best"]
    assert (study.best.number, study.best_params["epochs"]) == (1, 27)
    assert (study.certainty, study.schedule, study.summary.failed) == (None, [], 1)


def test_the_trials_are_those_of_the_export(url: str) -> None:
    study, buffer = package.open("digits", storage=url), io.BytesIO()
    export(read_study(url, "digits"), "csv", buffer)
    written = pd.read_csv(io.BytesIO(buffer.getvalue()))
    assert list(study.trials().columns) == list(written.columns)
    assert study.trials()["number"].tolist() == written["number"].tolist()
    assert next(iter(study.reports().columns)) == "number"


def test_optuna_and_the_audit_read_the_same_study(url: str) -> None:
    study = package.open("digits", storage=url)
    assert [trial.number for trial in study.optuna().trials] == list(range(len(study.trials())))
    assert study.verify().study == "digits"


def test_a_study_shows_itself_in_a_notebook(url: str, tmp_path: Path) -> None:
    study = package.open("digits", storage=url)
    assert study._repr_html_().startswith("<b>digits</b>: ")
    assert "<th>best trial</th>" in study._repr_html_()
    assert repr(study) == f"<pilotune.Study digits in {url}>"
    random_study(f"sqlite:///{tmp_path}/odd.db", 2, name="<script>")
    assert "<script>" not in package.open(storage=f"sqlite:///{tmp_path}/odd.db")._repr_html_()


def test_a_study_without_one_best_trial_says_so(url: str, tmp_path: Path) -> None:
    new_study(url, "empty")
    with pytest.raises(PilotuneError, match="study 'empty' has no complete trial yet, so there is no best one"):
        _ = package.open("empty", storage=url).best
    random_study(f"sqlite:///{tmp_path}/two.db", 12, direction=None, directions=["minimize", "maximize"])
    front = package.open(storage=f"sqlite:///{tmp_path}/two.db")
    assert len(front.best_trials) > 1
    for what in ("best", "best_params"):
        with pytest.raises(UserError, match=r"trials of 'digits' are on the Pareto front \(.*\); see best_trials"):
            getattr(front, what)


def test_a_name_or_a_timeout_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name: must be a study's name or its study file, but is an int"):
        package.open(3)  # type: ignore[arg-type]
    handle = campaign(tmp_path / "digits" / "20261130-000000-abcdef", state="ended", code=0)
    for timeout in ("a", -1, True):
        with pytest.raises(UserError, match="timeout: must be a number of seconds"):
            handle.wait(timeout)  # type: ignore[arg-type]


def test_an_unknown_study_is_refused_with_the_nearest_names(url: str) -> None:
    with pytest.raises(UserError, match="you have run no study 'digts' here"):
        package.open("digts")
    with pytest.raises(UserError, match="did you mean 'digits'"):
        _ = package.open("digts", storage=url).best
    study = package.open("digits", storage=url)
    assert study.campaigns == []
    with pytest.raises(UserError, match="the location of the study file of 'digits' is not known"):
        study.resume()


def test_each_kind_of_plot_is_a_method(url: str) -> None:
    plot = package.open("digits", storage=url).plot
    assert [name for name in vars(Plots) if not name.startswith("_")] == list(KINDS)
    shown = plot.history()
    assert type(shown).__module__.startswith("plotly.")
    assert shown.layout.title.text.startswith("Value of each trial")
    assert type(plot.slice(parameters=["lr"], backend="matplotlib")).__module__ == "matplotlib.figure"


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda plot: plot.pareto(), "study 'digits' has one objective; the plot pareto needs several"),
        (lambda plot: plot.history(metric="loss"), "study 'digits' has no metric 'loss'; it has value"),
        (lambda plot: plot.history(backend="bokeh"), "backend: must be plotly or matplotlib, but is 'bokeh'"),
    ],
)
def test_what_cannot_be_plotted_is_said(draw: Callable[[Any], Any], said: str, url: str) -> None:
    with pytest.raises(UserError) as caught:
        draw(package.open("digits", storage=url).plot)
    assert str(caught.value) == said


@pytest.mark.parametrize("name", ["plotly", "matplotlib"])
def test_a_missing_package_is_named(name: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for known in [each for each in sys.modules if each.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, known)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=rf"plots need {name}, which is not installed: pip install 'pilotune\[plots\]'"):
        package.open("digits", storage=url).plot.history(backend=name)


def campaign(folder: Path, **fields: Any) -> package.Campaign:
    """A campaign of which there is only the status that its driver has written."""
    folder.mkdir(parents=True)
    status = Status("digits", folder.name, host=socket.gethostname(), pid=2**22 + 1, **fields)  # no such process
    RunDirectory(folder).status.write_text(status.to_json())
    return package.Campaign(folder)


ENDS = [
    ({"state": "ended", "code": 0, "complete": 3}, "ended", ""),
    (
        {"state": "ended", "code": 1, "reason": "20 failed in a row"},
        "ended",
        "ended without a usable result: 20 failed",
    ),
    ({"state": "ended", "code": 130, "reason": "stopped by you"}, "stopped", "was stopped: stopped by you"),
    ({"state": "running"}, "died", "died; its driver's log is {folder}/driver.log"),
]


@pytest.mark.parametrize(("fields", "state", "said"), ENDS)
def test_a_campaign_without_a_result_raises_only_where_that_is_asked_for(
    fields: dict[str, Any], state: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handle = campaign(tmp_path / "digits" / "20261130-000000-abcdef", **fields)
    status = handle.wait()
    assert (status.state, status.alive, handle.status.complete) == (state, False, fields.get("complete", 0))
    assert "0 running" in capsys.readouterr().err, "progress"
    handle.stop()
    assert not RunDirectory(handle.folder).stop.exists(), "it has ended"
    if not said:
        assert handle.wait(check=True, progress=False) == status
        return
    with pytest.raises(PilotuneError) as caught:
        handle.wait(check=True, progress=False)
    assert f"of 'digits' {said.format(folder=handle.folder)}" in str(caught.value)
    assert state in repr(handle)


def test_a_campaign_is_shown_without_markup_of_its_own(tmp_path: Path) -> None:
    handle = campaign(tmp_path / "digits" / "20261130-000000-abcdef", state="ended", code=1, reason="<script>")
    assert "(&lt;script&gt;)" in handle._repr_html_()
    assert handle.study.storage == ""
    RunDirectory(handle.folder).status.unlink()
    with pytest.raises(PilotuneError, match="its run directory was deleted"):
        _ = handle.status
    assert repr(handle) == "<pilotune.Campaign 20261130-000000-abcdef: its run directory was deleted>"
    assert handle._repr_html_().startswith("&lt;pilotune.Campaign ")
