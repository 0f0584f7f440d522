"""The blocks of one pool: as many as there is work for, judged when they end, replaced while there is hope."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import SiteError
from ...filesystems import why_not
from ...pipeline.campaign.events import BlockState, BlockView
from ...pipeline.trial.block_env import yield_margin
from ..schedulers.batch import BatchBlocks
from ..schedulers.jobs import End, Job, Phase, SubmitRefused
from ..site import PoolSpec
from .end_cause import NOT_ITS_FAULT, judge, sentence
from .job_log import JobLog
from .scaling import Block, surplus, takes_no_more, wanted

log = logging.getLogger(__name__)

PAUSES = (20.0, 60.0, 180.0, 600.0)
"""Seconds before the next block after one, two, three, four bad ones in a row."""

BAD_IN_A_ROW, UNLUCKY_IN_A_ROW = 3, 8
"""Blocks that may end, one after the other without an attempt's end between them, before the pool gives up: bad ones,
and those that the machine took away (walltime, preemption, node failure)."""

DOUBTS = 4
"""Beyond twice the pool's blocks, so many may have been submitted whose end nobody saw but the scheduler. Whatever it
is understood to say, no more are submitted than that."""

ASSEMBLY = 60.0
"""Seconds that the nodes of a block are given to connect before it is judged by those that have."""

DESERTED = 180.0
"""Seconds that a block may be without the workers it had: PBS takes minutes to notice that a node is lost."""

NO_ROOM, NO_ROOM_PAUSE = 120.0, 20.0
"""Seconds that a run directory which takes no files is given while there is no block, and between two tries."""

REMEMBERED = 600.0
"""Seconds that a block which ended is still shown."""


class Blocks:
    """Keeps a pool's blocks.

    Args:
        pool: As the site file has it.
        slots: Trials that a block runs at a time.
        provider: Submits, asks and cancels.
        book: All jobs of the campaign.
        command: Makes the program of a block from its number.
        yield_before: The study file's, seconds.

    Attributes:
        failure: Why the pool cannot go on; empty while it can.
        note: What the user should know now; mostly empty.
        quarantined: Hosts that get no more trials.
    """

    def __init__(
        self,
        pool: PoolSpec,
        slots: int,
        provider: BatchBlocks,
        book: JobLog,
        command: Callable[[str], str],
        yield_before: float | None = None,
    ):
        self.pool, self.slots, self.provider, self.book, self.command = pool, slots, provider, book, command
        self.lead = yield_margin(pool.walltime, yield_before)
        self.blocks: list[Block] = []
        self.failure = self.note = ""
        self.quarantined: frozenset[str] = frozenset()
        self._excluding = provider.excludes
        self._misplaced = 0  # blocks in a row that came to lie on quarantined hosts
        self._proven = False
        self._bad = 0
        self._last_end = ""
        self._not_before = -1e18
        self._unwritten: float | None = None  # since when no block's files can be written
        self._bad_stop = 1 if provider.site.scheduler == "local" else BAD_IN_A_ROW

    def start(self, now: float) -> None:
        """Submit the first blocks."""
        self._launch(wanted(self.pool.blocks, self.slots, None, False), now)

    def progress(self) -> None:
        """An attempt came to its end here: the machine works."""
        self._bad = 0

    # -- looking ------------------------------------------------------------------------------------------------------

    def look(self, managers: list[dict[str, Any]], now: float) -> None:
        """Take in who is connected, and what the scheduler says of each block."""
        of: dict[str, list[dict[str, Any]]] = {}
        for manager in managers:
            of.setdefault(str(manager["block_id"]), []).append(manager)
        for block in self.blocks:
            if block.end is None:
                self._meet(block, of.get(block.number, []), now)
                self._hear(block, now)

    @property
    def workers(self) -> int:
        """Workers that may take a trial."""
        return sum(block.workers for block in self.blocks if block.living)

    @property
    def capacity(self) -> int:
        """Trials that can run at once. In a block that takes no more, those that run there: they are in flight as well,
        and must not keep the campaign from filling the block after it."""
        blocks = [block for block in self.blocks if block.end is None]
        return sum(b.workers + b.lingering if b.living and b.workers else b.tasks for b in blocks)

    @property
    def hosts(self) -> frozenset[str]:
        """Those whose workers take trials."""
        return frozenset().union(*(block.taking for block in self.blocks if block.living))

    def _meet(self, block: Block, managers: list[dict[str, Any]], now: float) -> None:
        before = len(block.managers or {})
        active = [each for each in managers if each["active"] and not each["draining"]]
        taking = [each for each in active if each["host"] not in self.quarantined]
        names = {each["manager"] for each in taking}
        block.managers = {each["manager"]: each["manager"] in names for each in managers}
        block.hosts = {each["manager"]: each["host"] for each in managers}
        block.bad = tuple(each["manager"] for each in active if each["manager"] not in names)
        block.workers = sum(each["worker_count"] for each in taking)
        block.tasks = sum(each["tasks"] for each in managers)
        block.lingering = block.tasks - sum(each["tasks"] for each in taking)
        block.idle = min((each["idle_duration"] for each in managers), default=0.0)
        if len(managers) < before:
            self.book.hurry()
        if managers:
            self._misplaced = 0 if taking and not block.met else self._misplaced
            block.met = self._proven = True
            block.seen = now
            self._enter(block, Phase.RUNNING, "", now)

    def _hear(self, block: Block, now: float) -> None:
        job = self.book.jobs.get(block.job, Job(block.job, block.phase))
        over = job.phase == Phase.ENDED and block.released  # Parsl misses its worker pools some time later only
        if block.managers and not over:
            if block.ends is None:
                block.ends = _read_end(self.provider.files(block.number).end)
            return  # it lives, whatever the scheduler is understood to say
        if job.phase == Phase.ENDED:
            self._finish(block, job, now)
        elif job.phase == Phase.QUEUED and block.phase != Phase.QUEUED:  # the scheduler put it back into the queue
            block.ends = None
            self._enter(block, Phase.QUEUED, job.reason, now)
        else:
            self._enter(block, job.phase, job.reason, now)

    def _enter(self, block: Block, phase: Phase, reason: str, now: float) -> None:
        if phase != block.phase:
            block.since = now
        block.phase, block.reason = phase, reason

    def _finish(self, block: Block, job: Job, now: float) -> None:
        files = self.provider.files(block.number)
        block.ends = block.ends or _read_end(files.end)
        block.end = judge(block, job, now)
        said = sentence(self.pool.name, block, job, files.stderr)
        how = f"{block.end}: {job.reason}" if job.reason else str(block.end)
        self._enter(block, Phase.ENDED, block.released if block.end == End.CANCELLED and block.released else how, now)
        block.workers = block.tasks = 0
        self.book.ended(files.job_name, self.pool.name, block.number, block.job, block.end)
        if block.released and block.end == End.CANCELLED:
            log.info("%s It was let go: %s", said, block.released)
            return
        log.warning("%s", said)
        self._count(block.end, said, now)

    def _count(self, end: End, said: str, now: float) -> None:
        self._bad += 1
        self._last_end = said
        if end in NOT_ITS_FAULT:
            limit, pause = UNLUCKY_IN_A_ROW, 0.0
        else:
            limit = self._bad_stop if end == End.BAD_ENVIRONMENT else BAD_IN_A_ROW
            pause = PAUSES[min(self._bad, len(PAUSES)) - 1] if self.pool.walltime else 0.0
        self._not_before = now + pause
        if self._bad >= limit:
            many = f"{self._bad} blocks ended one after the other before any trial did. The last: " * (self._bad > 1)
            self.failure = f"{many}{said}"

    # -- scaling ------------------------------------------------------------------------------------------------------

    def scale(self, demand: int, expected: float | None, hold: Callable[[str], None], now: float) -> int:
        """Start and end blocks for ``demand`` workers; how many workers its blocks have or will have.

        Args:
            demand: Workers that could be kept busy here.
            expected: Seconds that the next trial is expected to run.
            hold: Tells a worker pool to take no more trials.
            now: Unix seconds.
        """
        self.note = ""
        for block in self.blocks:
            self._hold_late(block, expected, hold, now)
            for manager in block.bad:
                hold(manager)
            if block.living and block.spent:
                self._release_spent(block, now)
            elif block.living and block.met and block.phase == Phase.RUNNING and now - block.seen > DESERTED:
                self._release(block, "its workers have gone, and the scheduler has not noticed")
        want = wanted(self.pool.blocks, self.slots, demand, self._proven)
        for block in surplus(self.blocks, want, self.pool.blocks.idle):
            self._release(block, "there is no work for it")
        living = sum(block.living for block in self.blocks)
        holding = sum(block.holds_nodes for block in self.blocks)
        self._launch(min(want - living, self.pool.blocks.max - holding), now)
        return max(want, living) * self.slots

    def _hold_late(self, block: Block, expected: float | None, hold: Callable[[str], None], now: float) -> None:
        walltime = self.pool.walltime
        if walltime is None or not block.living or not takes_no_more(block, now, walltime, self.lead, expected):
            return
        for manager, takes in (block.managers or {}).items():
            if takes:
                hold(manager)
                assert block.managers is not None
                block.managers[manager] = False
        block.workers = 0

    def _release_spent(self, block: Block, now: float) -> None:
        """No worker of it takes trials any more, and it has none left."""
        bad = sorted(self.quarantined.intersection(block.hosts.values()))
        if not bad:
            self._release(block, "it takes no more trials, and none is left in it")
            return
        if len(block.hosts) < self.pool.nodes_per_block and now - block.since < ASSEMBLY:
            return
        self._release(block, f"quarantined: {', '.join(bad)}")
        if block.released and not self._excluding:  # the next one may lie there as well
            self._misplaced += 1
            self._not_before = now + PAUSES[min(self._misplaced, len(PAUSES)) - 1]
            self._last_end = f"block {block.number} of pool {self.pool.name} was on {', '.join(bad)}, quarantined."

    def _release(self, block: Block, why: str) -> None:
        log.info("ending block %s of pool %s (job %s): %s", block.number, self.pool.name, block.job, why)
        if self.provider.cancel([block.job]) == [True]:
            block.released, block.workers = why, 0
            self.book.hurry()

    def _launch(self, count: int, now: float) -> None:
        for _ in range(count):
            if self.failure:
                return
            if now < self._not_before:
                self._tell_pause()
                return
            if self._misplaced >= UNLUCKY_IN_A_ROW:
                self._stop_submitting(f"{self._misplaced} blocks in a row were on quarantined hosts")
                return
            unseen = self._doubtful()
            if unseen >= 2 * self.pool.blocks.max + DOUBTS:
                self._stop_submitting(f"{unseen} blocks were submitted whose end nobody saw but the scheduler")
                return
            if not self._submit(now):
                return

    def _tell_pause(self) -> None:
        at = time.strftime("%H:%M:%S", time.localtime(self._not_before))
        self.note = f"the next block is tried at {at}. {self._last_end}"

    def _doubtful(self) -> int:
        """Blocks that were submitted and whose end is not seen by ourselves."""
        return sum(not (block.end and (block.met or block.released)) for block in self.blocks)

    def _stop_submitting(self, why: str) -> None:
        self.note = f"pool {self.pool.name}: {why}; no more are submitted. {self._last_end}"
        if not any(block.living for block in self.blocks):
            self.failure = f"{why}; no more are submitted. {self._last_end}"

    def _submit(self, now: float) -> bool:
        number = str(len(self.blocks))
        name = self.provider.files(number).job_name
        block = Block(number, "", now)
        try:
            self.book.submitting(name, self.pool.name, number)
        except SiteError as error:
            self._not_written(str(error), now)
            return False
        try:
            block.job = self._ask_for(number)
        except SubmitRefused as error:
            self.blocks.append(block)
            self._refused(block, error, now)
            return False
        except OSError as error:
            why = why_not(error, self.provider.files(number).folder)
            self._not_written(f"the block's script cannot be written: {why}", now)
            return False
        self._unwritten = None
        self.blocks.append(block)
        log.info("block %s of pool %s is job %s", number, self.pool.name, block.job)
        self.book.submitted(name, self.pool.name, number, block.job, now)
        return True

    def _ask_for(self, number: str) -> str:
        """The job of a block without quarantined hosts; of any, where the scheduler does not know their names."""
        self.provider.excluded = tuple(sorted(self.quarantined)) if self._excluding else ()
        try:
            return self.provider.submit(self.command(number), 1, number)
        except SubmitRefused as error:
            if error.transient or not self.provider.excluded:
                raise
            log.warning("no block without %s is to be had: %s", ", ".join(self.provider.excluded), error.words)
            self.provider.excluded = ()
            job = self.provider.submit(self.command(number), 1, number)
            self._excluding = False
            return job

    def _refused(self, block: Block, error: SubmitRefused, now: float) -> None:
        block.end, block.released = End.REFUSED, "refused"
        self._enter(block, Phase.ENDED, f"refused: {error.words}", now)
        self.book.ended(
            self.provider.files(block.number).job_name, self.pool.name, block.number, block.job, End.REFUSED
        )
        self._bad += 1
        self._last_end = f"pool {self.pool.name}: {error}"
        self._not_before = now + PAUSES[min(self._bad, len(PAUSES)) - 1]
        log.warning("%s", self._last_end)
        if not error.transient and not any(each.living for each in self.blocks):
            self.failure = str(error)

    def _not_written(self, why: str, now: float) -> None:
        """The record of jobs, or the block's script, could not be written: what runs goes on, no other block begins."""
        self._not_before = now + NO_ROOM_PAUSE
        self._last_end = f"pool {self.pool.name}: {why}"
        if self._unwritten is None:
            self._unwritten = now
            log.warning("%s", self._last_end)
        self._tell_pause()
        if now - self._unwritten >= NO_ROOM and not any(each.living for each in self.blocks):
            self.failure = why

    # -- the end ------------------------------------------------------------------------------------------------------

    def cancel(self) -> list[str]:
        """End every block; the jobs that the scheduler would not end."""
        left = [block for block in self.blocks if block.end is None]
        living = [block for block in left if not block.released]
        done = self.provider.cancel([block.job for block in living])
        for block, ended in zip(living, done, strict=True):
            if ended:
                block.released = "the campaign is over"
        for block in left:
            if block.released:
                name = self.provider.files(block.number).job_name
                self.book.ended(name, self.pool.name, block.number, block.job, End.CANCELLED)
        return [block.job for block in left if not block.released]

    def abandon(self, why: str) -> None:
        """End the blocks whose workers know only an executor that is gone; those in the queue will read of the new."""
        for block in self.blocks:
            if block.living and block.met:
                self._release(block, why)

    def views(self, now: float) -> list[BlockView]:
        """For the user: what lives, and what ended lately."""
        shown = [block for block in self.blocks if block.end is None or now - block.since < REMEMBERED]
        return [
            BlockView(
                pool=self.pool.name,
                block=block.number,
                job=block.job,
                state=_state(block),
                reason=block.reason or block.released,
                workers=block.workers,
                ends=block.ends,
                since=block.since,
            )
            for block in shown
        ]


def _state(block: Block) -> BlockState:
    if block.end is not None:
        return "ended"
    if block.released or block.phase == Phase.ENDING:
        return "ending"
    if block.phase == Phase.QUEUED:
        return "queued"
    return "running" if block.managers else "starting"


def _read_end(path: Path) -> float | None:
    try:
        return float(path.read_text().strip())
    except (OSError, ValueError):
        return None
