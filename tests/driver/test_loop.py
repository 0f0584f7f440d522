"""The driver's loop: how often it looks at what others did, and how little it does while nothing happens."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from pilotune.pipeline.campaign.events import Capacity, Lost, Submit
from pilotune.pipeline.driver.loop import CampaignLoop
from pilotune.pipeline.trial.protocol import Report
from tests.support.campaign_bench import Bench, benches, over, started


class Counted:
    """Counts the calls of a method, which still does its work."""

    def __init__(self, owner: object, name: str):
        self.calls, self.work = 0, getattr(owner, name)
        setattr(owner, name, self)

    def __call__(self, *args, **kwargs):
        self.calls += 1
        return self.work(*args, **kwargs)


class StillPool:
    """A pool in which nothing happens; its clock is set by the test."""

    clock = 1000.0

    def __init__(self) -> None:
        self.performed: list = []

    def now(self) -> float:
        return self.clock

    def perform(self, actions) -> None:
        self.performed += actions


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    return benches(tmp_path)


def test_changes_of_others_are_read_each_second_while_something_happens_and_seldom_otherwise(bench) -> None:
    campaign, pool = bench(trials=9), StillPool()
    loop = CampaignLoop(campaign.campaign, pool, campaign.storage, campaign, limit=9)
    loop.tick([Capacity(1)])
    (spec,) = [action.spec for action in pool.performed if hasattr(action, "spec")]
    loop.tick([started(spec)])
    syncs = Counted(campaign.storage, "sync")
    for step in range(40):
        pool.clock += 0.25
        loop.tick([Report(spec.token, step + 1, step, 1.0)])
    assert syncs.calls == 10
    for _ in range(40):
        pool.clock += 1.0
        loop.tick([])
    assert syncs.calls == 14


def test_what_another_driver_did_is_passed_on_once(bench) -> None:
    campaign, other, pool = bench(trials=9), bench("c2", trials=9), StillPool()
    told: list[float] = []
    loop = CampaignLoop(
        campaign.campaign, pool, campaign.storage, campaign, changed_by_others=lambda: told.append(pool.clock)
    )
    loop.tick([Capacity(1)])
    assert other.specs(Capacity(1)), "it has asked for a trial"
    for _ in range(3):
        pool.clock += 10.0
        loop.tick([])
    assert told == [1010.0]


def test_a_tick_in_which_nothing_happens_writes_nothing_and_sends_nothing(bench) -> None:
    campaign, pool = bench(trials=9), StillPool()
    loop = CampaignLoop(campaign.campaign, pool, campaign.storage, campaign, limit=9)
    loop.tick([Capacity(1)])
    pool.performed.clear()
    watcher = sqlite3.connect(campaign.storage.url.removeprefix("sqlite:///"))
    with contextlib.closing(watcher):
        before = version(watcher)
        for _ in range(20):
            pool.clock += 1.0
            loop.tick([])
        assert version(watcher) == before
        assert pool.performed == []
        loop.tick([Capacity(2)])
        assert version(watcher) != before, "a write is noticed"


def version(connection: sqlite3.Connection) -> int:
    """A number that changes with each commit of another connection."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def test_a_worker_that_is_lost_after_it_wrote_its_outcome_costs_no_result(bench) -> None:
    campaign, pool = bench(trials=2), StillPool()
    outcomes: dict = {}
    campaign.written_outcome = lambda flight: outcomes.get(flight.token)
    loop = CampaignLoop(campaign.campaign, pool, campaign.storage, campaign, limit=2)
    loop.tick([Capacity(2)])
    first, second = [action.spec for action in pool.performed if isinstance(action, Submit)]
    outcomes[first.token] = over(first, value=0.25).outcome
    pool.performed.clear()
    loop.tick([Lost(first.token, "its worker was lost"), Lost(second.token, "its worker was lost")])
    assert [trial.values for trial in campaign.trials()] == [[0.25], None]
    (again,) = [action.spec for action in pool.performed if isinstance(action, Submit)]
    assert (again.number, again.attempt) == (1, 2)
