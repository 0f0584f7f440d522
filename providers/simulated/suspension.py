"""Holds back what the workers of suspended blocks would do until their blocks go on."""

from __future__ import annotations

from collections.abc import Callable

from ..blocks.block import Block
from ..schedulers.jobs import Phase


class Suspension:
    """What the workers of suspended blocks will do, in order.

    A process that its scheduler has stopped neither computes nor reads its messages; timers that expire meanwhile fire
    as soon as it goes on.
    """

    def __init__(self) -> None:
        self._held: dict[str, list[Callable[[], None]]] = {}

    def do(self, block: Block | None, what: Callable[[], None]) -> None:
        """A worker of ``block`` does something: now, or when its block goes on."""
        if is_suspended(block):
            assert block is not None
            self._held.setdefault(block.number, []).append(what)
        else:
            what()

    def resume(self, block: Block) -> None:
        """The block goes on: its workers do what they would have done."""
        for what in self._held.pop(block.number, []):
            what()


def is_suspended(block: Block | None) -> bool:
    """Whether the scheduler has stopped the block for a while."""
    return block is not None and block.end is None and block.phase == Phase.SUSPENDED
