"""What an audit finds, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Severity = Literal["violation", "note"]

NAMED = 8
"""Trials that a sentence names."""


@dataclass(frozen=True)
class AuditFinding:
    """Something that the auditor has to say.

    Attributes:
        severity: ``violation``: a promise is broken. ``note``: worth knowing, and nothing is wrong.
        what: One sentence.
        trial: The number of the trial that it is about.
        file: The file that it is about.
    """

    severity: Severity
    what: str
    trial: int | None = None
    file: str | None = None


@dataclass
class Audit:
    """What was found.

    Attributes:
        study: Its name.
        trials: How many the database has.
        states: How many of each state.
        outcomes: ``written``, how many outcome files there are that end an attempt or that nobody can read; and how
            many of them had which fate (``outcomes.FATES``).
        dead: Run directories of campaigns whose drivers have ended or died.
    """

    study: str
    trials: int = 0
    states: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    findings: list[AuditFinding] = field(default_factory=list)
    dead: list[Path] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.violations

    @property
    def violations(self) -> list[AuditFinding]:
        return [finding for finding in self.findings if finding.severity == "violation"]

    @property
    def notes(self) -> list[AuditFinding]:
        return [finding for finding in self.findings if finding.severity == "note"]

    def violation(self, what: str, trial: int | None = None, file: Path | str | None = None) -> None:
        self.findings.append(AuditFinding("violation", what, trial, str(file) if file else None))

    def note(self, what: str, trial: int | None = None, file: Path | str | None = None) -> None:
        self.findings.append(AuditFinding("note", what, trial, str(file) if file else None))

    def to_json(self) -> dict[str, Any]:
        """Stable keys."""
        return {
            "study": self.study,
            "trials": self.trials,
            "states": self.states,
            "outcomes": self.outcomes,
            "findings": [asdict(finding) for finding in self.findings],
            "ok": self.ok,
        }


def named(numbers: Sequence[int]) -> str:
    """``trial 3``, ``trials 3, 4 and 7``, ``trials 3, 4, ... and 90 more``."""
    if len(numbers) == 1:
        return f"trial {numbers[0]}"
    if len(numbers) > NAMED:
        return f"trials {', '.join(map(str, numbers[:NAMED]))} and {len(numbers) - NAMED} more"
    return f"trials {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
