"""Several simulated pools, of which one may be given up at any moment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pilotune.pipeline.campaign.events import Scale
from pilotune.pipeline.trial.protocol import AttemptSpec
from pilotune.providers.simulated.attempt import Step
from pilotune.providers.simulated.clock import VirtualTime
from pilotune.providers.simulated.pool import SimulatedPool
from pilotune.providers.simulated.several import SimulatedPools


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
