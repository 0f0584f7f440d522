"""The driver's keeper of artifacts: what it moves and deletes, and only after the commit that says so."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from pilotune.pipeline.attributes import ARTIFACTS, ATTEMPTS, DIRECTORY, OWNER
from pilotune.pipeline.driver import artifacts as module
from pilotune.pipeline.driver.artifacts import ArtifactKeeper
from pilotune.pipeline.record import Lease, RecordStorage
from pilotune.pipeline.record.artifacts import kept_artifacts

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Campaign:
    """One driver's storage and keeper on a study in ``folder``; trials are told as a campaign tells them."""

    def __init__(self, folder: Path, most: int | None = None, name: str = "c1", directions: Any = ("minimize",)):
        self.folder, self.name = folder, name
        self.storage = RecordStorage(f"sqlite:///{folder}/study.db", autocommit=False)
        self.study = optuna.create_study(
            storage=self.storage, study_name="s", directions=directions, load_if_exists=True
        )
        self.storage.commit()
        self.keeper = ArtifactKeeper(self.storage, self.study, name, folder, most)
        self.keeper.start()

    def write(self, number: int, attempt: int = 1, text: str = "") -> Path:
        folder = self.folder / self.name / "trials" / str(number) / f"artifacts-{attempt}"
        folder.mkdir(parents=True)
        (folder / "model").write_text(text or f"{number}.{attempt}")
        return folder

    def tell(self, *values: float, state: TrialState = TrialState.COMPLETE, files: bool = True) -> int:
        """Stage the end of a trial, whose first attempt was lost and whose second has written a model."""
        trial = self.study.ask()
        number = trial.number
        if files:
            self.write(number, 1)
            size = len((self.write(number, 2) / "model").read_text())
            if state == TrialState.COMPLETE:
                self.storage.set_trial_attrs(trial._trial_id, {}, {ARTIFACTS: {"model": size}})
        place = str(self.folder / self.name / "trials" / str(number))
        self.storage.set_trial_attrs(trial._trial_id, {DIRECTORY: place, ATTEMPTS: 2}, {OWNER: self.name})
        self.study.tell(trial, list(values) or None, state=state)
        return number

    def commit(self, *numbers: int) -> None:
        ids = [self.storage.get_trial_id_from_study_id_trial_number(self.study._study_id, each) for each in numbers]
        self.storage.commit()  # which gives a trial another number where another driver was faster
        self.keeper.on_ended([self.storage.get_trial_number_from_id(each) for each in ids])

    def settle(self) -> dict[int, str]:
        """Wait for the thread; what is kept."""
        assert self.keeper._wait(lambda: False, lambda sentence: None)
        return {number: files["model"].read_text() for number, files in kept_artifacts(self.folder).items()}

    def end(self) -> dict[int, str]:
        self.keeper.finish(lambda: False, lambda sentence: None)
        return self.settle()

    def left(self, number: int) -> list[str]:
        return sorted(path.name for path in (self.folder / self.name / "trials" / str(number)).iterdir())


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return Campaign(tmp_path, 2)


def test_the_best_trials_are_kept(campaign: Campaign) -> None:
    for value in (0.5, 0.3, 0.4, 0.1):
        campaign.commit(campaign.tell(value))
    assert campaign.end() == {1: "1.2", 3: "3.2"}
    assert campaign.keeper.kept == (2, 6)
    assert all(campaign.left(number) == [] for number in range(4)), "what no attempt may count is removed"
    assert campaign.keeper.warnings == []


def test_of_all_trials_where_nothing_else_is_said(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path)
    campaign.commit(*(campaign.tell(value) for value in (0.5, 0.3, 0.4)), campaign.tell(0.0, files=False))
    assert list(campaign.end()) == [0, 1, 2]


def test_several_objectives_keep_the_front_first(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, 2, directions=("minimize", "maximize"))
    for values in ((3.0, 1.0), (1.0, 1.0), (2.0, 5.0), (4.0, 0.0)):
        campaign.commit(campaign.tell(*values))
    assert list(campaign.end()) == [1, 2]


def test_a_trial_that_is_not_complete_keeps_nothing(campaign: Campaign) -> None:
    campaign.commit(campaign.tell(state=TrialState.FAIL), campaign.tell(state=TrialState.PRUNED))
    assert campaign.end() == {}
    assert campaign.left(0) == []


def test_what_is_not_committed_is_not_moved_and_deletes_nothing(campaign: Campaign) -> None:
    campaign.commit(campaign.tell(0.5), campaign.tell(0.4))
    better = campaign.tell(0.1)
    assert campaign.settle() == {0: "0.2", 1: "1.2"}
    assert campaign.left(better) == ["artifacts-1", "artifacts-2"]
    campaign.commit(better)
    assert campaign.end() == {1: "1.2", 2: "2.2"}


