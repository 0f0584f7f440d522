"""Stopping a campaign on real workers: Ctrl-C once, twice, three times, and ``pilotune stop``."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from optuna.trial import TrialState

from ...support.local import Here, begun, done, end_of, ended, kill_processes, patient, press_ctrl_c, processes, until

pytestmark = pytest.mark.real

TWO = ("--set", "pools.local.workers_per_node=2")


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def states(here: Here, name: str) -> list[TrialState]:
    return [trial.state for trial in here.optuna(name).trials]


def test_ctrl_c_once_lets_running_trials_finish(here: Here) -> None:
    patient(here, "once", ["quick", "reports", "silent", "quick", "quick"])
    with ended(here.start("run", "once.yaml", *TWO)) as process:
        here.await_status("once", lambda status: status["running"] == 2 and status["complete"] == 1, "two trials run")
        press_ctrl_c(process)
        stopping = here.await_status("once", lambda status: status["state"] == "stopping", "it stops")
        assert "resumed" in stopping["reason"]
        here.write("go", "")
        summary = end_of(process, 130).stdout
    # A fourth trial may have been sent to a worker before the stop.
    assert [(n, 1) for n in range(3)] == sorted((each.number, each.attempt) for each in begun(here))[:3]
    assert len(begun(here)) <= 4
    assert states(here, "once")[:3] == [TrialState.COMPLETE] * 3
    assert states(here, "once")[-1] == TrialState.WAITING
    assert "pilotune resume once" in summary
    assert here.status("once")["code"] == 130
    assert "5: 5 complete" in here.run("resume", "once").stdout
    until(lambda: not processes(here), "all processes have ended")


def test_ctrl_c_twice_interrupts_running_trials_and_resume_goes_on_from_their_checkpoints(here: Here) -> None:
    patient(here, "twice", ["quick", "reports", "reports", "quick"])
    with ended(here.start("run", "twice.yaml", *TWO)) as process:
        here.await_status("twice", lambda status: status["running"] == 2 and status["complete"] == 1, "two trials run")
        press_ctrl_c(process)
        here.await_status("twice", lambda status: status["state"] == "stopping", "it stops")
        assert process.poll() is None
        press_ctrl_c(process)
        end_of(process, 130)
    assert states(here, "twice")[:3] == [TrialState.COMPLETE, TrialState.RUNNING, TrialState.RUNNING]
    until(lambda: not processes(here), "all processes have ended")
    reported = {trial.number: len(trial.intermediate_values) for trial in here.optuna("twice").trials}

    here.write("go", "")
    elsewhere = here.folder / "elsewhere"
    elsewhere.mkdir()
    assert "4: 4 complete" in here.run("resume", "twice", folder=elsewhere).stdout
    again = {each.number: each for each in begun(here) if each.attempt == 2}
    assert set(again) >= {1, 2}
    for number in (1, 2):
        assert again[number].first == reported[number] + 1 > 1
    assert [trial.user_attrs["pilotune:attempts"] for trial in here.optuna("twice").trials[:3]] == [1, 2, 2]


def test_ctrl_c_three_times_ends_at_once_whatever_trials_do(here: Here) -> None:
    patient(here, "thrice", ["quick", "deaf", "deaf"])
    with ended(here.start("run", "thrice.yaml", *TWO)) as process:
        here.await_status("thrice", lambda status: status["running"] == 2 and status["complete"] == 1, "two trials run")
        presses = 0
        while process.poll() is None:
            press_ctrl_c(process)
            presses += 1
            time.sleep(0.7)  # signals that come before the previous one is handled are merged with it
        assert presses >= 3
        end_of(process, 130)
    until(lambda: not processes(here), "all its processes have ended")
    assert states(here, "thrice") == [TrialState.COMPLETE, TrialState.RUNNING, TrialState.RUNNING]
    here.write("go", "")
    assert "3: 3 complete" in here.run("resume", "thrice").stdout
    assert sorted(done(here)) == [(0, 1), (1, 2), (2, 2)]


def test_a_detached_campaign_is_shown_stopped_and_resumed_from_anywhere(here: Here) -> None:
    patient(here, "far", ["quick", "reports", "deaf", "quick"])
    elsewhere = here.folder / "elsewhere"
    elsewhere.mkdir()
    started = here.json("run", "far.yaml", "--detach", *TWO)
    try:
        seen = here.await_status("far", lambda s: s["running"] == 2 and s["complete"] == 1, "one is done, two run")
        assert (seen["pid"], seen["workers"]) == (started["pid"], 2)
        text = here.run("status", "far", folder=elsewhere).stdout
        assert "running since" in text
        assert "1 complete" in text
        here.run("stop", "far", "--now", folder=elsewhere)
        until(lambda: not processes(here), "all its processes have ended")
        assert here.json("status", "far")["campaigns"][0]["state"] == "ended"

        here.json("resume", "far", "--detach")
        here.await_status("far", lambda s: s["running"] == 2 and s["state"] == "running", "they run again")
        both = {(1, 2), (2, 2)}
        until(lambda: both <= {(each.number, each.attempt) for each in begun(here)}, "their objectives have begun")
        with ended(here.start("stop", "far", "--yield")) as stop:
            # The deaf trial ignores the request to yield, so the stop waits for its end.
            until(lambda: here.status("far")["running"] == 1, "the other one has yielded")
            here.write("go", "")
            assert "ended at" in end_of(stop).stdout
        here.json("resume", "far", "--detach")
        ending = here.await_status("far", lambda status: status["state"] == "ended" and status["code"] == 0, "its end")
        assert (ending["complete"], ending["running"]) == (4, 0)
        assert [each for each in sorted(done(here)) if each[0] < 3] == [(0, 1), (1, 3), (2, 2)]
    finally:
        kill_processes(here)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param("inworker", "trial.isolate=false", marks=pytest.mark.exhaustive),
        pytest.param("isolated", "trial.isolate=true", marks=pytest.mark.exhaustive),
        pytest.param("command", ""),
    ],
)
def test_a_trial_that_never_reports_is_put_aside_when_the_campaign_yields(here: Here, name: str, kind: str) -> None:
    if kind:
        patient(here, name, ["deaf", "reports"])
        also = ["--set", kind]
    else:
        wait = "trap '' TERM; echo $PILOTUNE_WORK_DIR:1:0:0:0 >> {study_dir}/notes; until [ -e {study_dir}/go ]; do "
        here.write(
            "command.yaml",
            f'name: command\ncommand: {{run: "{wait}sleep 0.1; done; echo value=1", shell: true, '
            'reports: {stdout: "value=(?P<value>.*)"}}\ndirection: minimize\nspace: {x: {float: [0, 1]}}\n'
            "budget: {trials: 2}\n",
        )
        also = []
    also += ["--set", "trial.yield_before=2s", "--set", "trial.grace=1s"]
    with ended(here.start("run", f"{name}.yaml", *TWO, *also)) as process:
        here.await_status(name, lambda status: status["running"] == 2, "two trials run")
        until(lambda: len(here.lines("notes")) >= 2, "their objectives have begun")
        with ended(here.start("stop", name, "--yield")) as stop:
            words = end_of(stop).stderr
        summary = end_of(process, 130)
    assert "running trials were asked to save a checkpoint and end; those that have not by " in words + summary.stderr
    amount = "1 trial did" if kind else "2 trials did"
    assert f"{amount} not end when asked and w" in summary.stdout
    assert states(here, name)[:2] == [TrialState.RUNNING] * 2
    until(lambda: not processes(here), "all its processes have ended")
    here.write("go", "")
    assert "2: 2 complete" in here.run("resume", name).stdout
