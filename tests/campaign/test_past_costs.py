"""What drivers of one study learn of each other's trials, on sites whose pools may have the same names."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilotune.pipeline.attributes import SETUP
from pilotune.pipeline.campaign.events import Capacity
from pilotune.pipeline.campaign.past_costs import OthersCosts, PastCosts, PoolNames
from pilotune.pipeline.placement import Costs, Placement, PoolRoom

from ..support.campaign_bench import Bench, benches, over, started


class Driver:
    """A campaign at a site with the pools ``cpu`` and ``gpu``, and what it has learned."""

    def __init__(self, bench: Bench, site: str):
        self.bench, study = bench, bench.campaign.study.study
        bench.storage.set_study_system_attr(study._study_id, SETUP + bench.campaign.campaign_id, {"site": site})
        bench.storage.commit()
        self.costs = Costs(["cpu", "gpu"])
        names = PoolNames(
            lambda: bench.storage.get_study_system_attrs(study._study_id), bench.campaign.campaign_id, self.costs.pools
        )
        self.others = OthersCosts(PastCosts(self.costs, {}, names), study, bench.campaign.campaign_id)
        self.others.refresh()

    def run(self, pool: str, seconds: float) -> None:
        """A trial runs in a pool."""
        for spec in self.bench.specs(Capacity(1)):
            now = self.bench.now
            self.bench.turn(started(spec), over(spec, pool=pool, started=now, finished=now + seconds), Capacity(0))

    def refresh(self) -> None:
        """What a tick of its loop does when other processes have changed the study."""
        if self.bench.storage.sync():
            self.others.refresh()


@pytest.fixture
def drivers(tmp_path: Path) -> tuple[Driver, Driver, Driver]:
    make = benches(tmp_path)
    return Driver(make("c1"), "theta"), Driver(make("c2"), "theta"), Driver(make("c3"), "polaris")


def test_a_driver_learns_what_others_have_run_while_it_runs(drivers: tuple[Driver, ...]) -> None:
    first, second, elsewhere = drivers
    for _ in range(4):
        first.run("cpu", 100.0)
        first.run("gpu", 10.0)
    assert second.costs.count == 0
    for each in drivers:
        each.refresh()
    assert (first.costs.count, second.costs.count, elsewhere.costs.count) == (0, 8, 8), "its own it learns from events"
    assert elsewhere.costs.pools == ["cpu", "gpu", "theta.cpu", "theta.gpu"]
    found = second.costs.predict({"x": 0.5}, "gpu"), elsewhere.costs.predict({"x": 0.5}, "theta.gpu")
    assert [each and round(each.seconds) for each in found] == [10, 10]
    second.run("cpu", 90.0)
    second.refresh()
    first.run("gpu", 11.0)
    second.refresh()
    second.refresh()
    assert second.costs.count == 9, "each trial is learned once"


def test_the_plan_of_a_second_driver_has_what_the_first_learned(drivers: tuple[Driver, ...]) -> None:
    first, second, _ = drivers
    for _ in range(4):
        first.run("cpu", 100.0)
        first.run("gpu", 10.0)
    second.refresh()
    placement = Placement("learned", second.costs)
    placement.pools({"cpu": PoolRoom(1), "gpu": PoolRoom(1)})
    placement.put("a trial", {"x": 0.5}, 0.0)
    (kind,) = placement.table().kinds
    assert kind.seconds == pytest.approx({"cpu": 100.0, "gpu": 10.0}, rel=0.05)
    assert kind.seen == {"cpu": 4, "gpu": 4}


def test_costs_at_another_site_say_how_parameters_matter_here() -> None:
    names = PoolNames(lambda: {f"{SETUP}a": {"site": "theta"}, f"{SETUP}b": {"site": "polaris"}}, "a", ["cpu"])
    costs = Costs(["cpu"])
    for _ in range(6):
        costs.note({"model": "deep"}, names.here("b", "cpu"), 400.0)
        costs.note({"model": "flat"}, names.here("b", "cpu"), 4.0)
        costs.note({"model": "flat"}, names.here("a", "cpu"), 8.0)
    deep, flat = (costs.predict({"model": model}, "cpu") for model in ("deep", "flat"))
    assert deep is not None
    assert flat is not None
    assert deep.seconds > 20 * flat.seconds


SETUPS = {
    f"{SETUP}one": {"site": "theta"},
    f"{SETUP}other": {"site": "polaris"},
    f"{SETUP}both": {
        "site": "theta and polaris",
        "pools": {"theta.cpu": "theta", "polaris.cpu": "polaris", "knl": "theta"},
    },
}


@pytest.mark.parametrize(
    ("campaign", "pools", "of", "pool", "name"),
    [
        ("one", ["cpu"], "one", "cpu", "cpu"),
        ("one", ["cpu"], "other", "cpu", "polaris.cpu"),
        ("one", ["cpu", "knl"], "both", "theta.cpu", "cpu"),
        ("one", ["cpu", "knl"], "both", "knl", "knl"),
        ("one", ["cpu", "knl"], "both", "polaris.cpu", "polaris.cpu"),
        ("both", ["theta.cpu", "polaris.cpu", "knl"], "one", "cpu", "theta.cpu"),
        ("both", ["theta.cpu", "polaris.cpu", "knl"], "both", "knl", "knl"),
        ("one", ["cpu"], "of an earlier version", "cpu", "cpu"),
    ],
)
def test_a_pool_is_known_by_its_site(campaign: str, pools: list[str], of: str, pool: str, name: str) -> None:
    assert PoolNames(lambda: SETUPS, campaign, pools).here(of, pool) == name
