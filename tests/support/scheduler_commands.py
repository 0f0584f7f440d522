"""Fakes a scheduler's commands for tests of its provider."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pilotune.providers.schedulers.commands import Answer


class Commands:
    """Records the commands that are run in ``ran``, and answers each with the next of ``answers``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, scheduler: str):
        self.ran: list[list[str]] = []
        self.answers: list[Answer] = []
        for module in (scheduler, "batch"):
            monkeypatch.setattr(f"pilotune.providers.schedulers.{module}.run", self.run)

    def run(self, argv: Sequence[str], timeout: float = 0.0, folder: Path | None = None, without: str = "") -> Answer:
        self.ran.append(list(argv))
        return self.answers.pop(0)
