"""Several simulated pools, of which one may be given up at any moment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pilotune.pipeline.campaign.events import Charged, Scale
from pilotune.pipeline.trial.protocol import AttemptSpec
from pilotune.providers.simulated.attempt import Step
from pilotune.providers.simulated.blocks import BlockPlan
from pilotune.providers.simulated.clock import VirtualTime
from pilotune.providers.simulated.pool import SimulatedPool
from pilotune.providers.simulated.several import SimulatedPools
from pilotune.providers.site.spec import BlockCounts


def objective(spec: AttemptSpec) -> Iterator[Step]:
    yield 1.0, None


def test_a_pool_may_be_given_up_while_another_one_is_told_the_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    time = VirtualTime(0.0)
    pools = SimulatedPools({name: SimulatedPool(1, objective, time=time) for name in ("first", "second", "third")})
    told: list[str] = []

    def perform(actions: object) -> None:
        told.append("first")
        pools.vanish("second")

    monkeypatch.setattr(pools.pools["first"], "perform", perform)
    monkeypatch.setattr(pools.pools["third"], "perform", lambda actions: told.append("third"))
    pools.perform([Scale(3, None)])
    assert told == ["first", "third"]
    pools.close()


def test_demand_goes_to_the_pool_whose_blocks_start_soonest() -> None:
    time, counts = VirtualTime(0.0), BlockCounts(0, 0, 1, 60.0)
    plans = {"slow": BlockPlan(2, counts, 3600.0, queue=1e9), "quick": BlockPlan(2, counts, 3600.0, queue=1.0)}
    machines = {name: SimulatedPool(2, objective, time=time, plan=plan) for name, plan in plans.items()}
    pools = SimulatedPools(machines)
    pools.perform([Scale(2, None)])
    for _ in range(10):
        pools.wait(50.0)
    assert pools.demand.order == ("slow", "quick")
    assert [len(each.blocks.blocks) for each in machines.values() if each.blocks] == [1, 0]
    for _ in range(10):
        pools.wait(50.0)
    assert pools.demand.order == ("quick", "slow")
    assert machines["quick"].blocks is not None
    assert machines["quick"].blocks.capacity() == 2
    pools.close()


def test_a_pool_that_is_given_up_says_what_its_blocks_have_cost_in_the_end() -> None:
    time, counts = VirtualTime(0.0), BlockCounts(1, 0, 1, 60.0)
    plan = BlockPlan(2, counts, 3600.0, queue=1.0)
    pools = SimulatedPools({name: SimulatedPool(2, objective, time=time, plan=plan) for name in ("first", "second")})
    pools.perform([Scale(4, None)])
    for _ in range(10):
        pools.wait(50.0)
    pools.vanish("second")
    charged = [event for event in pools.wait(0.0) if isinstance(event, Charged)]
    assert not charged[-1].pools["second"].living
    assert charged[-1].pools["second"].over > 0.0
    assert charged[-1].pools["first"].living
    pools.close()
