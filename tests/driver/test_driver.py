"""What a driver puts into an attempt, and how often it writes its status."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilotune.pipeline.campaign.events import BlocksSeen, BlockView, Capacity, Submit
from pilotune.pipeline.driver import driver as module
from pilotune.pipeline.driver.claimed_study import claimed
from pilotune.pipeline.driver.control import Control
from pilotune.pipeline.driver.driver import STILL_PERIOD, Driver
from pilotune.pipeline.driver.settings import RunSettings
from pilotune.pipeline.driver.status import Status
from pilotune.pipeline.record import RunDirectory
from pilotune.pipeline.studyfile import load_study_file
from pilotune.pipeline.trial.protocol import AttemptSpec
from pilotune.providers.site import load_site
from tests.support.campaign_bench import over, started

STUDY = """\
name: s
objective: train.py:train
direction: minimize
space: {x: {float: [0.0, 1.0]}}
budget: {trials: 20}
trial: {nodes: 2, ranks_per_node: 4, yield_before: 2m}
"""


class Clock:
    now = 1000.0

    def time(self) -> float:
        return self.now


class ManualDriver:
    """A driver without a pool, on a clock that the test sets."""

    def __init__(self, driver: Driver, clock: Clock, shown: list[Status]):
        self.driver, self.clock, self.shown = driver, clock, shown

    def tick(self, *events: Any, after: float = 1.0) -> list[AttemptSpec]:
        self.clock.now += after
        campaign = self.driver.campaign
        campaign.step(self.clock.now, events)
        self.driver.storage.commit()
        actions = campaign.release()
        self.driver.report_status("")
        return [action.spec for action in actions if isinstance(action, Submit)]

    def written(self) -> float:
        """When the status in the run directory was taken."""
        return float(json.loads(self.driver.run.status.read_text())["updated"])


@pytest.fixture
def manual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ManualDriver]:
    clock, shown = Clock(), []
    monkeypatch.setattr(module.time, "time", clock.time)
    (tmp_path / "train.py").write_text("def train(trial): ...\n")
    (tmp_path / "study.yaml").write_text(STUDY)
    storage_url, study_file = f"sqlite:///{tmp_path}/study.db", load_study_file(tmp_path / "study.yaml")
    settings = RunSettings(study_file, load_site("local"), storage_url, tmp_path / "runs")
    run = RunDirectory(tmp_path / "runs" / "s" / "c1")
    run.create()
    with claimed(settings, run, "c1") as (storage, study, lease):
        yield ManualDriver(Driver(settings, storage, study, run, lease, clock.now, shown.append), clock, shown)


def test_an_attempt_gets_the_options_of_the_study_file(manual: ManualDriver) -> None:
    (spec,) = manual.tick(Capacity(1))
    assert (spec.nodes, spec.ranks_per_node, spec.yield_before, spec.expected) == (2, 4, 120.0, None)
    assert (spec.ranks, spec.launcher, spec.rank_timeout) == (8, "", 600.0)


def test_an_attempt_with_a_checkpoint_is_expected_to_run_the_rest_of_its_trial(manual: ManualDriver) -> None:
    (spec,) = manual.tick(Capacity(1))
    for _ in range(5):
        assert spec.expected is None
        (spec,) = manual.tick(started(spec), over(spec, started=0.0, finished=100.0))
    assert spec.expected == 100.0
    (again,) = manual.tick(started(spec), over(spec, "yielded", started=0.0, finished=30.0))
    assert again.expected == 100.0, "without a checkpoint it starts from the beginning"
    folder = Path(again.directory) / "checkpoint-1"
    folder.mkdir(parents=True)
    (folder / "state").touch()
    (again,) = manual.tick(started(again), over(again, "yielded", started=0.0, finished=30.0))
    assert again.expected == 40.0


def test_a_trial_keeps_its_folder_until_the_run_directory_around_it_is_deleted(manual: ManualDriver) -> None:
    """Even if no attempt has made it yet: where a driver looks for the next one, its attempts must be."""
    (spec,) = manual.tick(Capacity(1))
    before = manual.driver.run.path.with_name("c0")
    (before / "trials").mkdir(parents=True)
    (flight,) = manual.driver.campaign.flights.values()
    flight.directory = str(before / "trials" / "0")
    (again,) = manual.tick(started(spec), over(spec, "yielded", started=0.0, finished=30.0))
    assert again.directory == str(before / "trials" / "0")
    shutil.rmtree(before)
    (again,) = manual.tick(started(again), over(again, "yielded", started=0.0, finished=30.0))
    assert again.directory == str(manual.driver.run.trial(0).directory)


def test_the_status_is_written_each_second_while_something_changes_and_seldom_otherwise(manual: ManualDriver) -> None:
    (spec,) = manual.tick(Capacity(1))
    manual.tick(started(spec), after=5.0)
    first = manual.written()
    for _ in range(int(STILL_PERIOD) - 1):
        manual.tick()
        assert manual.written() == first
    manual.tick()
    assert manual.written() == first + STILL_PERIOD
    manual.tick(BlocksSeen((BlockView("knl", "0", "1", "queued"),)))
    assert manual.written() == first + STILL_PERIOD + 1.0
    for _ in range(9):
        manual.tick(BlocksSeen((BlockView("knl", "0", "1", "queued", reason=str(manual.clock.now)),)), after=0.1)
    assert manual.written() == first + STILL_PERIOD + 1.0
    manual.tick(after=0.3)
    assert manual.written() == pytest.approx(first + STILL_PERIOD + 2.2)


def test_a_problem_with_the_database_is_written_at_once(manual: ManualDriver) -> None:
    manual.tick()
    manual.clock.now += 0.1
    manual.driver.report_status("database unreachable")
    assert json.loads(manual.driver.run.status.read_text())["message"] == "database unreachable"


def test_a_driver_shows_that_it_is_alive_while_the_database_is_unreachable(manual: ManualDriver) -> None:
    manual.tick()
    for _ in range(10):
        manual.clock.now += 30.0
        manual.driver.report_status("database unreachable")
        assert manual.written() == manual.clock.now


def test_a_run_directory_that_is_gone_does_not_stop_the_driver(manual: ManualDriver) -> None:
    manual.tick()
    shutil.rmtree(manual.driver.run.path)
    manual.tick(Capacity(1), after=60.0)
    assert manual.shown[-1].workers == 1


class IdlePool:
    """A pool that is only told what to do first."""

    address, specs, cleaned = "", (), None

    def __init__(self) -> None:
        self.told: list[str] = []

    def now(self) -> float:
        return 1000.0

    def wake(self) -> None: ...

    def perform(self, actions: Any) -> None: ...

    def start(self, dead: Any) -> None:
        self.told.append("start")

    def clean_up(self, dead: Any) -> None:
        self.told.append("clean up")


def test_nothing_is_submitted_where_nothing_is_left_to_do(manual: ManualDriver) -> None:
    campaign, pool = manual.driver.campaign, IdlePool()
    campaign.limits = dataclasses.replace(campaign.limits, trials=0)
    with Control(manual.driver.run.stop) as control:
        manual.driver.drive(pool, control)
    assert campaign.finished is not None
    assert campaign.finished.reason == "the budget of 0 trials is used up, and no trial completed"
    assert pool.told == ["clean up"]
