"""How many blocks a pool has, which are ended, which get no more trials, and how a block ended."""

from __future__ import annotations

import pytest

from pilotune.errors import UserError
from pilotune.pipeline.trial.block_env import yield_margin
from pilotune.providers.blocks.block import Block
from pilotune.providers.blocks.end_cause import end_cause, end_message, last_words
from pilotune.providers.blocks.resources import TrialResources, accelerators, trials_per_block, usable_pools
from pilotune.providers.blocks.scaling import accepts_no_more, surplus
from pilotune.providers.blocks.shapes import Fleet, Offer, further_blocks
from pilotune.providers.schedulers.jobs import End, Job, Phase
from pilotune.providers.site import BlockCounts, PoolSpec, Site

COUNTS = BlockCounts(init=1, min=0, max=4)


@pytest.mark.parametrize(
    ("demand", "proven", "want"),
    [(None, False, 1), (None, True, 1), (100, False, 1), (100, True, 4), (3, True, 2), (2, True, 1), (0, True, 0)],
)
def test_blocks_follow_the_work_once_a_first_one_has_shown_that_they_work(demand, proven, want):
    assert wanted(COUNTS, 2, demand, proven) == want


def wanted(counts: BlockCounts, trials: int, demand: int | None, proven: bool) -> int:
    """How many blocks are submitted where there is none, and blocks are all alike."""
    return len(further_blocks(Fleet.of([], counts, demand, proven), [Offer(1, trials, 3600.0)], None))


def test_no_fewer_blocks_than_min_and_a_first_one_also_without_init():
    assert wanted(BlockCounts(2, 2, 4), 1, 0, True) == 2
    assert wanted(BlockCounts(0, 0, 4), 1, None, False) == 0
    assert wanted(BlockCounts(0, 0, 4), 1, 9, False) == 1


def block(number: str, **more) -> Block:
    return Block(number, f"j{number}", 0.0, **more)


def test_a_block_that_will_not_be_needed_again_is_ended_soon() -> None:
    running = {"phase": Phase.RUNNING, "was_connected": True}
    blocks = [block("0", tasks=1, **running), block("1", idle=4.0, **running), block("2", idle=6.0, **running)]
    assert surplus(blocks, lambda block: 2, 0, 2, 60.0) == []
    assert [each.number for each in surplus(blocks, lambda block: 2, 0, 2, 60.0, final=True)] == ["2"]


def test_surplus_blocks_are_queued_ones_first_then_the_longest_idle_and_never_busy_ones():
    running = {"phase": Phase.RUNNING, "was_connected": True}
    blocks = [
        block("0", tasks=1, **running),
        block("1", idle=70.0, **running),
        block("2", idle=90.0, **running),
        block("3", idle=10.0, **running),
        block("4"),
        block("5"),
    ]

    def over(least: int, demand: int) -> list[str]:
        return [each.number for each in surplus(blocks, lambda block: 2, least, demand, 60.0)]

    assert over(0, 9) == over(5, 0) == ["5"]
    assert over(0, 4) == over(2, 0) == ["5", "4", "2", "1"]
    assert over(0, 0) == ["5", "4", "2", "1"]
    assert over(0, 11) == over(6, 0) == []


def test_of_queued_blocks_the_smallest_are_kept_that_suffice():
    blocks = [block("0", shape=1), block("1"), block("2")]
    trials = {0: 2, 1: 8}
    for demand, over in ((11, []), (10, ["2"]), (8, ["2", "1"]), (4, ["0"]), (2, ["0", "2"]), (0, ["0", "2", "1"])):
        found = surplus(blocks, lambda block: trials[block.shape], 0, demand, 60.0)
        assert [each.number for each in found] == over, demand


def test_a_trial_yields_a_minute_before_the_end_or_a_tenth_of_a_short_walltime():
    assert yield_margin(3600.0, None) == 60.0
    assert yield_margin(100.0, None) == 10.0
    assert yield_margin(100.0, 33.0) == 33.0


@pytest.mark.parametrize(
    ("left", "expected", "no_more"),
    [
        (130, None, False),
        (110, None, True),  # less than twice the yield margin
        (700, 600.0, False),
        (650, 600.0, True),  # it would fit into a new block
        (650, 99999.0, False),  # it fits into none, and continues from checkpoint to checkpoint
        (110, 99999.0, True),
    ],
)
def test_no_trial_starts_where_it_would_not_fit(left, expected, no_more):
    assert accepts_no_more(block("0", ends=1000.0), 1000.0 - left, 3510.0, 60.0, expected) is no_more


def test_a_block_that_has_not_started_takes_trials():
    assert not accepts_no_more(block("0"), 0.0, 3510.0, 60.0, 600.0)


