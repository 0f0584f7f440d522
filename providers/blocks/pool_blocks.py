"""Keeps the blocks of one pool: submits as many as there is work for, notices their ends, and replaces them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...errors import SiteError
from ...fields import format_duration
from ...filesystems import why_not
from ...grammar import named
from ...pipeline.campaign.events import BlockView, PoolCharge
from ...pipeline.worker.node.suspended import remove_suspended
from ..schedulers.batch import BatchBlocks
from ..schedulers.jobs import End, Job, Phase, SubmitRefused
from ..site import PoolSpec
from .block import Block, WorkerPoolSeen
from .block_leaving import BlockLeaving
from .block_shape import BlockShape, BlockShapes
from .end_cause import NOT_ITS_FAULT, end_cause, end_message
from .job_log import JobLog
from .releaser import Releaser
from .scaling import accepts_no_more

log = logging.getLogger(__name__)

PAUSES = (20.0, 60.0, 180.0, 600.0)
"""Seconds before the next block after one, two, three, and four or more failed ones in a row."""

FAILURE_LIMIT, LOSS_LIMIT = 3, 8
"""Blocks in a row, without the end of an attempt between them, after which the pool gives up: of blocks that failed,
and of blocks that the machine took away (walltime, preemption, node failure)."""

UNSEEN_LIMIT = 4
"""How many more than twice the pool's blocks may be submitted whose end only the scheduler reports. It bounds the
submissions even if the scheduler's answers are misread."""

ASSEMBLY_TIME = 60.0
"""Seconds for all nodes of a block to connect before it may be ended because those that have are quarantined."""

NO_WORKERS_LIMIT = 180.0
"""Seconds that a running block may be without the workers it had: PBS takes minutes to notice that a node is lost."""

AWAY_PAUSE = 60.0
"""Longest time in seconds between two submissions to a scheduler that does not answer."""

DISK_PATIENCE, DISK_RETRY = 120.0, 20.0
"""Seconds without any block after which the pool gives up because files in the run directory cannot be written, and
seconds between two tries."""

ENDED_SHOWN = 600.0
"""Seconds for which a block that has ended is still shown to the user."""


