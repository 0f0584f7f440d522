"""What happened in a campaign, as sentences with their times: what its status says is compared with what it said."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from ...studies.block_table import quarantine_lines
from ...studies.failures import failure_line
from ...studies.harmless import harmless

if TYPE_CHECKING:
    from ...driver.status import Status

KEPT = 200
"""Most sentences that are kept."""

NUMBERS = re.compile(r"\d[\d.,hms ]*")
"""What changes in a sentence while it says the same: ``database unreachable for 12 s``."""


class MessageLog:
    """Collects the sentences of one campaign after the other, each once.

    Attributes:
        lines: The sentences with their times, oldest first.
        count: How many there have been.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.count = 0
        self._said: set[tuple[str, str]] = set()
        self._current: dict[str, str] = {}

    def add(self, sentence: str, moment: float | None = None) -> None:
        """Add a sentence of this moment (Unix seconds; default: now)."""
        at = time.strftime("%H:%M:%S", time.localtime(moment))
        self.lines.append(f"{at} {harmless(sentence).replace(chr(10), ' ')}")
        self.count += 1
        del self.lines[:-KEPT]

    def update(self, status: Status) -> None:
        """Add what is new in a status."""
        failure = status.last_failure
        sentences = [
            *(f"note: {note}" for note in status.notes),
            *quarantine_lines(status),
            *([failure_line(failure, status.host)] if failure else []),
            *(f"warning: {warning}" for warning in status.warnings),
        ]
        for sentence in sentences:
            if (status.campaign, sentence) not in self._said:
                self._said.add((status.campaign, sentence))
                self.add(sentence, status.updated)
        self._follow("message", status.message, status.updated, "solved: {}")
        self._follow("stopping", status.stopping, status.updated)
        self._follow("waiting", status.waiting and f"waiting: {status.waiting}", status.updated)

    def _follow(self, key: str, sentence: str, moment: float, over: str = "") -> None:
        """Add a sentence that holds for a while, when it begins, and when it is over."""
        before = self._current.get(key, "")
        if sentence and NUMBERS.sub("", sentence) != NUMBERS.sub("", before):
            self.add(sentence, moment)
        elif over and before and not sentence:
            self.add(over.format(before), moment)
        self._current[key] = sentence
