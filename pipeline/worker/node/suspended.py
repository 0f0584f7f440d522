"""Tells the driver which nodes are suspended: silent, and yet not lost. Uses the standard library only.

A scheduler that suspends a job stops its processes, so that they send no heartbeats. The guardian of each node leaves a
file beside the launch file meanwhile; Parsl's interchange keeps the node's worker pool as long as the file exists.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path


def suspended_file(blocks: Path, pool: str) -> Path:
    """The file that exists while a node is suspended.

    Args:
        blocks: The run directory's folder for blocks.
        pool: The id of the node's worker pool, different for each one that is ever started.

    >>> str(suspended_file(Path("/run/blocks"), "node7-0123456789ab"))
    '/run/blocks/node7-0123456789ab.suspended'
    """
    return blocks / f"{pool.replace('/', '_')}.suspended"


def remove_suspended(blocks: Path, pools: Iterable[str]) -> None:
    """Remove the files of worker pools whose job was killed while it was suspended."""
    for pool in pools:
        with contextlib.suppress(OSError):
            suspended_file(blocks, pool).unlink(missing_ok=True)
