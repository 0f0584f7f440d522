"""Determines how a block ended, from what the scheduler says and what only the driver knows."""

from __future__ import annotations

from pathlib import Path

from ..schedulers.jobs import End, Job
from .block import Block

LAST_LINES = 5
"""Lines of a block's stderr that are shown to the user."""

LAST_BYTES = 8192
"""Bytes at the end of a block's stderr that are read for them."""

NEAR_THE_END = 10.0
"""Seconds: a block that ends within this time before the end of its walltime has ended by its walltime."""

CERTAIN = (End.WALLTIME, End.PREEMPTED, End.NODE_FAILURE, End.OUT_OF_MEMORY)
"""Ends that a scheduler reports only when they are true."""

NOT_ITS_FAULT = (End.FINISHED, End.WALLTIME, End.PREEMPTED, End.NODE_FAILURE)
"""Ends that say nothing against the next block, provided that trials have ended meanwhile."""


def removed_from_queue(block: Block, job: Job, started: bool) -> bool:
    """Whether a block's job was deleted before it began. Arguments as for :func:`end_cause`."""
    told = job.end in (None, End.CANCELLED) and job.exit_code is None
    return told and not started and not block.was_connected and not block.released


def end_cause(block: Block, job: Job, now: float, started: bool = True) -> End:
    """How a block ended. What the scheduler says counts more than what Pilotune was about to do.

    Args:
        block: The block, which has ended.
        job: What the scheduler says of its job.
        now: Unix seconds.
        started: Whether its job has ever run; False only if that is certain.
    """
    if job.end in CERTAIN and (block.was_connected or block.released or job.end != End.WALLTIME):
        assert job.end is not None
        return job.end
    if job.end == End.CANCELLED or block.released:
        return End.CANCELLED
    if removed_from_queue(block, job, started):
        return End.CANCELLED
    if not block.was_connected:
        return End.BAD_ENVIRONMENT
    if block.ends is not None and now >= block.ends - NEAR_THE_END:
        return End.WALLTIME
    if job.end is not None:
        return job.end
    return End.FAILED if job.exit_code else End.FINISHED


def end_message(pool: str, block: Block, job: Job, stderr: Path | None, started: bool = True) -> str:
    """A sentence for the user: how the block ended, the scheduler's words, and after a failure its last output."""
    said = f" ({job.reason})" if job.reason else ""
    if removed_from_queue(block, job, started):
        return f"block {block.number} of pool {pool}, job {block.job}, was removed from the queue{said}."
    how = f": {block.end}" if block.end != End.BAD_ENVIRONMENT else " before any worker could reach the driver"
    head = f"block {block.number} of pool {pool}, job {block.job}, ended{how}{said}"
    if block.end in (End.BAD_ENVIRONMENT, End.FAILED, End.OUT_OF_MEMORY):
        return f"{head}. {last_words(stderr)}"
    return f"{head}."


def last_words(stderr: Path | None) -> str:
    """A sentence with the last lines of a block's stderr."""
    words = last_lines(stderr) if stderr is not None else ""
    return f"Its last output: {words}" if words else "It wrote nothing to stderr."


def last_lines(path: Path) -> str:
    """The last lines of a file joined to one; empty when there are none."""
    return " | ".join(_tail(path).splitlines()[-LAST_LINES:])


def _tail(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - LAST_BYTES))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""
