"""Budgets in node-hours: what blocks may be submitted, and when nothing is left to pay one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pilotune.pipeline.attributes import GPU_HOURS, NODE_HOURS
from pilotune.pipeline.campaign.events import Capacity, Charged, PoolCharge
from pilotune.pipeline.campaign.node_hours import HoursPlan, NodeHours, PoolCost
from pilotune.pipeline.driver.hours import reserve
from pilotune.pipeline.hours import Account
from pilotune.pipeline.record import Lease, claim
from pilotune.pipeline.record.hours import Ledger, Spent, ledgers
from tests.support.campaign_bench import Bench, benches, finish_of, over, started

HOUR = 3600.0
POOLS = {"cpu": PoolCost(nodes=2, walltime=HOUR), "gpu": PoolCost(nodes=1, gpus=4, walltime=HOUR)}


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    return benches(tmp_path)


def hours_of(*accounts: Account, **wanted: int) -> NodeHours:
    hours = NodeHours(HoursPlan(POOLS, accounts))
    hours.take({pool: PoolCharge(wanted=count) for pool, count in wanted.items()})
    return hours


def test_as_many_blocks_are_allowed_as_the_budget_pays_at_their_worst() -> None:
    hours = hours_of(Account("node_hours", 7.9), cpu=9)
    assert hours.reserve({}, (), 0.0)
    assert (hours.allowed["cpu"], hours.spent, hours.hopeless) == (3, {"cpu"}, "" if hours.blocks_left else "never")
    assert hours.ledger(0.0).total(Account("node_hours", 9.0), most=True) == 6.0, "reserved before they are submitted"
    assert not hours.reserve({}, (), 0.0), "there is nothing more"


def test_what_a_block_did_not_use_pays_for_another() -> None:
    hours = hours_of(Account("node_hours", 3.0), cpu=2)
    hours.reserve({}, (), 0.0)
    assert hours.allowed["cpu"] == 1
    hours.take({"cpu": PoolCharge(submitted=1, living=((0.0, 100.0),), wanted=1)})
    assert not hours.reserve({}, (), 1900.0), "the first may still run to its walltime"
    assert hours.ledger(1900.0).pools["cpu"] == Spent(3600.0, 7200.0, held=2)
    hours.take({"cpu": PoolCharge(submitted=1, over=1800.0, wanted=1)})
    assert hours.reserve({}, (), 1900.0)
    assert hours.allowed["cpu"] == 2


def test_a_block_that_was_refused_costs_nothing_and_may_be_submitted_again() -> None:
    hours = hours_of(Account("node_hours", 2.0), cpu=1)
    hours.reserve({}, (), 0.0)
    hours.take({"cpu": PoolCharge(submitted=1, wanted=1)})
    assert hours.reserve({}, (), 30.0)
    assert hours.allowed["cpu"] == 2


def test_each_pool_and_each_unit_has_its_own_budget() -> None:
    hours = hours_of(Account("node_hours", 2.0, "cpu"), Account("gpu_hours", 8.0), cpu=5, gpu=5)
    hours.reserve({}, (), 0.0)
    assert hours.allowed == {"cpu": 1, "gpu": 2}
    free = hours_of(Account("gpu_hours", 8.0), cpu=5)
    assert "cpu" not in free.allowed, "it has no GPUs, so nothing limits it"


def test_what_others_have_reserved_cannot_be_reserved_again() -> None:
    other = Ledger({"cpu": Spent(HOUR, 4 * HOUR)})
    hours = hours_of(Account("node_hours", 5.0), cpu=1)
    assert not hours.reserve({"other": other}, ("other",), 0.0)
    assert hours.hopeless == "", "the other one may give back what it does not use"
    assert not hours.reserve({"other": other}, (), 0.0)
    assert "3 node-hours reserved for jobs of dead drivers" in hours.hopeless
    given_back = Ledger({"cpu": Spent(HOUR, HOUR)}, over=True)
    assert hours.reserve({"other": given_back}, (), 0.0)


def test_a_campaign_ends_when_its_last_block_is_over_and_no_other_is_paid(bench) -> None:
    campaign = bench(trials=99, hours=HoursPlan({"cpu": PoolCost(walltime=HOUR)}, (Account("node_hours", 1.5),)))
    claim(campaign.storage, campaign.campaign.study.study, Lease.here("c1", ""))

    def tick(*events: object, after: float = 1.0) -> list:
        campaign.campaign.step(campaign.now + after, events)
        study, hours = campaign.campaign.study.study, campaign.campaign.hours
        if hours.wanted:
            reserve(campaign.storage, study, "c1", hours, campaign.now + after)
        return campaign.turn(after=after)

    tick(Charged({"cpu": PoolCharge(wanted=1)}))
    assert campaign.scales[-1].blocks == {"cpu": 1}
    kept = ledgers(campaign.storage, campaign.campaign.study.study)
    assert kept["c1"].pools["cpu"] == Spent(0.0, HOUR), "before the pool could submit it"
    tick(Charged({"cpu": PoolCharge(submitted=1, living=((0.0, campaign.now),))}), Capacity(1))
    (flight,) = campaign.campaign.flights.values()
    assert flight.number == 0
    spec = campaign.make_spec(flight)
    campaign.turn(started(spec), over(spec, started=0.0, finished=1800.0))
    last = Charged({"cpu": PoolCharge(submitted=1, over=3000.0, wanted=1)})
    finish = finish_of([*tick(last, Capacity(0), after=3000.0), *tick(), *tick()])
    assert finish.code == 0
    assert finish.reason.startswith(
        "the budget of 1.5 node-hours pays for no further block: 0.8333 node-hours used, and a block of pool cpu can "
        "cost 1 node-hour"
    )


def test_a_trial_costs_its_share_of_the_nodes_for_as_long_as_it_ran(bench) -> None:
    plan = HoursPlan({"gpu": POOLS["gpu"]}, share=lambda pool, params: 0.25)
    campaign = bench(trials=1, hours=plan)
    (spec,) = campaign.specs(Capacity(1))
    campaign.turn(started(spec, host="n1"), over(spec, started=0.0, finished=720.0, pool="gpu", host="n1"))
    attrs = campaign.trials()[0].user_attrs
    assert (attrs[NODE_HOURS], attrs[GPU_HOURS]) == (0.05, 0.2)
    assert campaign.campaign.hours.ledger(0.0).pools["gpu"].busy == 180.0


def test_without_a_plan_of_hours_trials_have_no_cost(bench) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    campaign.turn(started(spec), over(spec, started=0.0, finished=720.0))
    assert NODE_HOURS not in campaign.trials()[0].user_attrs


def test_of_several_shapes_those_are_allowed_that_the_budget_pays():
    """The large one costs 8 of 10 node-hours, the small one 2: after a large one there is one small one left."""
    shapes = {"cpu/0": PoolCost(nodes=2, walltime=HOUR), "cpu/1": PoolCost(nodes=8, walltime=HOUR)}
    hours = NodeHours(HoursPlan(shapes, (Account("node_hours", 10.0),)))
    assert (hours.plan.metered_pools, hours.plan.names) == ({"cpu"}, ["cpu"])
    hours.take({"cpu/0": PoolCharge(), "cpu/1": PoolCharge(wanted=2)})
    assert hours.reserve({}, (), 0.0)
    assert (hours.allowed, hours.spent, hours.hopeless) == ({"cpu/0": 0, "cpu/1": 1}, {"cpu/1"}, "")
    used = PoolCharge(submitted=1, living=((0.0, 0.0),), wanted=1)
    hours.take({"cpu/0": PoolCharge(wanted=2), "cpu/1": used})
    assert hours.reserve({}, (), 0.0)
    assert (hours.allowed, hours.spent) == ({"cpu/0": 1, "cpu/1": 1}, {"cpu/0", "cpu/1", "cpu"})
    small = PoolCharge(submitted=1, over=HOUR, wanted=1)
    hours.take({"cpu/0": small, "cpu/1": PoolCharge(submitted=1, over=HOUR, wanted=1)})
    assert not hours.reserve({}, (), HOUR)
    assert hours.ledger(HOUR).pools["cpu"].nodes == 10 * HOUR
    assert "a block of pool cpu can cost 8 node-hours" in hours.hopeless
