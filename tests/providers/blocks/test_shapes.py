"""Which of a pool's shapes the next blocks have, and what is learned of how long each waits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pilotune.providers.blocks import block_shape
from pilotune.providers.blocks.block import Block
from pilotune.providers.blocks.block_shape import BlockShape
from pilotune.providers.blocks.pool_blocks import PoolBlocks
from pilotune.providers.blocks.shapes import (
    MEMORY,
    PATIENCE,
    Fleet,
    Offer,
    Wait,
    further_blocks,
    is_late,
    next_shape,
    wait_of,
)
from pilotune.providers.schedulers.jobs import End, Job, Phase, SubmitRefused
from pilotune.providers.site import BlockCounts, PoolSpec, Shape

from .test_monitor import Lab, Scheduler

HOUR, UNKNOWN = 3600.0, Wait()
SOON, LATE = Wait(seconds=60.0, begun=2, blocks=2), Wait(seconds=8 * HOUR, begun=1, blocks=1)


def offers(small: Wait = UNKNOWN, large: Wait = UNKNOWN, **more: object) -> list[Offer]:
    return [Offer(1, 4, HOUR / 2, 60.0, small), Offer(8, 32, 2 * HOUR, 60.0, large, **more)]  # type: ignore[arg-type]


def fleet(demand: int | None, most: int = 4, covered: int = 0) -> Fleet:
    return Fleet(0, covered, 0, most, demand)


def test_while_nothing_is_known_the_smallest_is_tried_first_and_then_what_the_work_needs():
    assert next_shape(offers(), fleet(None), None) == 0
    assert next_shape(offers()[::-1], fleet(None), None) == 1
    assert further_blocks(fleet(None, most=2), offers(), None) == [0, 1]
    assert further_blocks(fleet(8), offers(), 600.0) == [0, 0], "small ones suffice"


@pytest.mark.parametrize(
    ("small", "large", "demand", "most", "expected", "shape"),
    [
        (SOON, SOON, 400, 1, 600.0, 1),  # much work, and both start soon
        (SOON, LATE, 40, 4, 600.0, 0),  # little work, and the large one waits for hours
        (SOON, LATE, None, 1, 600.0, 1),  # work without end: more is done in the long run
        (LATE, SOON, 4, 4, 600.0, 1),
        (SOON, SOON, 4, 4, 600.0, 0),  # equally soon, and cheaper
        (SOON, LATE, 4, 4, HOUR, 1),  # a trial fits into the large one only
        (SOON, LATE, 4, 4, 9 * HOUR, 0),  # it fits into none, and goes on from checkpoints
        (LATE, UNKNOWN, 400, 4, 600.0, 1),  # one that was not tried waits no less than smaller ones
    ],
)
def test_the_shape_is_taken_with_which_the_work_is_done_soonest(small, large, demand, most, expected, shape):
    assert next_shape(offers(small, large), fleet(demand, most), expected) == shape


def test_a_shape_that_cannot_be_had_is_left_out_but_a_trial_is_not_sent_where_it_does_not_fit():
    assert next_shape(offers(SOON, SOON, open=False), fleet(400, 1), 600.0) == 0
    assert next_shape(offers(SOON, SOON, open=False), fleet(400, 1), HOUR) == 1


def test_of_a_large_shape_one_block_at_a_time_waits_until_one_has_begun():
    waiting = Wait(seconds=900.0, blocks=1, waiting=1)
    assert next_shape(offers(SOON, waiting), fleet(400), 600.0) == 0
    assert next_shape(offers(SOON, replace(waiting, waiting=0)), fleet(400), 600.0) == 1
    assert next_shape(offers(SOON, replace(waiting, estimate=0.0)), fleet(400), 600.0) == 1
    assert further_blocks(fleet(None, most=4), offers(), None) == [0, 1, 0, 0]


def block(submitted: float, began: float | None = None, shape: int = 1, **more: object) -> Block:
    made = Block("0", "j", submitted, shape=shape, **more)  # type: ignore[arg-type]
    made.held.began = began
    return made


def test_the_wait_is_learned_from_the_latest_blocks_those_that_still_wait_too():
    withdrawn = block(100.0)
    withdrawn.enter(Phase.ENDED, "", 400.0)
    withdrawn.end = End.CANCELLED
    refused = block(450.0)
    refused.end = End.REFUSED
    blocks = [block(0.0, 40.0, shape=0), block(0.0, 60.0), withdrawn, block(500.0, 560.0), refused, block(900.0)]
    assert wait_of(blocks, 1, 1000.0) == Wait(60.0 + 300.0 + 60.0 + 100.0, begun=2, blocks=4, waiting=1)
    assert wait_of(blocks, 0, 1000.0).expected == 20.0, "as if one more had begun at once"
    assert wait_of(blocks, 1, 1000.0 + MEMORY) == UNKNOWN
    assert not Wait(seconds=5.0, blocks=1).known
    assert Wait(seconds=1000.0, blocks=1).expected == 1000.0, "as long again"


class ShapedLab(Lab):
    """A pool with a shape of one node and one of four, each with a fake scheduler of its own."""

    def __init__(self, folder: Path, **counts: int):
        super().__init__(folder)
        shapes = (Shape(1, 1800.0), Shape(4, 7200.0))
        counts = {"init": 1, "max": 3, **counts}
        self.pool = PoolSpec("cpu", walltime=7200.0, nodes_per_block=4, blocks=BlockCounts(**counts), shapes=shapes)
        self.schedulers = [Scheduler(folder, each) for each in self.pool.by_shape]
        self.scheduler = self.schedulers[0]
        for each in self.schedulers:
            each.starts = lambda command, block: None  # type: ignore[attr-defined]
            each.said, each.submitted, each.cancelled = self.scheduler.said, self.scheduler.submitted, []
        pairs = zip(self.pool.by_shape, self.schedulers, strict=True)
        made = [BlockShape(pool, each, 2 * pool.nodes_per_block, f"cpu/{n}") for n, (pool, each) in enumerate(pairs)]  # type: ignore[arg-type]
        self.blocks = PoolBlocks(self.pool, made, self.job_log, lambda block: f"run {block}")
        self.job_log.jobs.clear()
        self.blocks.start(self.now)

    @property
    def nodes(self) -> list[int]:
        return [view.nodes for view in self.blocks.views(self.now)]


def test_a_pool_tries_a_small_block_and_then_submits_what_the_work_needs(tmp_path):
    lab = ShapedLab(tmp_path)
    assert lab.nodes == [1]
    lab.connect("0", tasks=2)
    lab.turn(demand=12)
    assert lab.nodes == [1, 4, 1]
    charges = lab.blocks.charges()
    assert [(key, each.submitted) for key, each in charges.items()] == [("cpu/0", 2), ("cpu/1", 1)]


def test_a_shape_that_the_scheduler_refuses_is_not_asked_for_again(tmp_path):
    lab = ShapedLab(tmp_path)
    lab.schedulers[1].refuses = SubmitRefused("Requested node configuration is not available", transient=False)
    lab.connect("0", tasks=2)
    lab.turn(demand=12)
    lab.schedulers[1].refuses = None
    for _ in range(3):
        lab.turn(demand=12)
    assert [block.shape for block in lab.blocks.blocks if block.living] == [0, 0, 0]
    assert lab.blocks.failure == ""
    assert "blocks of 4 nodes for 2h are not submitted: Requested node" in lab.blocks.shapes.refusals


def test_what_the_budget_pays_decides_among_shapes(tmp_path):
    lab = ShapedLab(tmp_path)
    lab.connect("0", tasks=2)
    lab.blocks.shapes.allow({"cpu/0": 1, "cpu/1": 0}, ())
    lab.turn(demand=400)
    assert [each.wanted for each in lab.blocks.charges().values()] == [1, 1]
    lab.blocks.shapes.allow({"cpu/0": 2, "cpu/1": 0}, ["cpu/1"])
    lab.turn(demand=400)
    assert lab.nodes == [1, 1]
    assert [each.wanted for each in lab.blocks.charges().values()] == [1, 1], "the large one may be paid later"
    assert lab.blocks.note == ""
    lab.blocks.shapes.allow({"cpu/0": 2, "cpu/1": 0}, ["cpu/0", "cpu/1", "cpu"])
    lab.turn(demand=400)
    assert lab.blocks.note == "pool cpu: the budget in node-hours pays for no further block"


def test_where_the_budget_pays_only_shapes_that_are_too_short_trials_go_on_in_them_from_checkpoints(tmp_path):
    lab = ShapedLab(tmp_path)
    shapes, hour = lab.blocks.shapes, 3600.0
    shapes.allow({"cpu/0": 9, "cpu/1": 0}, ["cpu/1"])
    lab.connect("0", tasks=2)
    lab.turn(demand=12, expected=hour)
    assert lab.nodes == [1, 1, 1]
    assert shapes.usable(lab.blocks.blocks) == shapes[0].usable, "otherwise no trial would begin there"
    assert all(any(block.managers.values()) for block in lab.blocks.blocks if block.managers)


@pytest.mark.parametrize(("demand", "times"), [(2, 1), (12, 2)])
def test_what_is_known_of_waits_is_added_up_only_where_a_shape_is_chosen(tmp_path, monkeypatch, demand, times):
    lab, counted = ShapedLab(tmp_path), []
    lab.connect("0", tasks=2)
    monkeypatch.setattr(block_shape, "wait_of", lambda *args: counted.append(args[1]) or wait_of(*args))
    lab.turn(demand=demand)
    assert counted == [0, 1] * times, "by what may be withdrawn, and by what is submitted"


def test_trials_wait_for_another_block_of_a_shape_while_there_is_one_where_they_fit(tmp_path):
    lab = ShapedLab(tmp_path, max=4)
    lab.connect("0", tasks=2)
    lab.turn(demand=12)
    assert lab.nodes == [1, 4, 1]
    lab.blocks.shapes.allow({"cpu/0": 9, "cpu/1": 1}, ["cpu/1"])
    lab.turn(demand=400, expected=3600.0)
    assert lab.nodes == [1, 4, 1]


def test_a_shape_that_the_scheduler_refuses_is_not_waited_for(tmp_path):
    lab = ShapedLab(tmp_path)
    lab.connect("0", tasks=2)
    lab.blocks.shapes.refuse(1, "Requested node configuration is not available")
    lab.turn(demand=12, expected=3600.0)
    assert [block.shape for block in lab.blocks.blocks if block.living] == [0, 0, 0]


def test_a_block_is_late_only_after_a_while_and_if_another_shape_does_its_work_much_sooner():
    for small, waited, remaining, expected, late in (
        (SOON, PATIENCE - 1, 8 * HOUR, 600.0, False),
        (SOON, PATIENCE + 1, 8 * HOUR, 600.0, True),
        (SOON, PATIENCE + 1, 60.0, 600.0, False),  # it starts in a moment
        (LATE, PATIENCE + 1, 3 * HOUR, 600.0, False),  # the other one waits as long
        (UNKNOWN, PATIENCE + 1, 8 * HOUR, 600.0, False),  # nothing is known of the other one
        (SOON, PATIENCE + 1, 8 * HOUR, HOUR, False),  # a trial fits into this one only
    ):
        assert is_late(1, waited, remaining, offers(small), expected, slots=4) is late, (small, waited, remaining)
    assert is_late(0, 0.0, 0.0, offers(SOON, LATE), HOUR, slots=4), "no trial fits into it, but into the other one"


def test_small_blocks_go_on_beside_a_large_one_that_waits_too_long_and_keep_its_place_while_there_is_one(tmp_path):
    lab = ShapedLab(tmp_path, max=2)
    lab.connect("0", tasks=2)
    lab.turn(demand=10, expected=600.0)
    assert lab.nodes == [1, 4]
    lab.turn(demand=10, expected=600.0, seconds=8 * HOUR)
    assert lab.scheduler.cancelled + lab.schedulers[1].cancelled == ["j1"]
    assert lab.blocks.blocks[1].release.why == "blocks of another shape will do its work sooner"
    lab.turn(demand=10, expected=600.0)
    assert [block.shape for block in lab.blocks.blocks if block.living] == [0, 0]
    for _ in range(20):
        lab.turn(demand=10, expected=600.0)
    assert len(lab.scheduler.submitted) == 3, "nothing is withdrawn in turns"


def test_a_late_block_waits_on_where_there_is_a_place_beside_it_and_ends_when_running_ones_suffice(tmp_path):
    lab = ShapedLab(tmp_path, max=3)
    lab.connect("0", tasks=2)
    lab.turn(demand=9, expected=600.0)
    assert lab.nodes == [1, 4]
    lab.turn(demand=9, expected=600.0, seconds=8 * HOUR)
    assert (lab.nodes[-1], lab.schedulers[1].cancelled) == (1, []), "a small one beside it"
    lab.connect("2", tasks=2)
    lab.turn(demand=4, expected=600.0)
    assert lab.scheduler.cancelled == ["j1"]


def test_the_scheduler_is_asked_for_an_estimate_once_a_minute_and_no_more_when_it_gives_none(tmp_path):
    lab = ShapedLab(tmp_path, max=4)
    lab.connect("0", tasks=2)
    asked: list[int] = []

    def starts(shape: int, seconds: float | None):
        return lambda command, block: asked.append(shape) or (None if seconds is None else lab.now + seconds)

    lab.schedulers[0].starts, lab.schedulers[1].starts = starts(0, 30.0), starts(1, None)  # type: ignore[attr-defined]
    lab.blocks.shapes.allow({"cpu/0": 1, "cpu/1": 0}, ())  # so that a block is wanted all the time
    for _ in range(10):
        lab.turn(demand=400, expected=600.0, seconds=30.0)
    assert (asked.count(0), asked.count(1)) == (5, 3)
    lab.blocks.shapes.allow(None, ())
    lab.turn(demand=400, expected=600.0)
    lab.turn(demand=400, expected=600.0, seconds=600.0)
    assert asked.count(0) == 6, "no block is wanted any more"


def test_a_block_that_will_never_start_is_withdrawn_and_its_shape_is_not_submitted_again(tmp_path):
    lab = ShapedLab(tmp_path, max=2)
    lab.connect("0", tasks=2)
    lab.turn(demand=12)
    reason = "PartitionNodeLimit: it will never start: the partition does not allow what the block asks for"
    lab.scheduler.said["j1"] = Job("j1", Phase.QUEUED, reason=reason)
    for _ in range(3):
        lab.turn(demand=12)
    assert lab.scheduler.cancelled == ["j1"]
    assert [block.shape for block in lab.blocks.blocks if block.living] == [0, 0]
    assert lab.blocks.note == f"pool cpu: blocks of 4 nodes for 2h are not submitted: {reason}"
