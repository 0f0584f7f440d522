"""The commands ``status``, ``watch`` and ``stop``, with campaigns written as their drivers would write them."""

from __future__ import annotations

import json
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pilotune.pipeline.cli.commands import watch
from pilotune.pipeline.driver.status import Status
from pilotune.pipeline.record import RunDirectory
from pilotune.pipeline.record.liveness import start_time
from pilotune.pipeline.studies.campaign_status import ObservedCampaign, list_campaigns

from ..support.cli import Pilotune, alone, of_pilotune, pilotune_  # noqa: F401
from ..support.written_campaigns import NOBODY, Campaign, campaign_, driver_, runs_  # noqa: F401


def test_status_lists_every_study_and_its_campaign(pilotune: Pilotune, campaign: Campaign, driver: int) -> None:
    campaign(pid=driver)
    head, line = pilotune("status").out.splitlines()
    assert head.split()[:4] == ["study", "state", "trials", "complete"]
    assert line.split()[:8] == ["digits", "running", "34/60", "20", "12", "2", "2", "0.9731"]


def test_status_without_studies_says_how_to_begin(pilotune: Pilotune) -> None:
    result = pilotune("status")
    assert (result.code, result.out) == (0, "")
    assert "pilotune run STUDY" in result.err
    assert json.loads(pilotune("status", "--json").out) == []


def test_status_in_detail(pilotune: Pilotune, campaign: Campaign, driver: int) -> None:
    run = campaign(pid=driver, message="the database is away")
    out = pilotune("status", "digits").out
    expected = ["34 of 60: 20 complete", "8 at step 3, 4 at step 9", "0.9731 (trial 14)", "utilization 97%"]
    for words in [*expected, "1m 02s left", "the database is away", f"process {driver}", str(run)]:
        assert words in out
    assert out.splitlines()[-1].split() == ["34", "1", "n1", "2.0s"]


def test_status_shows_the_last_report_of_a_running_trial_and_the_metrics_name(
    pilotune: Pilotune, campaign: Campaign, driver: int
) -> None:
    trials = [
        {"number": 34, "attempt": 1, "host": "n1", "seconds": 2.0, "step": 7, "value": 0.25},
        {"number": 35, "attempt": 1, "host": "n1", "seconds": 2.0, "step": None, "value": None},
    ]
    campaign(pid=driver, metrics=["accuracy"], running_trials=trials)
    out = pilotune("status", "digits").out
    assert "  accuracy 0.9731 (trial 14)\n" in out
    head, one, two = out.splitlines()[-3:]
    assert head.split() == ["running", "attempt", "host", "for", "step", "accuracy"]
    assert one.split() == ["34", "1", "n1", "2.0s", "7", "0.25"]
    assert two.split() == ["35", "1", "n1", "2.0s", "-", "-"]


def test_status_shows_the_last_failure_also_that_of_an_earlier_campaign(
    pilotune: Pilotune, campaign: Campaign, driver: int
) -> None:
    failure = {"number": 3, "attempt": 2, "failure": "exception", "reason": "ValueError: no", "traceback": "",
               "host": "n7", "directory": "/runs/3", "again": False}  # fmt: skip
    campaign(pid=NOBODY, state="ended", code=130, last_failure=failure)
    campaign("20260101-130000-bbbbbb", pid=driver, started=time.time() - 5)
    out = pilotune("status", "digits").out
    assert "failed last  trial 3, attempt 2, failed on n7: ValueError: no" in out


@pytest.mark.parametrize(("code", "word"), [(0, "ended"), (1, "ended"), (3, "stopped"), (130, "stopped")])
def test_a_campaign_that_did_not_come_to_its_own_end_has_stopped(
    pilotune: Pilotune, campaign: Campaign, code: int, word: str
) -> None:
    reason = "the scheduler has not answered for 10m: no"
    campaign(pid=NOBODY, state="ended", reason=reason, code=code, interrupted=2, not_begun=3)
    assert pilotune("status").out.splitlines()[1].split()[:2] == ["digits", word]
    out = pilotune("status", "digits").out
    assert f"{word} at " in out
    assert ("no – pilotune resume digits" in out) is (word == "stopped")
    assert out.count("has not answered") == 1
    assert "2 failed, 2 interrupted, 3 waiting (pilotune resume digits continues them)" in out
    assert json.loads(pilotune("status", "digits", "--json").out)["campaigns"][0]["state"] == "ended"


