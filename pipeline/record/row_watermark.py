"""Tracks up to which primary keys all rows of the database have been read."""

from __future__ import annotations

from collections import deque


class RowWatermark:
    """The primary keys above which rows may be new.

    PostgreSQL counts a key up when a row is written, but shows the row only when its transaction ends. So a read may
    miss rows below the highest key that it sees: those of transactions that are still in progress. Everything below the
    highest key of an *earlier* read has been seen as soon as no transaction in progress is older than that read.
    """

    _WIDTH = 32
    """Most reads to wait for an old transaction. One that lasts longer would make each read fetch again all rows since
    it began, so its rows are left to the next full rescan."""

    def __init__(self) -> None:
        self._reads: deque[tuple[int, tuple[int, ...]]] = deque()

    @property
    def floor(self) -> tuple[int, ...] | None:
        """The keys above which rows may be new, one for each of ``statements.PARTS``; None before the first read."""
        return self._reads[0][1] if self._reads else None

    def add(self, oldest: int, following: int, highest: tuple[int, ...]) -> None:
        """Record a read.

        Args:
            oldest: The oldest transaction in progress at that time.
            following: The id that the next transaction would get.
            highest: The highest key of each part.
        """
        self._reads.append((following, highest))
        while len(self._reads) > 1 and (self._reads[1][0] <= oldest or len(self._reads) > self._WIDTH):
            self._reads.popleft()

    def reset(self) -> None:
        """Forget all reads, because keys were used again: any row may be new."""
        self._reads.clear()
