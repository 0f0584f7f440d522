"""Leases: trials of a dead driver are taken over once, by one driver, and the dead driver commits nothing more."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from pilotune.errors import CampaignRunning, RecordAway
from pilotune.pipeline.attributes import ATTEMPT, NOT_BEGUN, OWNER
from pilotune.pipeline.record import Lease, LeaseLost, claim, open_storage, orphans, release, renew, study_leases
from pilotune.pipeline.record.liveness import SILENCE

SPACE = {"x": FloatDistribution(0, 1)}


class Driver:
    """A driver's storage, study and lease."""

    def __init__(self, url, campaign, **changes):
        self.storage = open_storage(url)
        sampler = optuna.samplers.RandomSampler(0)
        self.study = optuna.create_study(storage=self.storage, study_name="s", sampler=sampler, load_if_exists=True)
        self.lease = dataclasses.replace(Lease.here(campaign, f"/runs/s/{campaign}"), **changes)

    def claim(self):
        claim(self.storage, self.study, self.lease)
        return self

    def start(self, attempt=1):
        trial = self.study.ask(SPACE)
        self.storage.set_trial_system_attr(trial._trial_id, ATTEMPT, attempt)
        self.storage.commit()
        return trial

    def orphans(self):
        return orphans(self.storage, self.study)

    def age_heartbeat(self, seconds):
        """Set the lease's heartbeat to ``seconds`` ago."""
        known = self.storage.get_study_system_attrs(self.study._study_id)[self.lease.key]
        aged = {**known, "heartbeat": self.storage.database.clock() - seconds}
        self.storage.set_study_system_attr(self.study._study_id, self.lease.key, aged)
        self.storage.commit()


