"""The blocks of one executor: started, judged when they end, replaced while there is reason to hope."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from parsl.executors.high_throughput.errors import CommandClientBadError, CommandClientTimeoutError

if TYPE_CHECKING:
    from .htex import Executor

log = logging.getLogger(__name__)

BAD_BLOCKS_IN_A_ROW = 3
"""Blocks that may die one after the other without an attempt's end between them; then it is not chance any more."""

LAST_LINES = 5


class Blocks:
    """Keeps ``wanted`` blocks of a Parsl executor alive.

    Args:
        executor: Started, with no block yet.
        wanted: Blocks to keep.
    """

    def __init__(self, executor: Executor, wanted: int):
        self.executor, self.wanted = executor, wanted
        self._bad = 0
        self._judged: set[str] = set()
        self._met: set[str] = set()  # blocks whose workers have connected

    def start(self) -> None:
        self.executor.scale_out_facade(self.wanted)

    def progress(self) -> None:
        """An attempt came to its end: the machine works."""
        self._bad = 0

    def look(self) -> tuple[int, str]:
        """How many workers are connected, and why nothing can go on any more (or nothing)."""
        if not self.executor.interchange_alive:
            return 0, "Parsl's interchange died"
        if self.executor.bad_state_is_set:
            return 0, str(self.executor.executor_exception)
        workers = 0
        try:
            managers = self.executor.connected_managers()
        except (CommandClientTimeoutError, CommandClientBadError):
            return 0, "Parsl's interchange does not answer"
        for manager in managers:
            self._met.add(str(manager["block_id"]))
            if manager["active"] and not manager["draining"]:
                workers += manager["worker_count"]
        return workers, self._judge()

    def _judge(self) -> str:
        states = dict(self.executor.status_facade)
        for block, status in states.items():
            if status.terminal and block not in self._judged:
                self._judged.add(block)
                self._bad += 1
                log.warning("block %s ended (%s). %s", block, status.state.name, _words(status))
                if block not in self._met:
                    return f"block {block} ended before any worker could reach the driver. {_words(status)}"
        if self._bad >= BAD_BLOCKS_IN_A_ROW:
            last = states[max(self._judged, key=int)]
            return f"{self._bad} blocks ended one after the other before an attempt did. {_words(last)}"
        alive = sum(not status.terminal for status in states.values())
        if alive < self.wanted:
            self.executor.scale_out_facade(self.wanted - alive)
        return ""

    def cancel(self) -> None:
        """End every block."""
        self.executor.scale_in_facade(len(self.executor.status_facade))

    def shut_down(self) -> None:
        """End every block and the executor; for when Parsl's own clean-up would wait for a dead interchange."""
        self.cancel()
        if self.executor.interchange_alive:
            self.executor.shutdown()


def _words(status: Any) -> str:
    """What the block itself said last."""
    text = (status.stderr or "").strip() or (status.message or "").strip()
    if not text:
        return "It said nothing."
    return "Its last words: " + " | ".join(text.splitlines()[-LAST_LINES:])
