"""Campaigns on real workers that end at a limit, and campaigns that are refused at the start."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState

from ...support.local import Here, begun, end_of, ended, patient, until

pytestmark = pytest.mark.real

ONE = ("--set", "pools.local.workers_per_node=1")

SCORE = """
def objective(x):
    if x < 0:
        raise ValueError("negative")
    return x
"""


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def score(here: Here, name: str, points: list[float], more: str) -> None:
    enqueue = ", ".join(f"{{x: {x}}}" for x in points)
    space = "direction: maximize\nspace: {x: {float: [-1.0, 1.0]}}\nsampler: random\n"
    here.study(name, SCORE, f"{space}start_from: {{enqueue: [{enqueue}]}}\n{more}\n")


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Here, subprocess.Popen[str]]]:
    """A campaign with a time budget that runs beside the other tests.

    The budget counts from the driver's start, so it is long enough for two trials to start on a busy machine.
    """
    here = Here(tmp_path_factory.mktemp("time"))
    patient(here, "time", ["quick", "reports", "quick"], more="budget: {time: 45s}")
    with ended(here.start("run", "time.yaml", *ONE)) as process:
        yield here, process


@pytest.mark.usefixtures("timed")
def test_a_second_driver_on_the_same_sqlite_study_is_refused_wherever_it_runs(here: Here) -> None:
    patient(here, "double", ["silent"])
    storage = f"sqlite:///{here.folder}/shared.db"
    with ended(here.start("run", "double.yaml", "--storage", storage, *ONE)) as first:
        until(lambda: begun(here), "the first one runs")
        for options in ([], ["--runs", here.folder / "other"]):
            refused = here.run("run", "double.yaml", "--storage", storage, *ONE, *options, code=2)
            assert f"process {first.pid}" in refused.stderr
            assert "pilotune stop double" in refused.stderr
            assert "Traceback" not in refused.stderr
        assert not list((here.folder / "other" / "double").glob("2*")), "the refused campaign left a folder"
        here.write("go", "")
        end_of(first)
    assert len(begun(here)) == 1


def test_another_study_under_the_same_name_is_refused_with_each_difference(here: Here) -> None:
    score(here, "same", [0.5], "budget: {trials: 1}")
    here.run("run", "same.yaml", *ONE)
    path = here.folder / "same.yaml"
    text = path.read_text()
    path.write_text(text.replace("[-1.0, 1.0]", "[-1.0, 2.0]").replace("maximize", "minimize"))
    refused = here.run("run", "same.yaml", *ONE, code=2).stderr
    for part in ("float [-1.0, 1.0]", "float [-1.0, 2.0]", "direction maximize", "direction minimize", "--new-name"):
        assert part in refused
    assert str(path) in refused
    assert "Traceback" not in refused


def test_campaigns_end_at_their_target_and_after_failures_in_a_row(here: Here) -> None:
    score(here, "target", [0.1, 0.2, 0.95, 0.3], "budget: {trials: 100, target: 0.9}")
    score(here, "failures", [0.5, -0.1, 0.2, -0.2, -0.3, -0.4, 0.9], "budget: {trials: 100, failures: 3}")
    score(here, "nothing", [-0.5, -0.6], "budget: {trials: 2}")
    with (
        ended(here.start("run", "target.yaml", *ONE)) as target,
        ended(here.start("run", "failures.yaml", *ONE)) as failures,
        ended(here.start("run", "nothing.yaml", *ONE)) as nothing,
    ):
        assert "trial 2 reached the target: 0.95" in end_of(target, 0).stdout
        # Trials completed, but the campaign ended because of failures.
        assert "3 trials failed in a row, the last one (trial 5): ValueError: negative" in end_of(failures, 1).stdout
        assert "no trial completed" in end_of(nothing, 1).stdout


def test_what_the_time_budget_cuts_off_is_kept_for_a_resume(timed: tuple[Here, subprocess.Popen[str]]) -> None:
    here, process = timed
    assert "the time budget of 45 s is used up" in end_of(process).stdout
    assert [trial.state for trial in here.optuna("time").trials][:2] == [TrialState.COMPLETE, TrialState.RUNNING]
    here.write("go", "")
    here.run("resume", "time", "--trials", 3, "--set", "budget.time=1h")
    assert [trial.state for trial in here.optuna("time").trials] == [TrialState.COMPLETE] * 3
    assert here.optuna("time").trials[1].user_attrs["pilotune:attempts"] == 2
