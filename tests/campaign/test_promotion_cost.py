"""The cost of a tick does not depend on the number of paused trials."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from optuna.trial import TrialState, create_trial

from pilotune.pipeline.attributes import PAUSED
from pilotune.pipeline.campaign import flight_states
from pilotune.pipeline.campaign.events import Capacity, Lost
from pilotune.pipeline.fidelity import rung_schedule
from pilotune.pipeline.record import Orphan
from pilotune.pipeline.registry_args import Named
from pilotune.pipeline.trial.protocol import Report

from ..support.campaign_bench import SPACE, Bench, benches, over, started
from ..support.operations import operations

RUNGS = rung_schedule(Named("successive_halving", {"mode": "promote", "max_resource": 27}))
WORKERS = 8


@pytest.fixture(autouse=True)
def as_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the checks of invariants, which tests switch on and whose cost grows with the trials in flight."""
    monkeypatch.setattr(flight_states, "VALIDATE", False)


def with_paused(folder: Path, count: int) -> Bench:
    """A campaign that has taken over ``count`` paused trials, and whose workers are all busy."""
    folder.mkdir()
    bench = benches(folder)(options={"pausing": RUNGS}, trials=100_000)
    draw, storage, study_id = random.Random(0), bench.storage, bench.campaign.study.study._study_id
    (distribution,) = SPACE.distributions.values()
    for _ in range(count):
        x = draw.random()
        trial = create_trial(
            state=TrialState.RUNNING,
            params={"x": x},
            distributions={"x": distribution},
            user_attrs={PAUSED: 1},
            intermediate_values={1: x},
        )
        storage.create_new_trial(study_id, trial)
    storage.commit()
    bench.campaign.study.recount()
    tokens = [bench.campaign.adopt(Orphan(number, 1, "c0", "/tmp", {})) for number in range(count)]
    bench.turn(*(Lost(token, "its driver died") for token in tokens))
    assert len(bench.campaign.promotion.paused) == count
    return bench


def tick(bench: Bench, value: float) -> int:
    """The cost of a tick in which some attempts report at a rung, others pause, and paused trials are promoted."""
    running = [bench.make_spec(flight) for flight in list(bench.campaign.flights.values())]
    bench.turn(*map(started, running))
    reports = [Report(spec.token, 1, 4, value + spec.number) for spec in running[:4]]
    bench.turn(*reports)
    ends = [over(spec, "yielded", started=0.0, finished=60.0) for spec in running[:4]]
    again = [Report(spec.token, 1, 5, value) for spec in running[4:]]
    before = len(bench.campaign.promotion.paused)
    cost = operations(lambda: bench.turn(*ends, *again))
    assert len(bench.campaign.promotion.paused) == before, "four pause, and four others go on"
    return cost


def test_a_tick_costs_the_same_with_many_paused_trials(tmp_path: Path) -> None:
    costs = []
    for count in (150, 3_000):
        bench = with_paused(tmp_path / str(count), count)
        bench.turn(Capacity(WORKERS))
        for value in (1.0, 2.0):  # so that everything that is created once exists
            tick(bench, value)
        costs.append(tick(bench, 3.0))
    few, many = costs
    assert many < 1.3 * few, costs


@pytest.mark.parametrize("count", [2_000])
def test_promotions_count_for_the_asks_of_a_step(tmp_path: Path, count: int) -> None:
    bench = with_paused(tmp_path / "many", count)
    bench.turn(Capacity(count))
    assert 0 < bench.campaign.in_flight < count / 4
    assert bench.campaign.more_to_ask
