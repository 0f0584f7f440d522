"""Follows the block that ``pilotune site check`` sent to a pool, until its workers have been probed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...grammar import count
from ..blocks.block import Block
from ..blocks.end_cause import last_lines
from ..htex.pool import ParslPool
from ..schedulers.batch import BlockFiles
from ..schedulers.jobs import End, Phase
from .facts import Facts
from .findings import NEVER
from .probe import probe

START_LIMIT, GATHER_LIMIT, PROBE_LIMIT, MARKER_LIMIT = 180.0, 60.0, 120.0, 10.0
"""Seconds from a block's start to its first worker; from that to its last worker; for the probes to return; and for a
file to become visible on another host, which takes a while on NFS."""

HOLD, HOLDS = 1.0, 3
"""Least seconds that a probe takes, so that every worker gets one; and how often probes are repeated, with three times
as many seconds each, while a node got none."""


@dataclass(frozen=True)
class ProbeLimits:
    """How long the blocks of a check may take.

    Attributes:
        walltime: Longest walltime of a block, in seconds.
        wait: Longest time that a block is waited for in the queue, in seconds.
    """

    walltime: float = 600.0
    wait: float = 600.0


Notify = Callable[[str], None]
"""Called with a sentence about the progress of a check."""


class ProbeWatch:
    """Follows the block of one pool from its submission until its workers have been probed.

    :meth:`refresh` is called again and again until ``over`` is true. The block is ended then.

    Args:
        pool: Runs the block.
        facts: Where to note what is found; its ``pool`` is the one to follow.
        limits: How long the block may take.
        notify: Called with a sentence for each step.

    Attributes:
        facts: What has been found.
        over: Whether the block is done with.
    """

    def __init__(self, pool: ParslPool, facts: Facts, limits: ProbeLimits, notify: Notify):
        self.pool, self.name, self.facts, self.limits, self.notify = pool, facts.pool.name, facts, limits, notify
        self.managed = pool.monitor.pools[self.name]
        self.blocks = self.managed.blocks
        self.over = False
        self._submitted = self._running = self._connected_since = 0.0
        self._futures: list[Future[Any]] = []
        self._asked = self._due = 0.0
        self._holds = 0
        self._last_message = ""

    def failed(self, reason: str) -> None:
        """The pool as a whole cannot continue."""
        if not self.blocks.blocks:
            self._finish(reason)

    def refresh(self, now: float) -> None:
        """Note the state of the block, and take the next step."""
        if not self.blocks.blocks:
            return
        block = self.blocks.blocks[0]
        self.facts.job, self.facts.reason = block.job, block.reason
        self._submitted = self._submitted or now
        if block.phase != Phase.QUEUED or block.was_connected:
            self._running = self._running or now
        self.facts.broken = self.managed.broken
        if block.end is not None:
            self._gone(block)
        elif self.managed.dropped or (self.managed.broken and not block.was_connected):
            self._note_start()
            self._finish(self.blocks.failure or self.managed.broken)
        elif self._futures:
            self._probing(now)
        elif block.managers:
            self._gathering(block, now)
        elif self._running:
            self._starting(now)
        else:
            self._queued(block, now)

    # -- stage by stage -----------------------------------------------------------------------------------------------

    def _queued(self, block: Block, now: float) -> None:
        self._say(f"job {block.job} is queued{f': {block.reason}' if block.reason else ''}")
        self.facts.wait = now - self._submitted
        if self.facts.wait > self.limits.wait or NEVER in block.reason:
            self._finish()

    def _starting(self, now: float) -> None:
        self._say(f"job {self.facts.job} runs; its workers start")
        self._note_start()
        if now - self._running > START_LIMIT:
            self._finish(f"no worker has registered within {START_LIMIT:.0f} s of the block's start")

    def _gathering(self, block: Block, now: float) -> None:
        self._connected_since = self._connected_since or now
        self._note_start()
        self.facts.nodes, self.facts.workers = len(block.managers or {}), block.workers
        enough = self.facts.nodes >= self.facts.pool.nodes_per_block and block.workers
        if enough or now - self._connected_since > GATHER_LIMIT:
            self.facts.words = last_lines(self._files.stderr)
            self._probe(now)

    def _probe(self, now: float) -> None:
        """Send a probe for each worker. A probe keeps its worker busy, so that the others get one each."""
        self._say(
            f"{count(self.facts.workers, 'worker')} registered on {count(self.facts.nodes, 'node')}; probing them"
        )
        hold = HOLD * 3**self._holds
        self._holds += 1
        self._due = now + hold + PROBE_LIMIT
        self._futures = [
            self.pool.call(self.name, probe, self._request(hold)) for _ in range(max(1, self.facts.workers))
        ]
        for future in self._futures:
            future.add_done_callback(lambda _: self.pool.wake())

    def _request(self, hold: float) -> dict[str, Any]:
        return {
            "token": f"{self.name}-{secrets.token_hex(8)}",
            "scheduler": self.facts.scheduler,
            "gpu_type": self.facts.pool.gpu_type,
            "url": self.pool.channel.address.url,
            "key_file": self.pool.channel.address.key_file,
            "folder": self.facts.folder,
            "marker": self.facts.marker,
            "hold": hold,
        }

    def _probing(self, now: float) -> None:
        if not all(future.done() for future in self._futures):
            if now > self._due:
                self.facts.errors.append(f"not all workers have answered within {PROBE_LIMIT:.0f} s")
                self._collect()
                self._finish()
            return
        if self._asked == 0.0:
            self._collect()
            seen = {each["manager"] for each in self.facts.probes}
            if len(seen) < self.facts.nodes and self._holds < HOLDS and not self.facts.errors:
                self._probe(now)
                return
            self._asked = now
        wrote = [each["folder"]["wrote"] for each in self.facts.probes if each["folder"]["wrote"]]
        self.facts.seen = [name for name in wrote if _holds_its_name(Path(self.facts.folder, name))]
        if len(self.facts.seen) == len(wrote) or now > self._asked + MARKER_LIMIT:
            self._finish()

    def _collect(self) -> None:
        for future in self._futures:
            error = future.exception() if future.done() else None
            if error is not None:
                self.facts.errors.append(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
            elif future.done():
                self.facts.probes.append(future.result())

    def _gone(self, block: Block) -> None:
        """The block has ended before it was probed."""
        if block.end == End.REFUSED:
            self.facts.refused = block.reason.removeprefix("refused: ")
            self._finish()
            return
        started = block.was_connected or self._files.end.exists() or block.end != End.CANCELLED
        if NEVER in block.reason or not started:
            self._finish(f"it ended in the queue ({block.reason or block.end})")
            return
        self._note_start()
        self.facts.words = last_lines(self._files.stderr)
        reason = block.reason.removeprefix(str(block.end)).removeprefix(": ")
        self._finish(f"the block ended{f' ({reason})' if reason else ''}")

    # -- notes --------------------------------------------------------------------------------------------------------

    @property
    def _files(self) -> BlockFiles:
        return self.blocks.provider.files(self.blocks.blocks[0].number)

    def _note_start(self) -> None:
        """Note how long the block was queued: from its own record of its start, or else from what was observed."""
        block = self.blocks.blocks[0]
        begun = self._running or time.time()
        if block.ends is not None:
            begun = min(begun, block.ends - self.blocks.provider.walltime_seconds)
        self.facts.waited = max(0.0, begun - self._submitted)
        self.facts.set_up = bool(block.was_connected) or self._files.end.exists()

    def _say(self, text: str) -> None:
        if text != self._last_message:
            self._last_message = text
            self.notify(f"pool {self.name}: {text}")

    def _finish(self, trouble: str = "") -> None:
        """End the block; blocks of other pools may still be followed."""
        if trouble:
            self.facts.trouble = trouble
        if trouble and self.facts.nodes and not self.facts.probes:
            self.facts.errors.append(trouble)
        if self.facts.waited is not None and not self.facts.words:
            self.facts.words = last_lines(self._files.stderr)
        self.over = True
        self.blocks.cancel()


def _holds_its_name(path: Path) -> bool:
    try:
        return path.read_text(encoding="utf-8") == path.name
    except OSError:
        return False
