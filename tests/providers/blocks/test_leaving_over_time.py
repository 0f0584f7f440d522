"""What the last trials of simulated campaigns cost, where they may leave large blocks and where they may not."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import optuna

from pilotune.pipeline.driver.loop import CampaignLoop
from pilotune.pipeline.trial.protocol import AttemptSpec
from pilotune.providers.simulated.attempt import Step
from pilotune.providers.simulated.blocks import BlockPlan, PlannedShape
from pilotune.providers.simulated.clock import VirtualTime
from pilotune.providers.simulated.faults import Disk
from pilotune.providers.simulated.pool import SimulatedPool
from pilotune.providers.site.spec import BlockCounts
from tests.support.campaign_bench import benches
from tests.support.sizes import at_size

SEEDS, TRIALS = at_size(5, 40), 24
SMALL, LARGE = PlannedShape(1, 1, 40_000.0, 20.0), PlannedShape(16, 16, 40_000.0, 20.0)


class Ran(NamedTuple):
    """Nodes times seconds of all blocks and of small ones; how many trials moved; seconds in all."""

    cost: float
    small: float
    moved: int
    seconds: float


def ran(folder: Path, seed: int, *, moves: bool) -> Ran:
    """A campaign of trials whose steps of 60 s differ in number: a few of them run much longer than most."""

    def objective(spec: AttemptSpec) -> Iterator[Step]:
        steps = math.ceil(random.Random(f"{seed} {spec.number}").lognormvariate(1.5, 1.0))
        for step in range(steps):
            yield 60.0, float(step)
        yield 0.0, None

    folder.mkdir(parents=True)
    bench, disk = benches(folder)(trials=TRIALS, moves=moves), Disk(every=1)
    bench.last_saved = lambda flight: bench.campaign.now if disk.saved.get(flight.number) else None  # type: ignore[method-assign]
    plan = BlockPlan(1, BlockCounts(1, 0, 3, 60.0), 40_000.0, shapes=(SMALL, LARGE))
    pool = SimulatedPool(1, objective, seed=seed, plan=plan, disk=disk, time=VirtualTime(bench.now))
    CampaignLoop(bench.campaign, pool, bench.storage, bench, limit=TRIALS, longest_wait=30.0).run()
    pool.close()
    assert [trial.state for trial in bench.trials()] == [optuna.trial.TrialState.COMPLETE] * TRIALS
    assert pool.blocks is not None
    held = {block.number: pool.blocks.nodes_of(block) * block.held.before for block in pool.blocks.blocks}
    small = {block.number for block in pool.blocks.blocks if pool.blocks.nodes_of(block) == 1}
    moved = sum(len(leave.tokens) for leave in pool.blocks.leaving.leaves)
    return Ran(sum(held.values()), sum(held[number] for number in small), moved, pool.now() - bench.campaign.began)


def test_what_the_last_trials_save_is_more_than_what_their_blocks_cost(tmp_path: Path) -> None:
    pairs = [
        (ran(tmp_path / f"stay{seed}", seed, moves=False), ran(tmp_path / f"move{seed}", seed, moves=True))
        for seed in range(SEEDS)
    ]
    assert all(stay.moved == 0 for stay, _ in pairs)
    assert sum(move.moved for _, move in pairs) >= SEEDS / 2, "they hardly move: the draw has changed"
    for stay, move in pairs:
        # A new block is in vain where the last trials end before it has started.
        assert move.cost <= stay.cost + move.small + 1e-6, "it costs more than without, by more than the small blocks"
    stay, move = (sum(pair[side].cost for pair in pairs) for side in range(2))
    print(f"node-hours: {stay / 3600:.1f} where trials stay, {move / 3600:.1f} where they move")
    assert move < 0.9 * stay