class PoolBlocks:
    """The blocks of one pool over time.

    :meth:`refresh` takes over what is known of the blocks, :meth:`scale` submits and ends blocks accordingly. A block
    that fails is replaced after a pause, which grows with each failure in a row; after too many the pool gives up.

    Args:
        pool: The pool, from the site file.
        shapes: The shapes of its blocks, with what submits them; at least one.
        job_log: The jobs of the whole campaign.
        command: Gives the command of a block for its number.

    Attributes:
        provider: Queries and cancels the blocks' jobs.
        blocks: All blocks that were submitted, oldest first.
        failure: Why the pool cannot continue; empty while it can.
        note: What the user should know now; mostly empty.
        quarantined: Hosts that get no more trials.
        only_here: Attempts in flight that no other pool can run. The pool has blocks for them whatever others have.
        shapes: The shapes of its blocks.
        leaving: Lets the last trials of the campaign leave large blocks.
    """

    def __init__(
        self,
        pool: PoolSpec,
        shapes: Sequence[BlockShape],
        job_log: JobLog,
        command: Callable[[str], str],
    ):
        self.pool, self.shapes, self.job_log, self.command = pool, BlockShapes(shapes), job_log, command
        self.provider = provider = shapes[0].provider
        self.releaser = Releaser(pool.name, provider, job_log)
        self.leaving = BlockLeaving(pool.name, self.shapes)
        self.blocks: list[Block] = []
        self.failure = self.note = ""
        self.quarantined: frozenset[str] = frozenset()
        self.only_here = 0
        self._excluding = provider.excludes
        self._misplaced = 0  # blocks in a row that were placed on quarantined hosts
        self._proven = False
        self._failures = 0
        self._last_end = ""
        self._not_before = -1e18
        self._unwritable_since: float | None = None  # since when files of blocks cannot be written
        self._away_since: float | None = None  # since when the scheduler has not answered a submission
        self._environment_limit = 1 if provider.site.scheduler == "local" else FAILURE_LIMIT

    def start(self, now: float) -> None:
        """Submit the first blocks."""
        self._launch(self.shapes.further(self.blocks, self.pool.blocks, None, False, None, now), now)

    def attempt_ended(self) -> None:
        """An attempt has ended in one of the blocks, which shows that blocks of this pool work."""
        self._failures = 0

    # -- state --------------------------------------------------------------------------------------------------------

    def refresh(self, managers: list[dict[str, Any]], now: float) -> None:
        """Update the blocks from the connected worker pools and from the states of their jobs.

        Args:
            managers: The connected worker pools, as Parsl describes them, with their ``host``.
            now: Unix seconds.
        """
        of: dict[str, list[dict[str, Any]]] = {}
        for manager in managers:
            of.setdefault(str(manager["block_id"]), []).append(manager)
        for block in self.blocks:
            if block.end is None:
                self._update_from_managers(block, of.get(block.number, []), now)
                self._update_from_scheduler(block, now)

    @property
    def workers(self) -> int:
        """Workers that may be given trials."""
        return sum(block.workers for block in self.blocks if block.living)

    @property
    def capacity(self) -> int:
        """Trials that can run at once.

        Of a block that gets no more trials, those that still run there count: the campaign counts them as running, and
        they must not keep it from filling the next block.
        """
        blocks = [block for block in self.blocks if block.end is None]
        return sum(b.workers + b.draining_tasks if b.living and b.workers else b.tasks for b in blocks)

    @property
    def hosts(self) -> frozenset[str]:
        """Hosts whose workers may be given trials."""
        return frozenset().union(*(block.accepting_hosts for block in self.blocks if block.living))

    @property
    def nodes(self) -> tuple[WorkerPoolSeen, ...]:
        """All connected worker pools."""
        return tuple(node for block in self.blocks if block.end is None for node in block.nodes)

    def _update_from_managers(self, block: Block, managers: list[dict[str, Any]], now: float) -> None:
        if len(managers) < len(block.managers or {}):
            self.job_log.query_soon()
        block.update(managers, self.quarantined)
        if managers:
            if block.accepting_hosts and not block.was_connected:
                self._misplaced = 0
            block.was_connected = self._proven = True
            block.last_connected = now
            if block.phase != Phase.SUSPENDED:
                block.enter(Phase.RUNNING, "", now)

    def _update_from_scheduler(self, block: Block, now: float) -> None:
        job = self.job_log.jobs.get(block.job, Job(block.job, block.phase))
        block.starts = job.starts
        block.held.correct(self._began(block, job))
        # Parsl detects later that its worker pools are gone, those of a suspended block never.
        over = job.phase == Phase.ENDED and (block.released or block.phase == Phase.SUSPENDED)
        if job.phase == Phase.SUSPENDED:
            block.enter(Phase.SUSPENDED, job.reason, now)
            block.workers = 0
            return
        if block.phase == Phase.SUSPENDED and not over:  # its workers connect again, if they have lost the driver
            block.last_connected = now
            block.enter(Phase.RUNNING, "", now)
        if block.managers and not over:
            if block.ends is None:
                block.ends = _read_end(self.provider.files(block.number).end)
            return  # workers are connected, so it lives, whatever the scheduler says
        if job.phase == Phase.ENDED:
            self._finish(block, job, now)
        elif self.job_log.unreachable and self._is_gone(block, now):
            gone = "its workers are gone, and the scheduler does not answer"
            self._finish(block, Job(block.job, Phase.ENDED, reason=gone), now)
        elif job.phase == Phase.QUEUED and block.phase != Phase.QUEUED:  # the scheduler put it back into the queue
            block.ends = None
            block.enter(Phase.QUEUED, job.reason, now)
        else:
            block.enter(job.phase, job.reason, now)

    def _began(self, block: Block, job: Job) -> float | None:
        """When the block's job began: as the scheduler says, else as its script wrote; None where neither says it."""
        if job.began is None and block.ends is not None and self.pool.walltime is not None:
            return block.ends - self.shapes[block.shape].provider.walltime_seconds
        return job.began

    def _is_gone(self, block: Block, now: float) -> bool:
        """Whether a block without workers counts as ended, although the scheduler does not say so."""
        if block.was_connected:
            return now - block.last_connected > NO_WORKERS_LIMIT
        return bool(block.released) and now - block.since > NO_WORKERS_LIMIT

    def _finish(self, block: Block, job: Job, now: float) -> None:
        files = self.provider.files(block.number)
        block.ends = block.ends or _read_end(files.end)
        started = block.phase != Phase.QUEUED or files.end.exists() or files.stderr.exists()
        block.end = end_cause(block, job, now, started)
        message = end_message(self.pool.name, block, job, files.stderr, started)
        how = f"{block.end}: {job.reason}" if job.reason else str(block.end)
        ours = block.end == End.CANCELLED and block.released and not block.signalled
        block.held.settle(self._began(block, job), job.left, now)
        block.enter(Phase.ENDED, block.released if ours else how, now)
        block.workers = block.tasks = 0
        remove_suspended(files.folder, block.hosts)
        self.job_log.ended(files.job_name, self.pool.name, block.number, block.job, block.end)
        if ours:
            log.info("%s It was released: %s", message, block.released)
            return
        log.warning("%s", message)
        self._count_failure(block.end, message, now)

    def _count_failure(self, end: End, message: str, now: float) -> None:
        self._failures += 1
        self._last_end = message
        if end in NOT_ITS_FAULT:
            limit, pause = LOSS_LIMIT, 0.0
        else:
            limit = self._environment_limit if end == End.BAD_ENVIRONMENT else FAILURE_LIMIT
            pause = PAUSES[min(self._failures, len(PAUSES)) - 1] if self.pool.walltime else 0.0
        self._not_before = now + pause
        if self._failures >= limit:
            in_a_row = f"{self._failures} blocks ended in a row before any trial did. The last: "
            self.failure = f"{in_a_row if self._failures > 1 else ''}{message}"

    # -- scaling ------------------------------------------------------------------------------------------------------

    def scale(
        self, demand: int, expected: float | None, hold: Callable[[str], None], now: float, final: bool = False
    ) -> int:
        """Submit and end blocks so that ``demand`` workers can be kept busy.

        Args:
            demand: Workers that could be kept busy in this pool.
            expected: Seconds that the next trial is expected to run; None when that is unknown.
            hold: Stops Parsl from giving more trials to a worker pool.
            now: Unix seconds.
            final: Whether the demand will not grow again.

        Returns:
            Trials that the pool's blocks run, or will run, at a time.
        """
        self.note = f"pool {self.pool.name}: {self.shapes.refusals}" if self.shapes.refusals else ""
        self.releaser.release_again(self.blocks, now)
        smaller = self.leaving.step(self.blocks, self.pool.blocks, now)
        expected = self.leaving.expected(now, expected)
        usable = self.shapes.usable(self.blocks)
        for block in self.blocks:
            self._hold_ending(block, expected, usable, hold, now)
            for manager in block.to_hold:
                hold(manager)
            if block.living and block.is_drained:
                self._release_drained(block, now)
            elif (
                block.living
                and block.was_connected
                and block.phase == Phase.RUNNING
                and now - block.last_connected > NO_WORKERS_LIMIT
            ):
                self._release(block, "its workers are gone, but the scheduler says that it runs", now)
        demand = max(demand, self.only_here)
        withdrawn = self.shapes.to_withdraw(self.blocks, self.pool.blocks, demand, expected, now)
        if withdrawn is not None:
            self._release(withdrawn, "blocks of another shape will do its work sooner", now)
        for block in self.shapes.needless(self.blocks, self.pool.blocks, demand, final, self.leaving.kept):
            self._release(block, "there is no work for it", now)
        ask = self._starts if now >= self._not_before else None
        further = self.shapes.further(self.blocks, self.pool.blocks, demand, self._proven, expected, now, ask)
        holding = sum(block.holds_nodes for block in self.blocks)
        before = len(self.blocks)
        self._launch(further[: max(0, self.pool.blocks.max - holding)], now)
        served = sum(self.shapes.trials(block) for block in self.blocks if block.living)
        if not self.shapes.unpaid and self._away_since is None:  # else other pools may have to do it
            served += sum(self.shapes[shape].trials for shape in further[len(self.blocks) - before :])
        if smaller:
            self._submit_for_last(smaller, now)
        self.note = "; ".join(filter(None, [self.note, self.leaving.note]))
        return served

    def _submit_for_last(self, smaller: Sequence[int], now: float) -> None:
        """Submit blocks in which the last trials of a larger one are to go on, if the budget pays for all of them."""
        before, holding = len(self.blocks), sum(block.holds_nodes for block in self.blocks)
        if holding + len(smaller) > self.pool.blocks.max:
            return
        if len(self.shapes.paid(self.blocks, smaller)) == len(smaller):
            self._launch(smaller, now)
            self.leaving.submitted([block for block in self.blocks[before:] if block.living], self.blocks)

    def _starts(self, shape: BlockShape) -> float | None:
        """When the scheduler expects the next block to begin if it is of this shape; None where it does not say."""
        number = str(len(self.blocks))
        try:
            return shape.provider.starts(self.command(number), number)
        except (OSError, SiteError) as error:
            log.info("pool %s: no estimate for blocks of %s: %s", self.pool.name, shape.words, error)
            return None

    def _hold_ending(
        self, block: Block, expected: float | None, usable: float, hold: Callable[[str], None], now: float
    ) -> None:
        """Give no more trials to a block that ends soon, or whose trials leave it."""
        margin = self.shapes[block.shape].margin
        near = accepts_no_more(block, now, usable, margin, expected)
        if not block.living or not (near or block.left_for):
            return
        for manager, accepts in (block.managers or {}).items():
            if accepts:
                hold(manager)
                assert block.managers is not None
                block.managers[manager] = False
        block.workers = 0

    def _release_drained(self, block: Block, now: float) -> None:
        """End a block whose workers get no more trials and have none left."""
        bad = sorted(self.quarantined.intersection(block.hosts.values()))
        if not bad:
            left = f"its last trials have left it for {named('block', block.left_for)}" if block.left_for else ""
            self._release(block, left or "it gets no more trials, and none is left in it", now)
            return
        if len(block.hosts) < self.shapes[block.shape].pool.nodes_per_block and now - block.since < ASSEMBLY_TIME:
            return
        self._release(block, f"quarantined: {', '.join(bad)}", now)
        if block.unwanted and not self._excluding:  # the next one may be placed there as well
            self._misplaced += 1
            self._not_before = now + PAUSES[min(self._misplaced, len(PAUSES)) - 1]
            self._last_end = f"block {block.number} of pool {self.pool.name} was on {', '.join(bad)}, quarantined."

    def _release(self, block: Block, why: str, now: float) -> None:
        self.releaser.release(block, why, now)

    def on_signalled(self, manager: str) -> None:
        """A worker was told that its block is being ended. May be called from another thread.

        Args:
            manager: Parsl's id of its worker pool.
        """
        for block in self.blocks:
            if block.living and manager in block.hosts:
                block.signalled = True

    def _launch(self, further: Sequence[int], now: float) -> None:
        """Submit blocks of these shapes, as far as nothing speaks against it."""
        paid = self.shapes.paid(self.blocks, further)
        if self.shapes.unpaid:
            self.note = f"pool {self.pool.name}: the budget in node-hours pays for no further block"
        for number in paid:
            if self.failure:
                return
            if now < self._not_before:
                self._note_pause()
                return
            if self._misplaced >= LOSS_LIMIT:
                self._stop_submitting(f"{self._misplaced} blocks in a row were on quarantined hosts")
                return
            unseen = self._unseen_ends()
            if unseen >= 2 * self.pool.blocks.max + UNSEEN_LIMIT:
                self._stop_submitting(f"{unseen} blocks were submitted whose end only the scheduler reported")
                return
            if not self._submit(number, now):
                return

    def _note_pause(self) -> None:
        if self._away_since is not None:  # without the time of the next try, so that the sentence stays the same
            self.note = self._last_end
            return
        at = time.strftime("%H:%M:%S", time.localtime(self._not_before))
        self.note = f"next block at {at}. {self._last_end}"

    def _unseen_ends(self) -> int:
        """How many blocks were submitted whose end the driver has not seen itself."""
        return sum(not (block.end and (block.was_connected or block.released)) for block in self.blocks)

    def _stop_submitting(self, why: str) -> None:
        self.note = f"pool {self.pool.name}: {why}; no more are submitted. {self._last_end}"
        if not any(block.living for block in self.blocks):
            self.failure = f"{why}; no more are submitted. {self._last_end}"

    def _submit(self, shape: int, now: float) -> bool:
        number = str(len(self.blocks))
        name = self.provider.files(number).job_name
        nodes = self.shapes[shape].pool.nodes_per_block if len(self.shapes) > 1 else 0
        block = Block(number, "", now, shape=shape, node_count=nodes)
        try:
            self.job_log.submitting(name, self.pool.name, number)
        except SiteError as error:
            self._on_unwritable(str(error), now)
            return False
        try:
            block.job = self._submit_away_from_quarantined(number, self.shapes[shape].provider)
        except SubmitRefused as error:
            self.blocks.append(block)
            self._on_refused(block, error, now)
            return False
        except OSError as error:
            why = why_not(error, self.provider.files(number).folder)
            self._on_unwritable(f"the block's script cannot be written: {why}", now)
            return False
        self._unwritable_since = self._away_since = None
        self.blocks.append(block)
        log.info("block %s of pool %s is job %s", number, self.pool.name, block.job)
        self.job_log.submitted(name, self.pool.name, number, block.job, now)
        return True

    def _submit_away_from_quarantined(self, number: str, provider: BatchBlocks) -> str:
        """Submit a block that avoids quarantined hosts, or any hosts if the scheduler does not know their names."""
        provider.excluded = tuple(sorted(self.quarantined)) if self._excluding else ()
        try:
            return provider.submit(self.command(number), 1, number)
        except SubmitRefused as error:
            if error.transient or not provider.excluded:
                raise
            log.warning("blocks cannot avoid %s: %s", ", ".join(provider.excluded), error.words)
            provider.excluded = ()
            job = provider.submit(self.command(number), 1, number)
            self._excluding = False
            return job

    def _on_refused(self, block: Block, error: SubmitRefused, now: float) -> None:
        block.end, block.released = End.REFUSED, "refused"
        block.enter(Phase.ENDED, f"refused: {error.words}", now)
        self.job_log.ended(
            self.provider.files(block.number).job_name, self.pool.name, block.number, block.job, End.REFUSED
        )
        if error.away:
            self._on_no_answer(error, now)
            return
        self._away_since = None
        if not error.transient and self.shapes.refuse(block.shape, error.words):
            log.warning("pool %s: %s", self.pool.name, self.shapes.refusals)
            return
        self._failures += 1
        self._last_end = f"pool {self.pool.name}: {error}"
        self._not_before = now + PAUSES[min(self._failures, len(PAUSES)) - 1]
        log.warning("%s", self._last_end)
        if not error.transient and not any(each.living for each in self.blocks):
            self.failure = str(error)

    def _on_no_answer(self, error: SubmitRefused, now: float) -> None:
        """The scheduler does not answer: it is asked again for a time, and longer while there are blocks."""
        if self._away_since is None or self.job_log.answered > self._away_since:
            self._away_since = now
        patience = self.provider.site.patience
        until, waited = self._away_since + patience, now - self._away_since
        pause = min(AWAY_PAUSE, max(PAUSES[0], waited))
        self._not_before = min(now + pause, until) if now < until else now + pause
        log.warning("pool %s: %s", self.pool.name, error)
        if any(each.living for each in self.blocks):
            self._last_end = f"pool {self.pool.name}: {error}; it is asked again, and blocks that it has taken continue"
        elif now < until:
            at = time.strftime("%H:%M:%S", time.localtime(until))
            self._last_end = f"pool {self.pool.name}: {error}; it is asked again until {at} (patience in the site file)"
            self.note = self._last_end
        else:
            waited_for = f"{format_duration(patience)} (patience in the site file)"
            self.failure = f"the scheduler has not answered for {waited_for}: {error.words}"

    def _on_unwritable(self, why: str, now: float) -> None:
        """The job log or a block's script cannot be written: running blocks continue, no further one is submitted."""
        self._not_before = now + DISK_RETRY
        self._last_end = f"pool {self.pool.name}: {why}"
        if self._unwritable_since is None:
            self._unwritable_since = now
            log.warning("%s", self._last_end)
        self._note_pause()
        if now - self._unwritable_since >= DISK_PATIENCE and not any(each.living for each in self.blocks):
            self.failure = why

    # -- the end ------------------------------------------------------------------------------------------------------

    def cancel(self, now: float | None = None) -> list[str]:
        """End every block. Returns the ids of jobs that the scheduler did not end.

        One that it ends gives its nodes back at that moment, as far as the driver can know: at ``now`` (Unix seconds),
        by default the present.
        """
        left = self.releaser.end_all(self.blocks)
        for block in self.blocks:
            if block.end is None and block.job not in left:
                block.held.follow(Phase.ENDED, time.time() if now is None else now)
                block.given_back = True
        return left

    def charges(self) -> dict[str, PoolCharge]:
        """For how long its blocks have held their nodes, by the pool's name or by its shapes."""
        return self.shapes.charges(self.pool.name, self.blocks, over=bool(self.failure))

    def release_connected(self, why: str, now: float) -> None:
        """End the blocks that have connected: their workers know only the executor that was replaced.

        Queued blocks read the new executor's launch file when they start.
        """
        for block in self.blocks:
            if block.living and block.was_connected:
                self._release(block, why, now)

    def views(self, now: float) -> list[BlockView]:
        """The blocks to show to the user: those that have not ended, and those that ended lately.

        Of those that the scheduler did not take only the last one, since they are submitted again and again.
        """
        shown = [block for block in self.blocks if block.end is None or now - block.since < ENDED_SHOWN]
        refused = [block.number for block in shown if block.end == End.REFUSED]
        return [
            block.view(self.pool.name) for block in shown if block.end != End.REFUSED or block.number == refused[-1]
        ]


def _read_end(path: Path) -> float | None:
    try:
        return float(path.read_text().strip())
    except (OSError, ValueError):
        return None
