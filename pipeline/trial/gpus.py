"""Which GPUs a worker has, and which variables say so to its trials.

Parsl sets the variables of all three makes to its worker's accelerator. On AMD that hides GPUs twice: HIP reads
``CUDA_VISIBLE_DEVICES`` as well, and counts from 0 what ``ROCR_VISIBLE_DEVICES`` has left.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence

from .block_env import GPU_TYPE, NODE_GPUS

VISIBLE = {"nvidia": "CUDA_VISIBLE_DEVICES", "amd": "ROCR_VISIBLE_DEVICES", "intel": "ZE_AFFINITY_MASK"}
"""The variable that says which GPUs a process sees, by make."""

HIDE_TWICE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
"""On AMD these choose among those that ``ROCR_VISIBLE_DEVICES`` has left."""


def describe(workers: Sequence[str], environment: Mapping[str, str]) -> str:
    """The value of :data:`NODE_GPUS`."""
    before = {name: environment[name] for name in VISIBLE.values() if name in environment}
    return json.dumps({"workers": list(workers), "before": before})


def gpu_environment(gpus: int, environment: Mapping[str, str] = os.environ) -> dict[str, str | None]:
    """What to change in a worker's ``environment`` for a trial of ``gpus`` GPUs; None takes a variable away.

    A trial without GPUs sees what the block did; so does any where workers have none of their own.
    """
    make = environment.get(GPU_TYPE, "nvidia")
    visible = VISIBLE.get(make, VISIBLE["nvidia"])
    known = environment.get(NODE_GPUS)
    if known is None:
        # Parsl has set all three, if any; what was there before is not known.
        own, before = environment.get(visible), {}
        if not gpus or own is None:
            return {}
    else:
        node = json.loads(known)
        before = node["before"]
        if not node["workers"]:
            return {}
        own = node["workers"][int(environment.get("PARSL_WORKER_RANK", "0"))]
    changes: dict[str, str | None] = {name: before.get(name) for name in VISIBLE.values()}
    if gpus:
        if make == "amd":
            changes.update(dict.fromkeys(HIDE_TWICE))
        changes[visible] = own
    return changes


def gpu_ids(gpus: int, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The names of a trial's GPUs in its own environment; empty for a trial without, or where none are told."""
    visible = VISIBLE.get(environment.get(GPU_TYPE, "nvidia"), VISIBLE["nvidia"])
    return tuple(filter(None, environment.get(visible, "").split(","))) if gpus else ()
