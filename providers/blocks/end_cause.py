"""How a block ended: what the scheduler says, and what only the driver knows."""

from __future__ import annotations

from pathlib import Path

from ..schedulers.jobs import End, Job
from .scaling import Block

LAST_LINES = 5
LAST_BYTES = 8192

NEAR_THE_END = 10.0
"""Seconds before its walltime is over from which on a block that ends has ended by it."""

CERTAIN = (End.WALLTIME, End.PREEMPTED, End.NODE_FAILURE, End.OUT_OF_MEMORY)
"""Ends that a scheduler does not say without reason."""

TAKEN = (End.PREEMPTED, End.NODE_FAILURE)
"""Ends before which trials may have yielded, so that the block was let go when it was lost already."""

NOT_ITS_FAULT = (End.FINISHED, End.WALLTIME, End.PREEMPTED, End.NODE_FAILURE)
"""Ends after which the next block is as good as the first one was, provided that work was done meanwhile."""


def judge(block: Block, job: Job, now: float) -> End:
    """How it ended."""
    if block.released and job.end not in TAKEN:
        return End.CANCELLED
    if job.end in CERTAIN and (block.met or job.end != End.WALLTIME):
        assert job.end is not None
        return job.end
    if job.end == End.CANCELLED:
        return End.CANCELLED
    if not block.met:
        return End.BAD_ENVIRONMENT
    if block.ends is not None and now >= block.ends - NEAR_THE_END:
        return End.WALLTIME
    if job.end is not None:
        return job.end
    return End.FAILED if job.exit_code else End.FINISHED


def sentence(pool: str, block: Block, job: Job, stderr: Path | None) -> str:
    """What became of a block, for the user: how it ended, the scheduler's words, and its own last ones."""
    said = f" ({job.reason})" if job.reason else ""
    how = f": {block.end}" if block.end != End.BAD_ENVIRONMENT else " before any worker could reach the driver"
    head = f"block {block.number} of pool {pool}, job {block.job}, ended{how}{said}"
    if block.end in (End.BAD_ENVIRONMENT, End.FAILED, End.OUT_OF_MEMORY):
        return f"{head}. {last_words(stderr)}"
    return f"{head}."


def last_words(stderr: Path | None) -> str:
    """What a block itself said last."""
    words = last_lines(stderr) if stderr is not None else ""
    return f"Its last words: {words}" if words else "It said nothing."


def last_lines(path: Path) -> str:
    """The last lines of a file, as one; empty where there are none."""
    return " | ".join(_tail(path).splitlines()[-LAST_LINES:])


def _tail(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - LAST_BYTES))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""
