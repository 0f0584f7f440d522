"""The cost of a tick depends on what happens in it, not on the number of trials or of running attempts."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from pilotune.pipeline.campaign import flight_states
from pilotune.pipeline.campaign.events import Capacity, StopRequested, Submit
from pilotune.pipeline.driver.loop import CampaignLoop
from pilotune.pipeline.driver.status import snapshot
from pilotune.pipeline.record.database import Database
from pilotune.pipeline.trial.protocol import Report
from pilotune.providers.simulated.pool import SimulatedPool

from ..support.campaign_bench import SPACE, Bench, benches, over, started
from ..support.operations import operations

SMALL, LARGE = (100, 32), (2_000, 512)
"""Finished trials and running attempts."""

MARGIN = 1.1
"""Allowed growth: for logarithms, and for a list that is a little longer."""


@pytest.fixture(autouse=True)
def as_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the checks of invariants, which tests switch on and whose cost grows with the trials in flight."""
    monkeypatch.setattr(flight_states, "VALIDATE", False)


class Busy:
    """A campaign on a study with many finished trials and many running attempts."""

    def __init__(self, bench: Callable[..., Bench], finished: int, running: int, **options: Any):
        self.bench = bench(options=options)
        self.campaign = self.bench.campaign
        self._fill(finished)
        self.bench.turn(Capacity(running))
        while self.campaign.more_to_ask:
            self.bench.turn()
        self.specs = deque(flight for flight in map(self.bench.make_spec, self.campaign.flights.values()))
        self.bench.turn(*map(started, self.specs))
        self.random = random.Random(0)
        for step in range(3):  # so that everything that is created once exists
            self.bench.turn(*self.some(2, 2, step))

    def _fill(self, count: int) -> None:
        rng, storage = random.Random(0), self.bench.storage
        (distribution,) = SPACE.distributions.values()
        for _ in range(count):
            trial = create_trial(params={"x": rng.random()}, distributions={"x": distribution}, value=rng.random())
            storage.create_new_trial(self.campaign.study.study._study_id, trial)
        storage.commit()
        self.campaign.study.recount()

    def some(self, ends: int, reports: int, step: int) -> list[Any]:
        """Events: ``ends`` attempts end, and ``reports`` attempts report."""
        ended = [over(self.specs.popleft(), value=self.random.random(), finished=60.0) for _ in range(ends)]
        said = [self.specs[index] for index in range(reports)]
        return [*ended, *(Report(spec.token, step + 1, step, self.random.random()) for spec in said)]

    def tick(self, ends: int, reports: int) -> Callable[[], Any]:
        events = self.some(ends, reports, 7)
        return lambda: self.bench.turn(*events)


@pytest.fixture
def busy(tmp_path: Path):
    def make(size: tuple[int, int], **options: Any) -> Busy:
        folder = tmp_path / f"{size[0]}"
        folder.mkdir()
        return Busy(benches(folder), *size, **options)

    return make


def test_a_tick_with_ends_asks_and_reports_costs_the_same_in_a_large_study(busy) -> None:
    small, large = (operations(busy(size).tick(8, 8)) for size in (SMALL, LARGE))
    assert small / MARGIN < large < MARGIN * small


def test_a_tick_in_which_little_happens_costs_the_same_in_a_large_study(busy) -> None:
    small, large = (operations(busy(size).tick(0, 1)) for size in (SMALL, LARGE))
    assert small / MARGIN < large < MARGIN * small


def test_changes_of_others_are_counted_without_reading_all_trials(busy) -> None:
    small, large = (operations(busy(size).campaign.study.recount) for size in (SMALL, LARGE))
    assert large < MARGIN * small


def test_a_snapshot_costs_the_same_in_a_large_study(busy) -> None:
    counts = []
    for size in (SMALL, LARGE):
        campaign = busy(size).campaign
        snapshot(campaign, storage="", run_dir="")
        counts.append(operations(lambda campaign=campaign: snapshot(campaign, storage="", run_dir="")))
    shown = 50 - 32  # running trials that the larger status lists in addition
    assert counts[1] < MARGIN * counts[0] + 100 * shown


def test_a_campaign_that_is_stopped_releases_waiting_attempts_once(busy) -> None:
    counts = []
    for size in (SMALL, LARGE):
        one = busy(size)
        one.bench.turn(StopRequested("finish"), Capacity(0))
        counts.append(operations(one.tick(0, 1)))
    assert counts[1] < MARGIN * counts[0]


def test_a_tick_makes_as_many_queries_as_with_one_event(busy, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    run = Database.run
    monkeypatch.setattr(Database, "run", lambda self, *rest: (made.append(1), run(self, *rest))[1])
    counts = []
    for size, ends in ((SMALL, 1), (LARGE, 16)):
        tick = busy(size).tick(ends, ends)
        made.clear()
        tick()
        counts.append(len(made))
    assert counts[0] == counts[1]


def test_thousands_of_workers_are_filled_in_few_ticks(tmp_path: Path) -> None:
    bench = benches(tmp_path)(options={"sampler": optuna.samplers.RandomSampler(seed=0)})

    def objective(spec):
        while True:
            yield 1000.0, None

    loop = CampaignLoop(bench.campaign, SimulatedPool(2_048, objective), bench.storage, bench)
    ticks = 0
    while bench.campaign.in_flight < 2_048:
        loop.turn()
        ticks += 1
    assert ticks <= 12  # with sixteen trials each it would take 128
    assert bench.campaign.study.counts[TrialState.RUNNING] == 2_048


def test_the_cost_of_asking_does_not_grow_with_enqueued_trials(bench_with_points) -> None:
    few, many = (operations(lambda bench=bench: bench.turn(Capacity(1))) for bench in bench_with_points(10, 500))
    assert many < MARGIN * few


@pytest.fixture
def bench_with_points(tmp_path: Path):
    def make(*counts: int):
        for count in counts:
            (tmp_path / f"{count}").mkdir()
            bench = benches(tmp_path / f"{count}")()
            for place in range(count):
                bench.campaign.study.study.enqueue_trial({"x": place / count})
            bench.storage.commit()
            assert not any(isinstance(action, Submit) for action in bench.turn())
            yield bench

    return make