@pytest.mark.parametrize("dies", ["before its files are moved", "before the surplus is deleted"])
def test_the_next_driver_does_what_a_killed_one_has_not(campaign: Campaign, dies: str) -> None:
    campaign.commit(campaign.tell(0.5), campaign.tell(0.4))
    assert campaign.settle() == {0: "0.2", 1: "1.2"}
    campaign.tell(0.1)
    campaign.storage.commit()  # and the driver is killed
    if "surplus" in dies:
        module.artifacts.keep(campaign.folder / "c1/trials/2/artifacts-2", campaign.keeper.home, 2)
    (campaign.keeper.home / ".1.c1.part").mkdir()
    campaign.storage.close()
    heir = Campaign(campaign.folder, 2, "c1")
    assert heir.settle() == {1: "1.2", 2: "2.2"}
    assert not (heir.keeper.home / ".1.c1.part").exists()
    heir.write(9)  # of a trial that no one has told
    assert list(heir.end()) == [1, 2]


def test_the_next_driver_deletes_what_a_killed_one_would_not_have_kept(campaign: Campaign) -> None:
    campaign.commit(campaign.tell(0.5), campaign.tell(0.4))
    campaign.settle()
    worse, failed = campaign.tell(0.9), campaign.tell(state=TrialState.FAIL)
    lease = Lease("c1", "login", "elsewhere", 1, 1, "", 100.0, 100.0)
    campaign.storage.set_study_system_attr(campaign.study._study_id, lease.key, lease.to_json())
    campaign.storage.commit()  # and the driver is killed
    heir = Campaign(campaign.folder, 2, "c2")
    assert list(heir.end()) == [0, 1]
    assert (campaign.left(worse), campaign.left(failed)) == ([], [])


def test_a_smaller_number_in_the_study_file_counts_from_the_next_campaign_on(campaign: Campaign) -> None:
    campaign.commit(campaign.tell(0.5), campaign.tell(0.4))
    campaign.end()
    assert list(Campaign(campaign.folder, 1, "c2").settle()) == [1]
    assert list(Campaign(campaign.folder, None, "c3").settle()) == [1], "what is deleted does not come back"


def test_two_drivers_keep_together_what_the_rule_says(tmp_path: Path) -> None:
    one, other = Campaign(tmp_path, 2, "c1"), Campaign(tmp_path, 2, "c2")
    for value in (0.5, 0.3, 0.4):
        one.commit(one.tell(value))
    one.settle()
    other.storage.sync()
    for value in (0.2, 0.9):
        other.commit(other.tell(value))
    other.settle()
    one.commit(one.tell(0.1))
    one.end()
    assert list(other.end()) == [3, 5]


def test_a_trial_of_another_folder_is_not_touched(campaign: Campaign, tmp_path: Path) -> None:
    elsewhere = Campaign(tmp_path, 2, "c2")
    number = campaign.tell(0.1)
    campaign.storage.commit()
    trial = campaign.study.trials[number]
    assert elsewhere.keeper._inside(trial)
    trial.set_user_attr(DIRECTORY, "/home/somebody/runs/s/c7/trials/0")
    assert not elsewhere.keeper._inside(trial)
    trial.set_user_attr(DIRECTORY, f"{tmp_path}/../victim")
    assert not elsewhere.keeper._inside(trial)


def test_files_that_cannot_be_moved_stay_and_are_told_of(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> bool:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.artifacts, "keep", full)
        campaign.commit(campaign.tell(0.5))
        assert campaign.settle() == {}
        (warning,) = campaign.keeper.warnings
        assert warning.startswith("the artifacts of trial 0 could not be moved or deleted in ")
        assert "(No space left on device); they stay where they are, and the next campaign tries again" in warning
    assert campaign.end() == {0: "0.2"}, "there was room at the end"
    assert campaign.keeper.warnings == []


def test_the_end_waits_until_the_user_does_not(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    campaign.keeper._submit(lambda: said.append("done"))
    assert campaign.keeper._wait(lambda: False, said.append)
    assert "done" in said
    campaign.keeper._waiting += 1  # one that never ends
    campaign.keeper.finish(lambda: True, said.append)
    assert campaign.keeper.warnings == [
        "artifacts of some trials are still in their folders; the next campaign moves them"
    ]


def test_what_an_earlier_study_of_the_name_left_is_set_aside(campaign: Campaign) -> None:
    campaign.commit(campaign.tell(0.5))
    campaign.end()
    campaign.storage.delete_study(campaign.study._study_id)
    campaign.storage.close()
    heir = Campaign(campaign.folder, 2, "c2")
    heir.commit(heir.tell(0.4))
    assert heir.end() == {0: "0.2"}
    assert sorted(path.name for path in heir.keeper.home.iterdir()) == ["0", "0.before-c2"]
    assert not (heir.folder / "c2/trials/0/artifacts-2").exists()
