"""A real `pilotune.Trial` without a driver behind it, to call objectives directly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pilotune import Trial
from pilotune.pipeline.trial.protocol import AttemptSpec


class Script:
    """The other end of the trial's link: keeps what is reported and says stop at ``prune_at``."""

    def __init__(self, prune_at: int | None = None, values: dict[str, Any] | None = None):
        self.prune_at, self.values = prune_at, values or {}
        self.reports: list[tuple[int, float]] = []
        self.attrs: dict[str, Any] = {}

    def report(self, step: int, value: float) -> str:
        self.reports.append((step, value))
        return "prune" if self.prune_at is not None and step >= self.prune_at else ""

    def suggest(self, name: str, distribution: str) -> Any:
        return self.values[name]

    def set_attr(self, key: str, value: Any) -> None:
        self.attrs[key] = value

    def yield_asked(self) -> bool:
        return False


def make_trial(folder: Path, params: dict[str, Any], link: Script | None = None, **spec: Any) -> Trial:
    """A trial with ``params`` whose checkpoints go to ``folder``."""
    fields = {"token": "0.1.c", "study": "s", "number": 0, "attempt": 1, "seed": 1, "n_values": 1, **spec}
    attempt = AttemptSpec(params=params, defines_space=not params, directory=str(folder), **fields)
    return Trial(attempt, folder, link or Script())  # type: ignore[arg-type]
