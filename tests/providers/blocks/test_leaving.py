"""The last trials of a campaign leave a large block for a smaller one, where that saves enough."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pilotune.pipeline.campaign.events import LastTrial
from pilotune.providers.blocks.block_leaving import FORGOTTEN
from pilotune.providers.blocks.leaving import HANDOVER, MARGIN, Departure, Place, best_departure, saves_in_new
from pilotune.providers.blocks.scaling import START_UP
from pilotune.providers.blocks.shapes import Offer, Wait
from pilotune.providers.schedulers.jobs import End

from .test_shapes import ShapedLab

HOUR = 3600.0
ONE, LARGE = Offer(1, 1, 2 * HOUR, 60.0), Offer(128, 128, 24 * HOUR, 60.0)


def trial(number: int = 7, block: str = "0", ends: float = HOUR, lost: float | None = 60.0) -> LastTrial:
    return LastTrial(f"{number}.1.c", number, block, ends, lost)


def place(number: str = "0", nodes: int = 128, *trials: LastTrial, **more: object) -> Place:
    return Place(number, nodes, trials, **more)  # type: ignore[arg-type]


def decide(*blocks: Place, offers: tuple[Offer, ...] = (ONE, LARGE), further: int = 1) -> Departure | None:
    return best_departure(blocks, offers, further, 0.0)


def test_the_last_trial_leaves_a_large_block_for_the_smallest_that_fits():
    found = decide(place("0", 128, trial()))
    assert found is not None
    assert (found.source, found.target, found.shape) == ("0", "", 0)
    many = decide(place("0", 128, trial(7), trial(8)), offers=(LARGE, ONE, replace(ONE, nodes=4, trials=4)))
    assert many is not None
    assert many.shape == 2, "two trials do not fit into one block of one node"
    two = decide(place("0", 128, trial(7), trial(8)), offers=(LARGE, ONE, replace(ONE, nodes=4, trials=4)), further=2)
    assert two is not None
    assert (two.shape, two.blocks) == (1, 2), "two of them cost less"


@pytest.mark.parametrize(
    ("block", "offers", "submit"),
    [
        (place("0", 1, trial()), (replace(ONE, nodes=0), LARGE), True),  # a block of one node
        (place("0", 128, trial(lost=None)), (ONE, LARGE), True),  # it cannot yield
        (place("0", 128, trial(), trial(8, lost=None)), (ONE, replace(ONE, nodes=2, trials=2)), True),  # one cannot
        (place("0", 128, trial(), complete=False), (ONE, LARGE), True),  # another one runs there
        (place("0", 128, trial(ends=60.0)), (ONE, LARGE), True),  # it ends soon
        (place("0", 128, trial(ends=2 * HOUR)), (ONE, LARGE), True),  # it does not fit into the small block
        (place("0", 128, trial(), seconds=60.0), (ONE, LARGE), True),  # its block ends soon
        (place("0", 128, trial()), (LARGE,), True),  # there is no smaller shape
        (place("0", 128, trial()), (replace(ONE, open=False), LARGE), True),  # it is refused, or not paid
        (place("0", 128, trial()), (replace(ONE, wait=Wait(2 * HOUR, 1, 1)), LARGE), True),  # it would wait too long
        (place("0", 128, trial()), (ONE, LARGE), False),  # no further block is allowed
        (place("0", 2, trial(ends=500.0)), (ONE,), True),  # two nodes instead of one, for too short
        (place("0", 2, trial(lost=HOUR)), (ONE,), True),  # too much would have to be done again
        (place("0", 128), (ONE, LARGE), True),  # nothing runs there
        (place("0", 128, replace(trial(), pause=HOUR)), (ONE, LARGE), True),  # it reports too rarely
    ],
)
def test_nothing_leaves_where_it_cannot_or_does_not_save_enough(block, offers, submit):
    assert decide(block, offers=offers, further=int(submit)) is None


def test_what_is_saved_is_so_many_times_what_it_costs():
    source, small = place("0", 3, trial(lost=60.0)), ONE
    ends = 1.0
    while saves_in_new(replace(source, trials=(trial(ends=ends),)), replace(small, walltime=None), 1, 0.0, 0.0) is None:
        ends *= 1.01
        assert ends < 1e7, "it never saves enough"
    saved = 3 * (ends - START_UP - HANDOVER)
    cost = ends + HANDOVER + 60.0
    assert saved / cost == pytest.approx(MARGIN, rel=0.03)


def test_trials_go_to_a_smaller_block_that_is_there_rather_than_to_a_new_one():
    large, small = place("0", 128, trial(7)), place("1", 4, trial(8, "1", ends=2 * HOUR), free=3)
    found = decide(large, small)
    assert found is not None
    assert (found.source, found.target) == ("0", "1")
    again = decide(large, replace(small, free=0))
    assert again is not None
    assert again.target == "", "it has no room"
    ending = decide(large, replace(small, seconds=HOUR), further=0)
    assert ending is None, "it ends too soon"


def test_two_large_blocks_become_one_only_where_the_pool_has_no_smaller_ones():
    first, second = place("0", 128, trial(7), free=127), place("1", 128, trial(8, "1", ends=2 * HOUR), free=127)
    merged = decide(first, second, offers=(LARGE,), further=0)
    assert merged is not None
    assert (merged.source, merged.target) == ("0", "1"), "the other one would keep it for longer"
    assert decide(first, second, further=0) is None, "they wait for a place for a small one"


class Ending(ShapedLab):
    """A pool whose block of four nodes runs trial 7, the last of its campaign."""

    def __init__(self, folder: Path, ends: float = 1200.0, **counts: int):
        super().__init__(folder, **counts)
        self.connect("0", tasks=2)
        self.turn(demand=12)
        self.large = next(block.number for block in self.blocks.blocks if block.node_count == 4)
        self.connect(self.large, tasks=1)
        self.connect("0", idle=HOUR)
        self.turn(demand=1)
        self.end("0", End.CANCELLED)
        self.turn(demand=1)
        assert self.living == [self.large]
        self.ends = self.now + ends
        self.last()
        self.turn(demand=1, seconds=1.0)

    def last(self, **changes: object) -> None:
        self.blocks.leaving.last = (replace(trial(7, self.large, self.ends), **changes),)  # type: ignore[arg-type]

    @property
    def small(self) -> str:
        return self.blocks.blocks[-1].number


def test_a_small_block_is_submitted_first_and_the_trial_leaves_once_it_runs(tmp_path):
    lab = Ending(tmp_path)
    large, small = lab.large, lab.small
    assert lab.living == [large, small]
    assert lab.blocks.blocks[-1].node_count == 1
    assert lab.blocks.note == f"pool cpu: trial 7 will go on in block {small} (1 node) once it runs"
    lab.turn(demand=1, seconds=20.0)
    assert (lab.living, lab.blocks.leaving.leaves, lab.held) == ([large, small], (), [])
    lab.connect(small)
    lab.turn(demand=1, seconds=20.0)
    (leave,) = lab.blocks.leaving.leaves
    words = f"trial 7 leaves block {large} (4 nodes) for block {small} (1 node)"
    assert (leave.tokens, leave.words) == (("7.1.c",), words)
    assert lab.held == [f"m{large}"], "it gets no more trials"
    assert lab.blocks.note == f"pool cpu: {words}"
    lab.connected[large]["tasks"] = 0
    lab.blocks.leaving.last = ()
    lab.turn(demand=1, seconds=2.0)
    assert lab.living == [small], "the small one waits for the trial, however idle it is"
    lab.connect(small, tasks=1)
    lab.last(token="7.2.c", block=small, lost=None)
    lab.turn(demand=1, seconds=300.0)
    assert (lab.living, len(lab.blocks.leaving.leaves)) == ([small], 1)


def test_it_goes_at_once_to_a_small_block_that_is_idle_already(tmp_path):
    lab = Ending(tmp_path, ends=60.0)
    lab.turn(demand=3)
    assert len(lab.living) == 1, "the large one has room for all"
    lab.blocks.shapes[1].trials, lab.blocks.shapes[1].refused = 1, "too large"  # so that there is a small one
    lab.turn(demand=2)
    small = lab.small
    lab.connect(small, idle=2.0)
    lab.ends = lab.now + 1200.0
    lab.last()
    lab.turn(demand=1, seconds=2.0)
    words = f"trial 7 leaves block {lab.large} (4 nodes) for block {small} (1 node)"
    assert [leave.words for leave in lab.blocks.leaving.leaves] == [words]
    assert lab.living == [lab.large, small]


def test_trials_that_need_several_small_blocks_leave_once_all_of_these_run(tmp_path):
    lab = Ending(tmp_path, ends=60.0)
    lab.connect(lab.large, tasks=3)
    three = [replace(trial(number, lab.large), ends=lab.now + 1300.0) for number in (7, 8, 9)]
    lab.blocks.leaving.last = tuple(three)
    lab.turn(demand=3, seconds=2.0)
    first, second = lab.living[1:]
    assert (
        lab.blocks.note
        == f"pool cpu: trials 7, 8 and 9 will go on in the blocks {first} and {second} (1 node each) once they run"
    )
    lab.connect(first)
    lab.turn(demand=3, seconds=2.0)
    assert lab.blocks.leaving.leaves == ()
    lab.connect(second)
    lab.turn(demand=3, seconds=2.0)
    words = f"trials 7, 8 and 9 leave block {lab.large} (4 nodes) for the blocks {first} and {second} (1 node each)"
    assert [leave.words for leave in lab.blocks.leaving.leaves] == [words]
    assert lab.living == [lab.large, first, second]


def test_of_trials_of_different_sizes_each_is_given_a_whole_node(tmp_path):
    lab = Ending(tmp_path, ends=60.0)
    lab.blocks.leaving.packed = True
    lab.connect(lab.large, tasks=2)
    both = [replace(trial(number, lab.large), ends=lab.now + 1200.0) for number in (7, 8)]
    lab.blocks.leaving.last = tuple(both)
    lab.turn(demand=2, seconds=2.0)
    nodes = [lab.blocks.blocks[int(number)].node_count for number in lab.living]
    assert nodes == [4, 1, 1], "a block of one node may have no room for both, though it has two workers"


def test_a_trial_that_ends_while_the_small_block_waits_needs_none(tmp_path):
    lab = Ending(tmp_path)
    small = lab.small
    lab.connect(lab.large, idle=30.0)
    lab.blocks.leaving.last = ()
    lab.turn(demand=0, seconds=FORGOTTEN + 1.0)
    lab.turn(demand=0, seconds=100.0)
    assert small not in lab.living
    assert lab.blocks.leaving.leaves == ()


def test_a_trial_that_ends_soon_after_all_stays_where_it_is(tmp_path):
    lab = Ending(tmp_path)
    small = lab.small
    lab.ends = lab.now + 60.0
    lab.last()
    lab.connect(small)
    lab.turn(demand=1, seconds=20.0)
    assert lab.blocks.leaving.leaves == ()
    lab.connect(small, idle=100.0)
    lab.turn(demand=1, seconds=20.0)
    assert lab.living == [lab.large]


def test_no_more_blocks_are_submitted_than_the_site_file_allows(tmp_path):
    lab = Ending(tmp_path, ends=60.0)
    lab.ends = lab.now + 1200.0
    lab.last()
    lab.pool = lab.blocks.pool = replace(lab.pool, blocks=replace(lab.pool.blocks, max=1))
    lab.turn(demand=1, seconds=2.0)
    assert lab.living == [lab.large]


def test_a_budget_in_node_hours_is_asked_first_and_once(tmp_path):
    lab = Ending(tmp_path, ends=60.0)
    assert lab.living == [lab.large], "it ends soon"
    lab.ends = lab.now + 1200.0
    lab.last()
    allowed = {f"cpu/{shape}": charge.submitted for shape, charge in enumerate(lab.blocks.charges().values())}
    lab.blocks.shapes.allow(allowed, ())
    lab.turn(demand=1, seconds=2.0)
    assert lab.living == [lab.large]
    assert lab.blocks.charges()["cpu/0"].wanted == 1
    lab.blocks.shapes.allow(allowed, {"cpu/0"})
    lab.turn(demand=1, seconds=2.0)
    assert lab.blocks.charges()["cpu/0"].wanted == 0
    lab.blocks.shapes.allow(allowed, ())
    lab.turn(demand=1, seconds=2.0)
    assert lab.blocks.charges()["cpu/0"].wanted == 0, "it was not paid"
    assert lab.living == [lab.large]
