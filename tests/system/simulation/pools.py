"""Several pools: how fast each is, how long its blocks wait, which trials each may run, and when one vanishes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pilotune.pipeline.trial.protocol import AttemptSpec
from pilotune.providers.simulated.attempt import Objective, Step
from pilotune.providers.simulated.blocks import BlockPlan


@dataclass(frozen=True)
class Pools:
    """The pools of a case.

    Attributes:
        slowness: Pool -> how much longer each step takes there.
        rule: The parameter ``kind`` -> the pools that may run such a trial; empty: all may run all.
        policy: How trials are placed.
        vanishes_after: Seconds after which the last pool of a driver is given up; None: never.
        queues: Pool -> mean seconds that its blocks wait at least, also where the plan says less.
    """

    slowness: Mapping[str, float]
    rule: Mapping[str, tuple[str, ...]]
    policy: str
    vanishes_after: float | None
    queues: Mapping[str, float] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return list(self.slowness)

    def of(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        """The pools that may run a trial; empty for all."""
        return self.rule.get(params["kind"], ())

    def plan(self, pool: str, plan: BlockPlan) -> BlockPlan:
        """The blocks of a pool."""
        least = self.queues.get(pool, 0.0)
        shapes = tuple(replace(shape, queue=max(least, shape.queue)) for shape in plan.shapes)
        return replace(plan, queue=max(least, plan.queue), shapes=shapes)

    def objective(self, pool: str, objective: Objective, saw: Counter[str]) -> Objective:
        """The objective as it runs in a pool."""

        def slowed(spec: AttemptSpec) -> Iterator[Step]:
            assert not spec.pools or pool in spec.pools, f"trial {spec.number} runs in {pool}, not in {spec.pools}"
            saw[f"attempts in pool {pool}"] += 1
            saw["attempts that some pools may run"] += bool(spec.pools)
            for seconds, what in objective(spec):
                yield self.slowness[pool] * seconds, what

        return slowed


def draw_pools(seed: int) -> Pools | None:
    """The pools of a seed; None for one pool."""
    draw = random.Random(f"pools {seed}")
    if draw.random() < 0.7:
        return None
    names = ["p0", "p1", "p2"][: draw.choice([2, 2, 3])]
    rule: dict[str, tuple[str, ...]] = draw.choice([{}, {}, {"a": ("p0",)}, {"a": ("p0",), "b": ("p1",)}])
    policy = draw.choice(["learned", "learned", "fifo", "shadho"])
    after = draw.choice([None, None, 3.0, 30.0, 300.0])
    slowness = {name: draw.choice([0.2, 1.0, 1.0]) for name in names}
    return Pools(slowness, rule, policy, after, {name: draw.choice([0.0, 0.0, 1500.0]) for name in names})
