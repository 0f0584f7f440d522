"""The binding of a pool's workers to cores, as it is given to Parsl."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilotune.providers.blocks.resources import TrialResources
from pilotune.providers.htex.executors import affinity
from pilotune.providers.site import PoolSpec, Site

LIST = "list:0-3:4-7:8-11:12-15"


@pytest.mark.parametrize(
    ("scheduler", "pool", "resources", "expected"),
    [
        ("local", {"cores_per_node": 8, "workers_per_node": 4}, {}, "none"),
        ("local", {"cores_per_node": 8, "workers_per_node": 4, "affinity": "block"}, {}, "block"),
        ("slurm", {"cores_per_node": 8, "workers_per_node": 4}, {}, "block"),
        ("slurm", {"cores_per_node": 2, "workers_per_node": 4}, {}, "none"),
        ("slurm", {"cores_per_node": 2, "workers_per_node": 4}, {"cores": 2}, "block"),
        ("slurm", {"workers_per_node": 4}, {}, "none"),
        ("pbs", {"cores_per_node": 16, "workers_per_node": 4, "affinity": LIST}, {}, LIST),
        (
            "pbs",
            {"cores_per_node": 16, "workers_per_node": 4, "affinity": LIST},
            {"cores": 8},
            "list:0-3,4-7:8-11,12-15",
        ),
        ("pbs", {"gpus_per_node": 4, "workers_per_node": 4, "affinity": LIST}, {"gpus": 4}, "list:0-3,4-7,8-11,12-15"),
    ],
)
def test_workers_share_a_nodes_cores_if_there_are_enough(scheduler, pool, resources, expected):
    spec = PoolSpec("cpu", walltime=3600, **pool)
    site = Site("site", scheduler, (spec,), Path("/runs"))
    assert affinity(site, spec, TrialResources(**resources)) == expected
