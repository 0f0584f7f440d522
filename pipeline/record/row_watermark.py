"""Where the rows begin that a look at a database may not have seen."""

from __future__ import annotations

from collections import deque


class RowWatermark:
    """Up to which primary keys all rows were seen.

    PostgreSQL counts a key up when a row is written, and shows the row when its transaction ends: a look may miss rows
    below the highest key. Those belong to transactions that were in progress then, so everything below the highest key
    of an earlier look is seen, if no transaction in progress is older than that look.
    """

    _WIDTH = 32  # looks; a transaction that lasts longer would have all rows since its beginning read at each

    def __init__(self) -> None:
        self._looks: deque[tuple[int, tuple[int, ...]]] = deque()

    @property
    def floor(self) -> tuple[int, ...] | None:
        """Keys above which rows may be new, by part; None before the first look."""
        return self._looks[0][1] if self._looks else None

    def note(self, oldest: int, following: int, marks: tuple[int, ...]) -> None:
        """There was a look: the highest keys, the oldest transaction in progress, the one that would come next."""
        self._looks.append((following, marks))
        while len(self._looks) > 1 and (self._looks[1][0] <= oldest or len(self._looks) > self._WIDTH):
            self._looks.popleft()

    def void(self) -> None:
        self._looks.clear()