def test_the_trials_of_a_driver_that_died_are_interrupted(pilotune: Pilotune, campaign: Campaign) -> None:
    campaign(pid=NOBODY)
    assert "2 failed, 2 interrupted (pilotune resume digits continues them)" in pilotune("status", "digits").out


def test_a_driver_that_died_is_told_apart_from_one_that_ended(pilotune: Pilotune, campaign: Campaign) -> None:
    campaign(pid=NOBODY)
    out = pilotune("status", "digits").out
    assert "died at " in out
    assert "pilotune resume digits" in out
    campaign(pid=NOBODY, state="ended", reason="all 60 trials are done", code=0)
    out = pilotune("status", "digits").out
    assert "died at" not in out
    assert "all 60 trials are done" in out


def test_a_process_that_took_over_the_number_of_a_dead_driver_is_not_the_driver(
    campaign: Campaign, driver: int, runs: Path
) -> None:
    before = start_time(driver)
    assert before is not None
    campaign(pid=driver, updated=before - 3600)
    assert [each.state for each in list_campaigns(runs, "digits")] == ["died"]


@pytest.mark.parametrize(("silence", "alive"), [(5, True), (600, False)])
def test_a_driver_on_another_host_is_alive_while_it_writes(
    campaign: Campaign, runs: Path, silence: float, alive: bool
) -> None:
    campaign(host="login7", updated=time.time() - silence)
    assert [each.alive for each in list_campaigns(runs, "digits")] == [alive]


def test_status_as_json_has_the_campaigns(pilotune: Pilotune, campaign: Campaign, driver: int) -> None:
    campaign(pid=NOBODY)
    campaign("20260101-130000-bbbbbb", pid=driver, started=time.time() - 5)
    data = json.loads(pilotune("status", "digits", "--json").out)
    assert [(each["state"], each["alive"]) for each in data["campaigns"]] == [("running", True), ("died", False)]
    assert data["campaigns"][0]["best_values"] == [0.9731]


def test_a_broken_status_file_is_ignored(pilotune: Pilotune, campaign: Campaign, tmp_path: Path) -> None:
    run = campaign()
    of_pilotune(f"sqlite:///{tmp_path}/study.db")
    (run / "status.json").write_text('{"study": ')
    assert pilotune("status").out.splitlines()[1].split()[:2] == ["digits", "gone"]


