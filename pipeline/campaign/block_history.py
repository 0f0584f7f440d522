"""Keeps when each block of a campaign was submitted, began, got its workers and ended, for the study's record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .events import BlockView

PART = 100
"""Blocks in one attribute, so that a change does not write all blocks of a long campaign again."""


@dataclass
class _Times:
    place: int  # among all blocks, from 0
    view: BlockView
    queued: float
    started: float | None = None
    joined: float | None = None
    ended: float | None = None
    workers: int = 0


class BlockHistory:
    """All blocks that a campaign has seen.

    Example::

        history = BlockHistory()
        history.see(event.blocks, now=1.8e9)
        history.changed(nodes_of=lambda pool: 1)  # {0: [["gpu", "0", "4711", 1.8e9, None, None, 0, 1, "", None]]}
    """

    def __init__(self) -> None:
        self._blocks: dict[tuple[str, str], _Times] = {}
        self._dirty: set[int] = set()

    def see(self, views: Sequence[BlockView], now: float) -> None:
        """Take over the states of blocks at this moment (Unix seconds)."""
        for view in views:
            known = self._blocks.get((view.pool, view.block))
            if known is not None and known.view == view:
                continue
            if known is None:
                known = self._blocks[view.pool, view.block] = _Times(len(self._blocks), view, view.since)
            known.view, known.workers = view, max(known.workers, view.workers)
            if view.state not in ("queued", "ended") and known.started is None:
                known.started = view.since
            if view.began is not None:
                known.started = view.began
            if view.workers and known.joined is None:
                known.joined = now
            if view.state == "ended":
                known.ended = view.since if view.left is None else view.left
            self._dirty.add(known.place // PART)

    def changed(self, nodes_of: Callable[[str], int]) -> dict[int, list[list[Any]]]:
        """The parts with blocks that have changed since the last call, as in ``attributes.BLOCKS``.

        ``nodes_of``: the nodes of a block of a pool whose blocks are all alike.
        """
        everything = list(self._blocks.values())
        parts = {part: everything[part * PART : (part + 1) * PART] for part in sorted(self._dirty)}
        self._dirty.clear()
        return {part: [_row(block, nodes_of) for block in blocks] for part, blocks in parts.items()}


def _row(block: _Times, nodes_of: Callable[[str], int]) -> list[Any]:
    view = block.view
    moments = (block.queued, block.started, block.ended, block.joined)
    *times, joined = (None if each is None else round(each, 3) for each in moments)
    why = view.reason if view.state == "ended" else ""
    return [view.pool, view.block, view.job, *times, block.workers, view.nodes or nodes_of(view.pool), why, joined]
