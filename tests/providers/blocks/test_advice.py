"""Notes on a site and a study that can run, but perhaps not as meant; and which pools a study uses."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pilotune.errors import UserError
from pilotune.providers.blocks.advice import site_notes, study_notes
from pilotune.providers.blocks.resources import TrialResources, pool_uses, usable_pools
from pilotune.providers.site import BlockCounts, Network, PoolSpec, Site, load_site

GPU = PoolSpec("gpu", gpus_per_node=4, workers_per_node=4, cores_per_node=64)
CPU = PoolSpec("cpu", workers_per_node=8, cores_per_node=64)
OFF = PoolSpec("off", gpus_per_node=8, workers_per_node=8, blocks=BlockCounts(0, 0, 0))


def site(*pools: PoolSpec, scheduler: str = "slurm", **more: object) -> Site:
    return Site("lab", scheduler, pools, Path("/runs"), **more)  # type: ignore[arg-type]


def test_each_pool_is_used_or_not_with_the_reason() -> None:
    uses = pool_uses(site(GPU, CPU, OFF), TrialResources())
    assert [(use.pool.name, use.trials, use.why_not) for use in uses] == [
        ("gpu", 0, "left to trials that need GPUs; pool cpu has none, and runs these"),
        ("cpu", 8, ""),
        ("off", 0, "it is off (blocks.max is 0)"),
    ]
    uses = pool_uses(site(GPU, CPU), TrialResources(gpus=2))
    assert [(use.trials, use.why_not) for use in uses] == [
        (2, ""),
        (0, "a trial needs 1 core and 2 GPUs; it offers 64 cores and no GPU"),
    ]


NEEDS = [
    (TrialResources(gpus=2), PoolSpec("local", cores_per_node=2), "gpus",
     "a trial needs 1 core and 2 GPUs; this machine offers 2 cores and no GPU"),
    (TrialResources(cores=8), PoolSpec("local", cores_per_node=2), "cores",
     "a trial needs 8 cores; this machine offers 2 cores"),
    (TrialResources(cores=8, ranks_per_node=8), PoolSpec("local", cores_per_node=2), "ranks",
     "a trial needs 8 cores for as many ranks; this machine offers 2 cores"),
    (TrialResources(memory=64 * 10**9), PoolSpec("local", cores_per_node=1, memory_per_node=16 * 10**9), "memory",
     "a trial needs 1 core and 64 GB of memory; this machine offers 1 core and 16 GB of memory"),
    (TrialResources(nodes=2, gpus=1), PoolSpec("local", cores_per_node=2), "nodes",
     "a trial needs 2 nodes, each with 1 core and 1 GPU; this machine offers 1 node in a block, with 2 cores and no "
     "GPU"),
]  # fmt: skip


@pytest.mark.parametrize(("resources", "pool", "key", "words"), NEEDS, ids=[need[2] for need in NEEDS])
def test_what_no_pool_can_run_is_refused_with_what_is_needed_and_offered(
    resources: TrialResources, pool: PoolSpec, key: str, words: str
) -> None:
    with pytest.raises(UserError) as caught:
        usable_pools(site(pool, scheduler="local"), resources)
    assert (caught.value.key, caught.value.message) == (f"trial.{key}", words)


def test_of_several_pools_each_says_what_it_offers_and_the_key_is_the_one_that_none_meets() -> None:
    with pytest.raises(UserError) as caught:
        usable_pools(site(GPU, CPU, OFF), TrialResources(cores=128, gpus=1))
    assert caught.value.key == "trial.cores"
    assert caught.value.message == (
        "a trial needs 128 cores and 1 GPU; pool gpu offers 64 cores and 4 GPUs; pool cpu offers 64 cores and no GPU"
    )


def test_one_of_several_pools_of_this_machine_is_named() -> None:
    with pytest.raises(UserError) as caught:
        usable_pools(site(GPU, CPU, scheduler="local"), TrialResources(cores=128, pools=("cpu",)))
    assert caught.value.message == "a trial needs 128 cores; pool cpu offers 64 cores"


def test_more_workers_than_cores_are_noted() -> None:
    busy = PoolSpec("cpu", workers_per_node=8, cores_per_node=2)
    (note,) = study_notes(site(busy, scheduler="local"), TrialResources())
    assert note == (
        "pool cpu runs 8 trials at a time on a node, but a node has 2 cores; "
        "workers_per_node: 2 would give each its own"
    )
    assert study_notes(site(busy), TrialResources(cores=2)) == []
    (note,) = study_notes(site(PoolSpec("cpu", workers_per_node=4)), TrialResources(cores=16))
    assert note.startswith("pool cpu runs 4 trials of 16 cores at a time on a node, whose cores are not known;")


def test_a_study_without_gpus_on_gpu_nodes_is_noted_but_not_on_this_machine() -> None:
    (note,) = study_notes(site(GPU, OFF), TrialResources())
    assert note.startswith(
        "the trials use no GPU, but their pool gpu has GPUs; write `trial: {gpus: 1}` in the study file"
    )
    assert study_notes(site(GPU, CPU), TrialResources()) == []
    assert study_notes(site(GPU), TrialResources(gpus=1)) == []
    assert study_notes(site(GPU, scheduler="local"), TrialResources()) == []


def test_a_network_interface_that_this_host_lacks_is_noted() -> None:
    (note,) = site_notes(site(CPU, network=Network(interface="hsn99")))
    assert note.startswith("this host has no network interface hsn99 (it has ")
    own = socket.if_nameindex()[0][1]
    assert site_notes(site(CPU, network=Network(interface=own))) == []
    assert site_notes(site(CPU, network=Network(address="10.0.0.1"))) == []


def test_a_name_other_than_the_files_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text("name: slurm\nscheduler: slurm\npools: {cpu: {walltime: 1h}}\n")
    assert site_notes(load_site(path)) == [
        "the site file lab.yaml says `name: slurm`, which messages use; without `name` it is lab"
    ]
    path.write_text("name: lab\nscheduler: slurm\npools: {cpu: {walltime: 1h}}\n")
    assert site_notes(load_site(path)) == []


def test_trials_of_different_sizes_are_counted_by_their_cores_and_some_use_gpus() -> None:
    sizes = TrialResources(sizes=(TrialResources(gpus=0), TrialResources(gpus=2, cores=4)))
    assert study_notes(site(GPU), sizes) == []
    (note,) = study_notes(site(GPU), TrialResources(sizes=(TrialResources(), TrialResources(cores=2))))
    assert "the trials use no GPU" in note