@pytest.mark.parametrize(
    ("known", "job", "end"),
    [
        ({"was_connected": True}, {"exit_code": 0}, End.FINISHED),
        ({"was_connected": True}, {"exit_code": 3}, End.FAILED),
        (
            {"was_connected": True, "ends": 100.0},
            {},
            End.WALLTIME,
        ),  # the scheduler has forgotten it; its walltime had ended
        ({"was_connected": True, "ends": 900.0}, {}, End.FINISHED),
        ({"was_connected": False}, {"exit_code": 1, "end": End.FAILED}, End.BAD_ENVIRONMENT),
        ({"was_connected": False}, {"end": End.FINISHED}, End.BAD_ENVIRONMENT),
        ({"was_connected": False}, {"end": End.WALLTIME}, End.BAD_ENVIRONMENT),  # no worker ever connected
        ({"was_connected": False}, {"end": End.CANCELLED}, End.CANCELLED),
        ({"was_connected": False}, {"end": End.PREEMPTED}, End.PREEMPTED),
        ({"was_connected": False}, {"end": End.NODE_FAILURE}, End.NODE_FAILURE),
        ({"was_connected": True}, {"end": End.OUT_OF_MEMORY}, End.OUT_OF_MEMORY),
        ({"was_connected": True, "released": "there is no work for it"}, {"end": End.WALLTIME}, End.WALLTIME),
        ({"was_connected": True, "released": "there is no work for it"}, {"end": End.FAILED}, End.CANCELLED),
        ({"was_connected": True, "released": "none is left in it"}, {"end": End.PREEMPTED}, End.PREEMPTED),
    ],
)
def test_the_end_follows_from_what_both_sides_know(known, job, end):
    assert end_cause(block("0", **known), Job("j0", Phase.ENDED, **job), 95.0) == end


def test_the_message_on_a_failed_block_ends_with_its_last_output(tmp_path):
    stderr = tmp_path / "err"
    stderr.write_text("".join(f"line {n}\n" for n in range(9)))
    bad = block("7", end=End.BAD_ENVIRONMENT)
    said = end_message("cpu", bad, Job("j7", Phase.ENDED, reason="FAILED"), stderr)
    assert said == (
        "block 7 of pool cpu, job j7, ended before any worker could reach the driver (FAILED). "
        "Its last output: line 4 | line 5 | line 6 | line 7 | line 8"
    )
    assert last_words(tmp_path / "none") == "It wrote nothing to stderr."


def pool(**more) -> PoolSpec:
    return PoolSpec("p", walltime=3600.0, **more)


def test_a_node_holds_as_many_trials_as_its_cores_gpus_memory_and_workers_allow():
    node = pool(workers_per_node=8, cores_per_node=16, gpus_per_node=4, memory_per_node=64_000)
    assert trials_per_block(node, TrialResources()) == 8
    assert trials_per_block(node, TrialResources(cores=4)) == 4
    assert trials_per_block(node, TrialResources(gpus=2)) == 2
    assert trials_per_block(node, TrialResources(memory=30_000)) == 2
    assert trials_per_block(node, TrialResources(gpus=5)) == 0


def test_trials_of_several_nodes_share_a_block():
    block_of_six = pool(nodes_per_block=6, cores_per_node=8)
    assert trials_per_block(block_of_six, TrialResources(nodes=2)) == 3
    assert trials_per_block(block_of_six, TrialResources(nodes=4)) == 1
    assert trials_per_block(block_of_six, TrialResources(nodes=8)) == 0
    assert trials_per_block(block_of_six, TrialResources(nodes=2, cores=9)) == 0


def test_each_worker_gets_gpus_of_its_own():
    node = pool(gpus_per_node=4, workers_per_node=4)
    assert accelerators(node, TrialResources(gpus=1)) == ["0", "1", "2", "3"]
    assert accelerators(node, TrialResources(gpus=2)) == ["0,1", "2,3"]
    assert accelerators(node, TrialResources(gpus=3)) == ["0,1,2"]
    assert accelerators(node, TrialResources()) == []
    assert accelerators(node, TrialResources(gpus=4, nodes=2)) == []


def test_pools_that_cannot_run_the_trial_or_are_off_are_left_out_and_none_is_an_error(tmp_path):
    small = PoolSpec("small", gpus_per_node=0)
    large = PoolSpec("large", gpus_per_node=2, workers_per_node=2)
    off = PoolSpec("off", gpus_per_node=8, workers_per_node=8, blocks=BlockCounts(0, 0, 0))
    site = Site("s", "slurm", (small, large, off), tmp_path)
    assert usable_pools(site, TrialResources()) == [small], "no GPU is taken that is not used"
    assert usable_pools(Site("s", "slurm", (large, off), tmp_path), TrialResources()) == [large]
    assert usable_pools(site, TrialResources(gpus=2)) == [large]
    with pytest.raises(UserError) as caught:
        usable_pools(site, TrialResources(gpus=4))
    assert str(caught.value) == (
        "trial.gpus: a trial needs 1 core and 4 GPUs; pool small offers no GPU; pool large offers 2 GPUs"
    )
