"""Computes the environment variables that show a trial its GPUs.

Parsl sets the variables of all three makes (NVIDIA, AMD, Intel) to its worker's accelerator. On AMD that hides GPUs
twice: HIP also reads ``CUDA_VISIBLE_DEVICES``, and numbers from 0 the GPUs that ``ROCR_VISIBLE_DEVICES`` has left.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence

from .block_env import GPU_TYPE, NODE_GPUS, PLACED_GPUS

VISIBLE = {"nvidia": "CUDA_VISIBLE_DEVICES", "amd": "ROCR_VISIBLE_DEVICES", "intel": "ZE_AFFINITY_MASK"}
"""By make, the variable that restricts which GPUs a process sees."""

MPS_PIPE, MPS_SHARE = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"
"""Set where NVIDIA's multi-process service runs; and the share of a GPU's threads that a process may use there."""

HIDE_TWICE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
"""On AMD, variables that choose among the GPUs that ``ROCR_VISIBLE_DEVICES`` has left."""


def describe(workers: Sequence[str], environment: Mapping[str, str]) -> str:
    """The value of :data:`.block_env.NODE_GPUS`, which the node's agent sets for its workers.

    Args:
        workers: The GPUs of each worker, by rank, as they stand in the make's variable; empty where workers have none.
        environment: The block's; its own GPU variables are kept, since Parsl overwrites them.
    """
    before = {name: environment[name] for name in VISIBLE.values() if name in environment}
    return json.dumps({"workers": list(workers), "before": before})


def gpu_environment(gpus: float, environment: Mapping[str, str] = os.environ) -> dict[str, str | None]:
    """Changes to a worker's ``environment`` for a trial of ``gpus`` GPUs; None removes a variable.

    A trial without GPUs sees what the block saw, and so does every trial where workers have no GPUs of their own. But
    where trials take different numbers of GPUs, one without GPUs sees none. A trial with a share of a GPU gets as large
    a share of its threads where NVIDIA's multi-process service runs.

    >>> gpu_environment(0.5, {"CUDA_VISIBLE_DEVICES": "3", "CUDA_MPS_PIPE_DIRECTORY": "/tmp/mps"})[MPS_SHARE]
    '50'
    """
    changes = _visible(gpus, environment)
    if 0 < gpus < 1 and MPS_PIPE in environment and MPS_SHARE not in environment:
        changes[MPS_SHARE] = f"{100 * gpus:g}"
    return changes


def _visible(gpus: float, environment: Mapping[str, str]) -> dict[str, str | None]:
    make = environment.get(GPU_TYPE, "nvidia")
    visible = VISIBLE.get(make, VISIBLE["nvidia"])
    known, placed = environment.get(NODE_GPUS), environment.get(PLACED_GPUS)
    if known is None:
        # Parsl has set all three variables, or none; their earlier values are unknown.
        own, before = environment.get(visible), {}
        if not gpus or own is None:
            return {}
    else:
        node = json.loads(known)
        before = node["before"]
        if not node["workers"]:
            return {}
        rank = int(environment.get("PARSL_WORKER_RANK", "0"))
        own = node["workers"][rank] if placed is None else placed
    changes: dict[str, str | None] = {name: before.get(name) for name in VISIBLE.values()}
    if gpus or placed is not None:
        if make == "amd":
            changes.update(dict.fromkeys(HIDE_TWICE))
        changes[visible] = own
    return changes


def gpu_ids(gpus: float, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The names of a trial's GPUs in its own environment; empty where it has none or the variable is not set."""
    visible = VISIBLE.get(environment.get(GPU_TYPE, "nvidia"), VISIBLE["nvidia"])
    return tuple(filter(None, environment.get(visible, "").split(","))) if gpus else ()
