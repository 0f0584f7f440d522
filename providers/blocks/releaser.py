"""Ends the jobs of blocks that are no longer wanted, and ends them again if need be."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ..schedulers.batch import BatchBlocks
from ..schedulers.jobs import End
from .block import Block
from .job_log import JobLog

log = logging.getLogger(__name__)


class Releaser:
    """Ends the blocks of one pool.

    An order that the scheduler refuses is repeated after a pause, which doubles from ``poll`` to five minutes. One that
    it has taken is repeated if the job goes on.

    Args:
        pool: The pool's name.
        provider: Ends jobs.
        job_log: The jobs of the campaign.
    """

    def __init__(self, pool: str, provider: BatchBlocks, job_log: JobLog):
        self.pool, self.provider, self.job_log = pool, provider, job_log

    def release(self, block: Block, why: str, now: float) -> None:
        """End a block now.

        Args:
            block: The block.
            why: Why it is no longer wanted.
            now: Unix seconds.
        """
        log.info("ending block %s of pool %s (job %s): %s", block.number, self.pool, block.job, why)
        block.release.why, block.workers = block.release.why or why, 0
        accepted = self.provider.cancel([block.job]) == [True]
        block.release.tried(accepted, self.provider.site.poll, now)
        if accepted:
            block.released = block.release.why
            self.job_log.query_soon()

    def release_again(self, blocks: Sequence[Block], now: float) -> None:
        """End the blocks that the scheduler did not end, or that went on after it took the order, if it is time."""
        for block in blocks:
            if block.end is not None or not block.release.why or not block.release.due(now):
                continue
            if not block.released:
                self.release(block, block.release.why, now)
            elif self._was_lost(block, now):
                phase = self.job_log.jobs[block.job].phase
                self.release(block, f"it is still {phase}, although it was ended", now)

    def _was_lost(self, block: Block, now: float) -> bool:
        job = self.job_log.jobs.get(block.job)
        return job is not None and block.release.was_lost(job, self.job_log.answered, now)

    def end_all(self, blocks: Sequence[Block]) -> list[str]:
        """End all blocks for good. Returns the ids of jobs that the scheduler did not end."""
        left = [block for block in blocks if block.end is None]
        orders = [block for block in left if not block.released or self._was_lost(block, 0.0)]
        done = self.provider.cancel([block.job for block in orders])
        for block, ended in zip(orders, done, strict=True):
            block.released = (block.released or "the campaign is over") if ended else ""
        for block in left:
            if block.released:
                name = self.provider.files(block.number).job_name
                self.job_log.ended(name, self.pool, block.number, block.job, End.CANCELLED)
        return [block.job for block in left if not block.released]