def dead_pid():
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_sqlite_takes_one_driver_and_names_the_other(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    Driver(url, "a").claim()
    with pytest.raises(CampaignRunning) as error:
        Driver(url, "b").claim()
    assert f"process {os.getpid()} on {Lease.here('a', '').host}" in str(error.value)
    assert "pilotune stop s" in str(error.value)


def test_postgres_takes_several_drivers(postgres_url):
    first, second = Driver(postgres_url, "a").claim(), Driver(postgres_url, "b").claim()
    trial = first.start()
    assert second.orphans() == []
    assert second.study.trials[trial.number].system_attrs[OWNER] == "a"


def test_after_release_another_driver_can_claim(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    first = Driver(url, "a").claim()
    release(first.storage, first.study, first.lease)
    second = Driver(url, "b").claim()
    assert {lease.campaign: lease.state for lease in study_leases(second.storage, second.study)} == {
        "a": "ended",
        "b": "running",
    }


@pytest.mark.parametrize("changes", [{"pid": None}, {"pid_start": 1}], ids=["process-gone", "process-id-reused"])
def test_a_killed_driver_is_dead_at_once_on_its_own_host(tmp_path, changes):
    if "pid" in changes:
        changes = {"pid": dead_pid()}
    url = f"sqlite:///{tmp_path}/s.db"
    Driver(url, "a", **changes).claim()
    assert Driver(url, "b").claim().orphans() == []


def test_a_driver_remote_is_dead_after_its_silence_only(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    remote = Driver(url, "a", host="login2", place="other-boot/pid:[1]").claim()
    remote.age_heartbeat(SILENCE - 30)
    with pytest.raises(CampaignRunning, match="on login2"):
        Driver(url, "b").claim()
    remote.age_heartbeat(SILENCE + 1)
    Driver(url, "c").claim()


def test_a_renewed_lease_is_alive(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    remote = Driver(url, "a", place="other-boot/pid:[1]").claim()
    remote.age_heartbeat(SILENCE + 1)
    renew(remote.storage, remote.study, remote.lease)
    remote.storage.commit()
    with pytest.raises(CampaignRunning):
        Driver(url, "b").claim()


def test_trials_of_a_dead_driver_are_taken_over_once(postgres_url):
    first = Driver(postgres_url, "a", pid=dead_pid()).claim()
    number = first.start(attempt=3).number
    second, third = Driver(postgres_url, "b").claim(), Driver(postgres_url, "c").claim()
    (orphan,) = second.orphans()
    assert (orphan.number, orphan.attempt, orphan.campaign) == (number, 3, "a")
    assert orphan.directory == f"/runs/s/a/trials/{number}"
    assert orphan.params.keys() == {"x"}
    assert second.orphans() == third.orphans() == []
    second.study.tell(number, 0.5)
    second.storage.commit()
    third.storage.sync()
    assert third.study.trials[number].state == TrialState.COMPLETE


def test_a_driver_that_was_declared_dead_commits_nothing_more(postgres_url):
    first = Driver(postgres_url, "a", place="other-boot/pid:[1]").claim()
    trial = first.start()
    first.age_heartbeat(SILENCE + 1)
    assert len(Driver(postgres_url, "b").claim().orphans()) == 1
    first.study.tell(trial, 0.5)
    renew(first.storage, first.study, first.lease)
    with pytest.raises(LeaseLost):
        first.storage.commit()
    release(first.storage, first.study, first.lease)
    fresh = Driver(postgres_url, "c")
    assert fresh.study.trials[0].state == TrialState.RUNNING
    assert {lease.state for lease in study_leases(fresh.storage, fresh.study)} == {"dead", "running"}


def test_after_sync_a_driver_that_was_declared_dead_still_loses_its_lease(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    first = Driver(url, "a", place="other-boot/pid:[1]").claim()
    trial = first.start()
    first.age_heartbeat(SILENCE + 1)
    assert len(Driver(url, "b").claim().orphans()) == 1
    first.storage.sync()
    first.study.tell(trial, 0.5)
    with pytest.raises(LeaseLost):
        first.storage.commit()
    assert Driver(url, "c").study.trials[0].state == TrialState.RUNNING


def test_after_sync_a_trial_that_another_process_finished_is_not_finished_again(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    first = Driver(url, "a").claim()
    trial = first.start()
    optuna.load_study(study_name="s", storage=url).tell(trial.number, 0.25)
    first.storage.sync()
    first.study.tell(trial, 0.5)
    assert first.storage.commit().overtaken == (trial._trial_id,)
    assert first.study.trials[0].value == 0.25


def test_a_takeover_whose_answer_was_lost_is_repeated(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    (tmp_path / "a" / "trials").mkdir(parents=True)
    Driver(url, "a", pid=dead_pid(), run=str(tmp_path / "a")).claim().start(attempt=2)
    second = Driver(url, "b").claim()
    (orphan,) = second.orphans()
    assert second.orphans() == []
    assert orphans(second.storage, second.study, held=set()) == [orphan]
    held = {second.study.trials[0]._trial_id}
    assert orphans(second.storage, second.study, held) == []


def test_a_heartbeat_far_in_the_future_counts_as_dead():
    lease = dataclasses.replace(Lease.here("a", ""), place="other-boot/pid:[1]", heartbeat=1e6)
    assert lease.alive(1e6 - SILENCE)
    assert not lease.alive(1e6 - SILENCE - 1)


def test_the_first_drivers_files_are_known_after_two_takeovers(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    gone = dead_pid()
    for name in "abcde":
        (tmp_path / name / "trials").mkdir(parents=True)  # the trial's own folder is made by its first attempt
    Driver(url, "a", pid=gone, run=str(tmp_path / "a")).claim().start(attempt=2)
    assert len(Driver(url, "b", pid=gone, run=str(tmp_path / "b")).claim().orphans()) == 1
    third = Driver(url, "c", pid=gone, run=str(tmp_path / "c")).claim()
    (orphan,) = third.orphans()
    assert (orphan.campaign, orphan.directory) == ("a", f"{tmp_path}/a/trials/0")
    trial = third.study.trials[0]._trial_id
    third.storage.set_trial_system_attr(trial, ATTEMPT, 3)
    third.storage.commit()
    (orphan,) = Driver(url, "d", pid=gone, run=str(tmp_path / "d")).claim().orphans()
    assert (orphan.campaign, orphan.attempt, orphan.directory) == ("c", 3, f"{tmp_path}/a/trials/0")
    shutil.rmtree(tmp_path / "a")  # so the fourth gives the trial a folder of its own
    (orphan,) = Driver(url, "e").claim().orphans()
    assert orphan.directory == f"{tmp_path}/d/trials/0"


def test_trials_of_plain_optuna_processes_are_left_alone(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    driver = Driver(url, "a").claim()
    optuna.load_study(study_name="s", storage=url).ask()
    assert driver.orphans() == []
    assert driver.study.trials[0].state == TrialState.RUNNING


def test_release_starts_no_trial_that_was_only_staged(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    driver = Driver(url, "a").claim()
    finished = driver.start()
    driver.study.tell(finished, 0.5)
    driver.study.ask(SPACE)
    release(driver.storage, driver.study, driver.lease)
    assert [trial.state for trial in Driver(url, "b").study.trials] == [TrialState.COMPLETE]


def test_release_does_not_hide_how_the_campaign_ended_when_the_database_is_unreachable(tmp_path, monkeypatch):
    driver = Driver(f"sqlite:///{tmp_path}/s.db", "a").claim()

    def unreachable(limit=None):
        raise RecordAway("gone")

    monkeypatch.setattr(driver.storage, "commit", unreachable)
    release(driver.storage, driver.study, driver.lease)
    assert driver.storage.campaign is None


def test_a_broken_lease_counts_as_ended():
    assert not Lease.parse("x", {"pid": 1}).alive(0.0)
    assert not Lease.parse("x", "nonsense").alive(0.0)
    whole = Lease.here("x", "/run")
    assert Lease.parse("x", json.loads(json.dumps(whole.to_json()))) == whole
    assert whole.alive(0.0)


def test_a_trial_that_no_worker_has_begun_is_told_from_others(tmp_path):
    url, run = f"sqlite:///{tmp_path}/study.db", tmp_path / "run"
    killed = Driver(url, "a", pid=dead_pid(), run=str(run)).claim()
    for _ in range(2):
        killed.start()
    (run / "trials" / "0").mkdir(parents=True)  # as its worker does
    second = Driver(url, "b", pid=dead_pid(), run=str(run)).claim()
    assert [orphan.begun for orphan in second.orphans()] == [True, False]
    second.storage.set_trial_system_attr(second.study.trials[1]._trial_id, NOT_BEGUN, 1)
    second.storage.commit()
    (run / "trials" / "1").mkdir()  # a worker of the first driver comes late
    assert [orphan.begun for orphan in Driver(url, "c").claim().orphans()] == [True, True]


def test_where_the_run_directory_is_gone_every_trial_may_have_begun(tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    Driver(url, "a", pid=dead_pid(), run=str(tmp_path / "deleted")).claim().start()
    (orphan,) = Driver(url, "b").claim().orphans()
    assert orphan.begun
