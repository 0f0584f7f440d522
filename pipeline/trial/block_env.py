"""Reads the block's environment: where a worker learns which block it is in, when that ends and what it may use.

A block is one pilot job. Its batch script, the agent of its node (``providers/node/agent.py``) and Parsl set the
variables; workers, objectives and the job that a driver runs in read them. The names stand here, once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

BLOCK_END = "PILOTUNE_BLOCK_END"
"""When the block's walltime is over, in Unix seconds; not set for a block without one."""

WALLTIME = "PILOTUNE_WALLTIME"
"""Seconds of walltime that the block was given."""

BLOCK_TRIALS = "PILOTUNE_BLOCK_TRIALS"
"""Trials on several nodes each that the block runs at a time; set where blocks of its pool differ in size."""

POOL = "PILOTUNE_POOL"
"""The site file's name for the pool that the block belongs to."""

GPU_TYPE = "PILOTUNE_GPU_TYPE"
"""``nvidia``, ``amd`` or ``intel``; not set means ``nvidia``."""

NODE_GPUS = "PILOTUNE_NODE_GPUS"
"""The GPUs of each worker of the node, as JSON (see :func:`.gpus.describe`)."""

PLACED_GPUS = "PILOTUNE_PLACED_GPUS"
"""The GPUs of the worker's present attempt, where trials take different numbers of them; empty for none."""

NODE_DIR = "PILOTUNE_NODE_DIR"
"""A folder of this node and block, in which each worker keeps a file named by its pid while it runs an attempt."""

LAUNCHER = "PILOTUNE_LAUNCHER"
"""What starts a command on a trial's nodes. A site may set it for trials on one node."""

DRIVER_TIMEOUT = "PILOTUNE_DRIVER_TIMEOUT"
"""Seconds without a connection after which a worker takes the driver for dead."""

YIELD_LIMIT = "PILOTUNE_YIELD_LIMIT"
"""Seconds that trials have to yield after the scheduler's SIGTERM. A site may set it where jobs are killed later, or
sooner, than is usual with its scheduler."""

DEFAULT_DRIVER_TIMEOUT = 120.0
"""Seconds; used where the variable is not set. Long enough for a driver to be restarted or a network to recover."""

DEFAULT_YIELD_MARGIN, YIELD_MARGIN_SHARE = 60.0, 0.1
"""A trial yields this many seconds before its block ends, or at this share of the walltime where that is less.

A minute is enough to save a checkpoint of some GB to a parallel file system; in a block of a few minutes it would be
too large a part of the time that was paid for.
"""


def block_end(environment: Mapping[str, str] = os.environ) -> float | None:
    """When the block ends, in Unix seconds; None where it has no end or none is known.

    >>> block_end({"PILOTUNE_BLOCK_END": "1700000000"})
    1700000000.0
    >>> block_end({}) is None
    True
    """
    return _number(environment.get(BLOCK_END))


def walltime(environment: Mapping[str, str] = os.environ) -> float | None:
    """How many seconds of walltime the block was given; None where it has no limit or none is known."""
    return _number(environment.get(WALLTIME))


def driver_timeout(environment: Mapping[str, str] = os.environ) -> float:
    """Seconds without a connection after which the driver counts as dead: 120 unless the environment says otherwise."""
    seconds = _number(environment.get(DRIVER_TIMEOUT))
    return DEFAULT_DRIVER_TIMEOUT if seconds is None else seconds


YIELD_WAIT, LEAST_YIELD_WAIT = 60.0, 10.0
"""Seconds that an attempt has to save a checkpoint and end when its campaign ends: the default, and its least value."""


def yield_wait(time: float | None, yield_before: float | None = None) -> float:
    """Seconds that an attempt has to save a checkpoint and end, when its campaign is stopped or its time is used up.

    Args:
        time: The study file's ``budget: time``, seconds; None without one.
        yield_before: The study file's ``trial: yield_before``, which wins; None where it says nothing.

    >>> yield_wait(None), yield_wait(14400.0), yield_wait(300.0), yield_wait(12.0), yield_wait(12.0, yield_before=300.0)
    (60.0, 60.0, 30.0, 10.0, 300.0)
    """
    if yield_before is not None:
        return yield_before
    return YIELD_WAIT if time is None else min(YIELD_WAIT, max(LEAST_YIELD_WAIT, time / 10))


def yield_margin(walltime: float | None, yield_before: float | None = None) -> float:
    """Seconds before a block's end at which a trial is asked to yield.

    Args:
        walltime: Seconds that the block was given; None where it has no limit.
        yield_before: The study file's ``trial: yield_before``, which wins; None where it says nothing.

    >>> yield_margin(3600.0)
    60.0
    >>> yield_margin(100.0)
    10.0
    >>> yield_margin(3600.0, yield_before=300.0)
    300.0
    """
    if yield_before is not None:
        return yield_before
    return DEFAULT_YIELD_MARGIN if walltime is None else min(DEFAULT_YIELD_MARGIN, YIELD_MARGIN_SHARE * walltime)


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
