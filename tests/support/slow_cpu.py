"""A control group whose processes get a part of one core, for nodes that are slow."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

GROUPS = Path("/sys/fs/cgroup")
PERIOD = 100_000
"""Microseconds in which the group may use its part of a core."""


class Unavailable(Exception):
    """No such group can be made here; the message says why."""


@contextmanager
def slow_cpu(part: float) -> Iterator[Path]:
    """Makes a group whose processes get ``part`` of a core together; gives the file that takes their ids.

    At the end, it is removed once nothing runs in it.
    """
    first = (GROUPS / "cgroup.controllers").exists()  # version 2
    group = (GROUPS if first else GROUPS / "cpu") / f"pilotune-slow-{uuid4().hex[:8]}"
    try:
        if first:
            (GROUPS / "cgroup.subtree_control").write_text("+cpu")
        group.mkdir()
        quota = int(part * PERIOD)
        if first:
            (group / "cpu.max").write_text(f"{quota} {PERIOD}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        raise Unavailable(f"control groups cannot be made: {error}") from error
    try:
        yield group / "cgroup.procs"
    finally:
        for _ in range(100):
            with suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.1)
