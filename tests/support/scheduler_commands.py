"""Stands for a scheduler's commands in tests of what is submitted, asked and understood."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pilotune.providers.schedulers.commands import Answer


class Commands:
    """Notes what is run, and gives the next of ``answers`` to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, scheduler: str):
        self.ran: list[list[str]] = []
        self.answers: list[Answer] = []
        for module in (scheduler, "batch"):
            monkeypatch.setattr(f"pilotune.providers.schedulers.{module}.run", self.run)

    def run(self, argv: Sequence[str], timeout: float = 0.0, folder: Path | None = None, without: str = "") -> Answer:
        self.ran.append(list(argv))
        return self.answers.pop(0)
