"""The findings of `pilotune site check`, from recorded probes of healthy and faulty nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import pytest

from pilotune.filesystems import Mount
from pilotune.providers.check.facts import Facts, Finding, State
from pilotune.providers.check.findings import CHECKS, findings
from pilotune.providers.site import PoolSpec

WHOLE = PoolSpec(
    "gpu",
    "batch",
    3600.0,
    nodes_per_block=16,
    workers_per_node=4,
    cores_per_node=64,
    gpus_per_node=4,
    memory_per_node=256 * 10**9,
    launcher="srun",
)
SMALL = replace(WHOLE, walltime=600.0, nodes_per_block=2)
PACKAGES = {"pilotune": "0.1.0", "parsl": "2026.10.26", "numpy": "2.4.6"}
LUSTRE = Mount("lustre", "/lustre/orion", "10.0.0.1@o2ib:/orion")


def probe(host: str, number: int = 0, **changes: Any) -> dict[str, Any]:
    """The probe of a healthy worker."""
    return {
        "token": f"{host}.{number}",
        "host": host,
        "manager": f"pool of {host}",
        "python": "3.11.7",
        "executable": "/sw/bin/python",
        "packages": PACKAGES,
        "cores": 64,
        "memory": 256 * 10**9,
        "gpus": {"variable": "CUDA_VISIBLE_DEVICES", "value": "0,1,2,3", "devices": []},
        "channel": {"url": "tcp://10.1.0.5:4000", "rounds": [0.001, 0.002, 0.009], "skew": 0.01, "error": ""},
        "folder": {"filesystem": asdict(LUSTRE), "read": "marker", "wrote": f"worker-{host}.{number}", "error": ""},
        "submit": "/usr/bin/sbatch",
        **changes,
    }


def facts(*probes: Mapping[str, Any], **changes: Any) -> Facts:
    """Facts of a healthy block of two nodes, except for ``changes``."""
    seen = list(probes) or [probe("n1"), probe("n2")]
    healthy = Facts(
        pool=SMALL,
        whole=WHOLE,
        scheduler="slurm",
        job="12",
        waited=3.2,
        wait=3.2,
        set_up=True,
        set_up_lines=2,
        nodes=2,
        workers=8,
        probes=seen,
        own_addresses={"lo": "127.0.0.1", "eth0": "192.0.2.2", "ib0": "10.1.0.5"},
        addresses=("192.0.2.2", "10.1.0.5"),
        here={"python": "3.11.7", "packages": PACKAGES},
        mount=LUSTRE,
        folder="/lustre/orion/me/runs/site-check/1/blocks",
        marker="marker",
        seen=[each["folder"]["wrote"] for each in seen],
    )
    return replace(healthy, **changes)


def dead(**changes: Any) -> Facts:
    """Facts of a block without any worker."""
    return facts(**{"nodes": 0, "workers": 0, "probes": [], "seen": [], **changes})


def line(seen: Facts, name: str) -> Finding:
    (found,) = [each for each in findings(seen) if each.name == name]
    return found


def test_every_line_of_a_healthy_pool_is_ok() -> None:
    found = findings(facts())
    assert [each.name for each in found] == list(CHECKS)
    assert {(each.state, each.pool) for each in found} == {(State.OK, "gpu")}


def test_a_block_that_never_started_has_only_the_lines_up_to_there() -> None:
    assert [each.name for each in findings(dead(job="", waited=None, refused="no such queue"))] == ["submission"]
    assert [each.name for each in findings(dead(waited=None))] == ["submission", "queue"]
    assert [each.name for each in findings(dead(set_up=False, trouble="it ended"))] == ["submission", "queue", "set-up"]


@pytest.mark.parametrize(
    ("seen", "name", "words"),
    [
        (
            dead(job="", waited=None, refused="Invalid qos"),
            "submission",
            ["refused: Invalid qos", "2 of the site file's 16", "--set pools.gpu.queue=debug"],
        ),
        (
            dead(waited=None, wait=600.0, reason="Priority: other jobs come first"),
            "queue",
            ["still queued after 10m (Priority: other jobs come first)", "--wait 2h"],
        ),
        (
            dead(waited=None, reason="Can Never Run: it will never start: no such node"),
            "queue",
            ["it will not start (Can"],
        ),
        (
            dead(waited=None, trouble="it ended in the queue (cancelled)"),
            "queue",
            ["it ended in the queue (cancelled)"],
        ),
        (
            dead(set_up=False, trouble="the block ended (exit code 1)", words="Lmod: unknown module: conda"),
            "set-up",
            ["the block ended (exit code 1) while modules and setup", "Lmod: unknown module: conda"],
        ),
        (
            dead(trouble="the block ended", words="python: not found"),
            "workers",
            ["the block ended", "python: not found", "eth0 (192.0.2.2), ib0 (10.1.0.5)"],
        ),
        (
            dead(trouble="the block ended", broken="Manager version info parsl.v=1 does not match parsl.v=2"),
            "workers",
            ["Parsl gave up: Manager version info", "both sides need the same Python and the same Parsl"],
        ),
        (
            dead(
                trouble="the block ended",
                words="cannot start: the driver answers at none of tcp://192.0.2.2:1 within 30 s",
            ),
            "workers",
            ["they cannot reach this host", "Workers try 192.0.2.2, 10.1.0.5", "network: {interface: NAME}"],
        ),
        (facts(probe("n1"), nodes=1, workers=4), "workers", ["1 node with 4 workers registered, of 2 nodes", "srun"]),
        (
            facts(nodes=4, workers=16),
            "workers",
            ["4 nodes with 16 workers registered, for 2 nodes", "several programs"],
        ),
        (facts(workers=6), "workers", ["2 nodes with 6 workers registered, and the site file says 8"]),
        (facts(errors=["WorkerLost: gone"]), "workers", ["the probe could not run: WorkerLost: gone"]),
        (facts(probe("n1"), probe("n2", python="3.12.1")), "Python", ["3.11.7 here, 3.12.1 on the nodes"]),
        (
            facts(probe("n1"), probe("n2", packages={**PACKAGES, "numpy": "1.26.0"})),
            "packages",
            ["numpy 2.4.6 here, 1.26.0 on n2"],
        ),
        (
            facts(probe("n1", packages={"pilotune": "0.1.0"}), probe("n2")),
            "packages",
            ["parsl 2026.10.26 here, none on n1"],
        ),
        (
            facts(probe("n1"), probe("n2", channel={"url": "", "rounds": [], "skew": None, "error": "none answers"})),
            "network",
            ["reports do not reach the driver from n2: none answers", "ib0 (10.1.0.5)"],
        ),
        (facts(probe("n1"), probe("n2", cores=1)), "cores", ["1 seen on n2", "cores_per_node: 64"]),
        (
            facts(probe("n1"), probe("n2", gpus={"variable": "CUDA_VISIBLE_DEVICES", "value": "0", "devices": []})),
            "GPUs",
            ["1 seen on n2 (CUDA_VISIBLE_DEVICES=0)", "gpus_per_node: 4"],
        ),
        (
            facts(probe("n1", gpus={"variable": "ROCR_VISIBLE_DEVICES", "value": None, "devices": []})),
            "GPUs",
            ["0 seen on n1 (ROCR_VISIBLE_DEVICES is not set, no devices)", "gpu_type"],
        ),
        (
            facts(probe("n1", gpus={"variable": "CUDA_VISIBLE_DEVICES", "value": "NoDevFiles", "devices": []})),
            "GPUs",
            ["0 seen on n1"],
        ),
        (
            facts(
                probe("n1"),
                probe(
                    "n2",
                    folder={
                        **probe("n2")["folder"],
                        "read": None,
                        "wrote": None,
                        "error": "/x: No such file or directory",
                    },
                ),
            ),
            "run directory",
            ["is not shared: n2 cannot read what this host writes (/x: No such file", "--runs"],
        ),
        (facts(seen=["worker-n1.0"]), "run directory", ["this host cannot read what n2 writes"]),
    ],
)
def test_a_failure_is_reported_with_what_to_do(seen: Facts, name: str, words: list[str]) -> None:
    found = line(seen, name)
    assert found.state == State.FAILED
    assert [each for each in words if each not in found.text] == []


@pytest.mark.parametrize(
    ("seen", "name", "words"),
    [
        (
            facts(words="source: no such file"),
            "set-up",
            ["2 lines of modules and setup ran, and the block said on stderr"],
        ),
        (facts(probe("n1")), "workers", ["not every node answered"]),
        (facts(probe("n1", channel={**probe("n1")["channel"], "rounds": [2.0, 3.0]})), "round trip", ["2500.0 ms"]),
        (
            facts(probe("n1", gpus={"variable": "CUDA_VISIBLE_DEVICES", "value": None, "devices": ["nvidia0"] * 8})),
            "GPUs",
            ["8 seen on a node", "8 devices", "gpus_per_node: 4"],
        ),
        (facts(probe("n1"), probe("n2", memory=128 * 10**9)), "memory", ["128 GB on a node", "memory_per_node: 256GB"]),
        (
            facts(probe("n1"), probe("n2", channel={**probe("n2")["channel"], "skew": -7.25})),
            "clocks",
            ["that of n2 is 7.2 s behind this host's"],
        ),
        (facts(probe("n1"), probe("n2", submit=None)), "in-job", ["not on PATH in a block (on n2)", "--in-job"]),
    ],
)
def test_doubtful_facts_are_warnings(seen: Facts, name: str, words: list[str]) -> None:
    found = line(seen, name)
    assert found.state == State.WARNING
    assert [each for each in words if each not in found.text] == []


@pytest.mark.parametrize(
    ("seen", "name", "text"),
    [
        (facts(), "submission", "job 12: 2 nodes for 10m"),
        (facts(), "queue", "it started after 3 s"),
        (facts(set_up_lines=0), "set-up", "nothing to run"),
        (facts(), "workers", "2 nodes with 8 workers registered"),
        (
            facts(),
            "network",
            "workers reach this host at 10.1.0.5 (interface ib0), one of 2 addresses; "
            "`network: {interface: ib0}` avoids trying all",
        ),
        (facts(network=True), "network", "workers reach this host at 10.1.0.5 (interface ib0)"),
        (facts(), "round trip", "2.0 ms for a report and its answer"),
        (
            facts(pool=replace(SMALL, cores_per_node=0)),
            "cores",
            "64 on a node; cores_per_node: 64 in the site file would give each worker its share of them",
        ),
        (facts(pool=replace(SMALL, cores_per_node=32)), "cores", "64 on a node, of which the site file uses 32"),
        (facts(), "GPUs", "4 on a node (CUDA_VISIBLE_DEVICES=0,1,2,3)"),
        (facts(), "clocks", "within 0.010 s of this host's"),
        (facts(), "run directory", "shared; Lustre (/lustre/orion)"),
        (
            facts(mount=Mount("nfs4", "/home", "filer:/home")),
            "run directory",
            "shared; NFS (/home) here, Lustre (/lustre/orion) on the nodes",
        ),
        (facts(), "in-job", "a job finds /usr/bin/sbatch, as pilotune run --in-job needs"),
    ],
)
def test_what_is_ok_is_reported_with_what_was_found(seen: Facts, name: str, text: str) -> None:
    assert line(seen, name) == Finding(name, State.OK, text, "gpu")


def test_intels_gpus_have_fewer_devices_than_tiles() -> None:
    pool = replace(SMALL, gpu_type="intel", gpus_per_node=12)
    cards = {"variable": "ZE_AFFINITY_MASK", "value": None, "devices": [f"renderD{each}" for each in range(6)]}
    found = line(facts(probe("n1", gpus=cards), pool=pool), "GPUs")
    assert (found.state, found.text) == (State.OK, "6 on a node (ZE_AFFINITY_MASK is not set, 6 devices), in 12 parts")


def test_a_block_that_says_nothing_may_not_see_its_folder() -> None:
    for name, seen in (("set-up", dead(set_up=False, trouble="it ended")), ("workers", dead(trouble="it ended"))):
        assert f"It wrote nothing to stderr: do the nodes see {seen.folder}?" in line(seen, name).text


def test_without_gpus_none_are_missed() -> None:
    none = {"variable": "CUDA_VISIBLE_DEVICES", "value": "", "devices": []}
    found = line(facts(probe("n1", gpus=none), pool=replace(SMALL, gpus_per_node=0)), "GPUs")
    assert (found.state, found.text) == (State.OK, "none, as the site file says")


def test_a_local_block_is_a_process_and_has_no_queue() -> None:
    found = {each.name: each.text for each in findings(facts(scheduler="local"))}
    assert found["submission"] == "process 12: 2 nodes for 10m"
    assert not {"queue", "in-job"} & found.keys()


def test_a_whole_block_that_is_refused_is_not_called_small() -> None:
    found = line(dead(pool=WHOLE, job="", waited=None, refused="no"), "submission")
    assert found.text == "refused: no"
