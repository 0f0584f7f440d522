"""The findings of an audit, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Severity = Literal["violation", "note"]

NAMED = 8
"""Most trials that a sentence lists by number."""


@dataclass(frozen=True)
class AuditFinding:
    """One finding.

    Attributes:
        severity: ``violation``: a result is lost, doubled or altered, or the database contradicts itself. ``note``:
            worth knowing, but nothing is wrong.
        what: One sentence.
        trial: Number of the trial that it is about, if it is about one.
        file: The file that it is about, if it is about one.
    """

    severity: Severity
    what: str
    trial: int | None = None
    file: str | None = None


@dataclass
class Audit:
    """The result of an audit.

    Attributes:
        study: The study's name.
        trials: Number of trials in the database.
        states: Number of trials in each state.
        outcomes: ``written``: number of outcome files that end an attempt or cannot be read; and how many of them had
            which fate (``outcomes.FATES``).
        artifacts: Of how many trials artifacts were found.
        findings: Violations and notes, in the order in which they were found.
        dead: Run directories of campaigns whose drivers have ended or died.
    """

    study: str
    trials: int = 0
    states: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    artifacts: int = 0
    findings: list[AuditFinding] = field(default_factory=list)
    dead: list[Path] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether there is no violation."""
        return not self.violations

    @property
    def violations(self) -> list[AuditFinding]:
        return [finding for finding in self.findings if finding.severity == "violation"]

    @property
    def notes(self) -> list[AuditFinding]:
        return [finding for finding in self.findings if finding.severity == "note"]

    def violation(self, what: str, trial: int | None = None, file: Path | str | None = None) -> None:
        """Add a violation."""
        self.findings.append(AuditFinding("violation", what, trial, str(file) if file else None))

    def note(self, what: str, trial: int | None = None, file: Path | str | None = None) -> None:
        """Add a note."""
        self.findings.append(AuditFinding("note", what, trial, str(file) if file else None))

    def to_json(self) -> dict[str, Any]:
        """The result for JSON. The keys do not change between versions."""
        return {
            "study": self.study,
            "trials": self.trials,
            "states": self.states,
            "outcomes": self.outcomes,
            "artifacts": self.artifacts,
            "findings": [asdict(finding) for finding in self.findings],
            "ok": self.ok,
        }


def list_trials(numbers: Sequence[int]) -> str:
    """Trials by number, for a sentence.

    >>> list_trials([3]), list_trials([3, 4, 7]), list_trials(range(10))
    ('trial 3', 'trials 3, 4 and 7', 'trials 0, 1, 2, 3, 4, 5, 6, 7 and 2 more')
    """
    if len(numbers) == 1:
        return f"trial {numbers[0]}"
    if len(numbers) > NAMED:
        return f"trials {', '.join(map(str, numbers[:NAMED]))} and {len(numbers) - NAMED} more"
    return f"trials {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
