"""The driver places attempts of different sizes on the worker pools that it sees."""

from __future__ import annotations

from pathlib import Path

from pilotune.pipeline.trial.protocol import AttemptSpec
from pilotune.providers.blocks.block import WorkerPoolSeen
from pilotune.providers.blocks.resources import TrialResources, accelerators, pool_uses, trials_per_block
from pilotune.providers.htex.packed import PackedAttempts, specification
from pilotune.providers.site import PoolSpec, Site
from pilotune.providers.site.spec import BlockCounts

GPU = PoolSpec("gpu", cores_per_node=16, gpus_per_node=8, workers_per_node=8, nodes_per_block=2)
CPU = PoolSpec("cpu", cores_per_node=16, workers_per_node=16)
OFF = PoolSpec("off", gpus_per_node=99, workers_per_node=99, blocks=BlockCounts(0, 0, 0))
SIZES = TrialResources(sizes=tuple(TrialResources(gpus=gpus) for gpus in (0, 1, 4, 8)))


def attempt(token: str, gpus: float) -> AttemptSpec:
    return AttemptSpec(token, "s", 0, 1, {}, False, "", 0, 1, gpus=gpus)


def seen(*names: str, accepts: bool = True) -> tuple[WorkerPoolSeen, ...]:
    return tuple(WorkerPoolSeen(name, f"host-{name}", accepts) for name in names)


def test_attempts_go_where_there_is_room_as_nodes_come_and_go() -> None:
    packed = PackedAttempts(SIZES, [GPU, CPU])
    for token, gpus in (("a", 8), ("b", 4), ("c", 0)):
        packed.submit(attempt(token, gpus))
    assert packed.ready() == []
    packed.follow({"gpu": seen("n1"), "cpu": seen("m1")})
    placed = {spec.token: placement for spec, placement in packed.ready()}
    assert {token: each.node for token, each in placed.items()} == {"a": "n1", "c": "m1"}
    assert specification(placed["a"]) == {"manager": "n1", "gpus": list(range(8)), "cores": [0]}
    packed.end("a")
    packed.follow({"gpu": seen("n1", accepts=False) + seen("n2"), "cpu": ()})
    assert [placement.node for _, placement in packed.ready()] == ["n2"]


def test_a_node_that_took_an_attempt_no_more_gets_none_until_it_is_seen_again() -> None:
    packed = PackedAttempts(SIZES, [GPU])
    packed.submit(attempt("a", 1))
    packed.follow({"gpu": seen("n1")})
    assert len(packed.ready()) == 1
    packed.refused("a")
    packed.submit(attempt("a", 1))
    assert packed.ready() == []
    packed.follow({"gpu": seen("n1")})
    assert len(packed.ready()) == 1


def test_what_only_a_pool_could_run_that_was_given_up_does_not_wait() -> None:
    packed = PackedAttempts(SIZES, [GPU, CPU])
    packed.submit(attempt("gpu", 1))
    packed.submit(attempt("cpu", 0))
    assert packed.stranded(["gpu", "cpu"]) == []
    assert packed.stranded(["cpu"]) == ["gpu"]
    packed.follow({"cpu": seen("m1"), "gpu": seen("n1")})
    assert [spec.token for spec, _ in packed.ready()] == ["cpu"]


def test_the_campaign_learns_what_fits_and_the_pools_what_they_are_needed_for() -> None:
    packed = PackedAttempts(SIZES, [GPU, CPU])
    assert packed.capacity(0.1, frozenset()).workers == 0
    packed.follow({"gpu": seen("n1"), "cpu": ()})
    assert packed.capacity(0.1, frozenset({"host-n1"})).workers == 2, "3.25 GPUs are typical"
    for number in range(4):
        packed.submit(attempt(f"t{number}", 8))
    packed.submit(attempt("any", 0))
    assert (packed.only_in("gpu"), packed.only_in("cpu")) == (4, 0)
    assert packed.trials_per_block("gpu", nodes=2) == 2, "6.4 GPUs are typical now"
    packed.ready()
    assert packed.capacity(0.1, frozenset({"host-n1"})).busy == 1.25


def test_a_study_uses_the_pools_that_one_of_its_sizes_would(tmp_path: Path) -> None:
    site = Site("s", "slurm", (GPU, CPU, OFF), tmp_path)
    uses = {use.pool.name: (use.trials, use.why_not) for use in pool_uses(site, SIZES)}
    assert uses == {"gpu": (4, ""), "cpu": (16, ""), "off": (0, "it is off (blocks.max is 0)")}
    small = TrialResources(sizes=(TrialResources(gpus=0), TrialResources(cores=2)))
    assert [use.pool.name for use in pool_uses(site, small) if not use.why_not] == ["cpu"]
    assert trials_per_block(PoolSpec("tiny", gpus_per_node=0), TrialResources(sizes=SIZES.sizes[1:])) == 0


def test_workers_that_share_gpus_share_their_cores() -> None:
    node = PoolSpec("gpu", gpus_per_node=2, workers_per_node=4, affinity="list:0-3:4-7")
    assert accelerators(node, TrialResources(gpus=0.5)) == ["0", "0", "1", "1"]
    assert node.affinity_for(4, 0.5) == "list:0-3:0-3:4-7:4-7"


def test_an_attempt_that_waits_can_be_withdrawn() -> None:
    packed = PackedAttempts(SIZES, [GPU])
    packed.submit(attempt("a", 1))
    packed.submit(attempt("b", 1))
    assert packed.withdraw("a")
    assert not packed.withdraw("a")
    packed.follow({"gpu": seen("n1")})
    assert [spec.token for spec, _ in packed.ready()] == ["b"]
    assert not packed.withdraw("b"), "it has begun"