def test_a_study_without_a_run_directory_is_idle_and_its_database_is_counted(
    pilotune: Pilotune, campaign: Campaign, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    run = campaign(storage=url)
    of_pilotune(url)
    (run / "status.json").unlink()
    line = pilotune("status").out.splitlines()[1].split()
    assert line[:8] == ["digits", "idle", "4", "2", "1", "1", "0", "0.9"]


def test_status_of_a_database_counts_its_trials(pilotune: Pilotune, tmp_path: Path) -> None:
    of_pilotune(f"sqlite:///{tmp_path}/study.db")
    out = pilotune("status", "digits", "--storage", f"sqlite:///{tmp_path}/study.db").out
    assert "6: 2 complete, 1 pruned, 1 failed, 1 interrupted, 1 waiting" in out


def ends_when_asked(run: Path) -> threading.Thread:
    """A driver's answer to the control file."""

    def work() -> None:
        file = RunDirectory(run)
        while not file.stop.exists():
            time.sleep(0.02)
        status = replace(Status.from_json(file.status.read_text()), state="ended", reason="stopped", code=130)
        part = run / "part"
        part.write_text(status.to_json())
        part.rename(file.status)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize(("option", "word"), [(None, "finish"), ("--yield", "yield"), ("--now", "now")])
def test_stop_writes_the_control_file_and_waits(
    pilotune: Pilotune, campaign: Campaign, driver: int, option: str | None, word: str
) -> None:
    run = campaign(pid=driver)
    thread = ends_when_asked(run)
    result = pilotune("stop", "digits", *([option] if option else []))
    thread.join()
    assert result.code == 0
    assert (run / "stop").read_text() == word
    assert "ended at" in result.out


def test_stop_without_waiting(pilotune: Pilotune, campaign: Campaign, driver: int) -> None:
    run = campaign(pid=driver)
    result = pilotune("stop", "digits", "--no-wait", "--now")
    assert (result.code, "asked to stop" in result.out) == (0, True)
    assert (run / "stop").read_text() == "now"


def test_stopping_a_campaign_that_is_not_running_is_an_error(pilotune: Pilotune, campaign: Campaign) -> None:
    run = campaign(pid=NOBODY)
    result = pilotune("stop", "digits")
    assert result.code == 1
    assert result.err == "error: no campaign of 'digits' is running; see pilotune status digits\n"
    assert not (run / "stop").exists()


def stopped_when_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Someone stops the campaign as soon as the command follows it."""

    def follow(campaign: ObservedCampaign, as_json: bool) -> int:
        (campaign.folder / "stop").write_text("finish")
        return real(campaign, as_json)

    real = watch.follow
    monkeypatch.setattr(watch, "follow", follow)


def test_watch_follows_to_the_end_and_ends_with_the_campaigns_code(
    pilotune: Pilotune, campaign: Campaign, driver: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = ends_when_asked(campaign(pid=driver))
    stopped_when_followed(monkeypatch)
    result = pilotune("watch", "digits")
    thread.join()
    assert result.code == 130
    assert "34/60 trials" in result.out
    assert "stopped" in result.out


def test_watch_as_json_prints_a_line_for_each_status(
    pilotune: Pilotune, campaign: Campaign, driver: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = ends_when_asked(campaign(pid=driver))
    stopped_when_followed(monkeypatch)
    result = pilotune("watch", "--json")
    thread.join()
    lines = [json.loads(line) for line in result.out.splitlines()]
    assert result.err == ""
    assert lines[0]["study"] == "digits"


def test_watch_as_json_shows_a_campaign_that_has_ended(pilotune: Pilotune, campaign: Campaign) -> None:
    """It may end between the start of the command and its first look."""
    campaign(state="ended", code=130)
    result = pilotune("watch", "digits", "--json")
    assert result.code == 130
    assert [json.loads(line)["state"] for line in result.out.splitlines()] == ["ended"]


def test_watching_a_dead_driver_says_how_to_resume(pilotune: Pilotune, campaign: Campaign) -> None:
    campaign(pid=NOBODY)
    result = pilotune("watch", "digits")
    assert result.code == 1
    assert "pilotune resume digits" in result.err


def test_watching_after_the_run_directory_was_deleted(pilotune: Pilotune, campaign: Campaign) -> None:
    run = campaign(pid=NOBODY)
    shutil.rmtree(run)
    result = pilotune("watch", "digits")
    sentence = f"study 'digits' has no campaign to follow in {run.parent}, where its run directories belong; "
    assert (result.code, result.err) == (2, f"error: {sentence}pilotune run STUDY starts one\n")


def test_a_run_directory_that_is_deleted_while_it_is_watched(
    pilotune: Pilotune, campaign: Campaign, driver: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = campaign(pid=driver)

    def follow(followed: ObservedCampaign, as_json: bool) -> int:
        shutil.rmtree(followed.folder)
        monkeypatch.setattr("pilotune.pipeline.studies.campaign_status.driver_alive", lambda status: False)
        return real(followed, as_json)

    real = watch.follow
    monkeypatch.setattr(watch, "follow", follow)
    result = pilotune("watch", "digits")
    sentence = f"the run directory {run} was deleted, and the driver has ended; pilotune status digits shows the study"
    assert (result.code, result.err.splitlines()[-1]) == (2, f"error: {sentence}")


def test_no_command_passes_a_trials_escape_sequences_on(pilotune: Pilotune, campaign: Campaign, driver: int) -> None:
    evil = "\x1b[2J\x1b]0;title\x07"
    trials = [{"number": 34, "attempt": 1, "host": evil, "seconds": 2.0}]
    host = {"host": evil, "pool": evil, "reason": evil, "since": time.time()}
    campaign(pid=driver, message=evil, metrics=[evil], running_trials=trials, quarantined=[host])
    texts = [pilotune("status", "digits").out, pilotune("status").out]
    campaign(pid=NOBODY, message=evil, metrics=[evil], running_trials=trials, quarantined=[host])
    texts.append(pilotune("watch", "digits").err)
    assert not any({"\x1b", "\x07"} & set(text) for text in texts)
