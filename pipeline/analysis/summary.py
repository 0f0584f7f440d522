"""Summarizes a study: counts of trials, where they were pruned, why they failed, and the best one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .best import best_trials, certainty
from .costs import StudyCost, study_cost
from .reading import StudyData
from .tables import Row, rows

if TYPE_CHECKING:
    from ..noise.bounds import CautiousBest


@dataclass(frozen=True)
class Summary:
    """Counts over the whole study, all its campaigns together.

    Attributes:
        study: The study's name.
        total: Number of trials.
        complete: Trials in this state; ``pruned``, ``failed``, ``running``, ``interrupted``, ``paused`` and ``waiting``
            likewise.
        rungs: Number of trials pruned at each step, by ascending step.
        failures: Number of failed trials of each kind (exception, signal, timeout, ...), most frequent first.
        best: The best trial, or the Pareto front.
        certainty: How sure the best trial is; None where trials were not repeated.
        metrics: The objectives' names.
        directions: ``minimize`` or ``maximize`` for each objective.
        seconds: Run time of all trials, added up.
        cost: What the study cost in node-hours; None where that is not known.
    """

    study: str
    total: int
    complete: int
    pruned: int
    failed: int
    running: int
    interrupted: int
    paused: int
    waiting: int
    rungs: Mapping[int, int]
    failures: Mapping[str, int]
    best: tuple[Row, ...]
    metrics: tuple[str, ...]
    directions: tuple[str, ...]
    seconds: float
    certainty: CautiousBest | None = None
    cost: StudyCost | None = None

    def as_dict(self) -> dict[str, Any]:
        """The summary for JSON. The keys do not change between versions."""
        states = ("complete", "pruned", "failed", "running", "interrupted", "paused", "waiting")
        plain = ("study", "total", *states, "seconds")
        return {
            **{name: getattr(self, name) for name in plain},
            "metrics": list(self.metrics),
            "directions": list(self.directions),
            "rungs": {str(step): count for step, count in self.rungs.items()},
            "failures": dict(self.failures),
            "best": [row.as_dict() for row in self.best],
            "certainty": certainty_json(self.certainty),
            "cost": self.cost.as_dict() if self.cost else None,
        }


def summarize(data: StudyData, items: Sequence[Row] | None = None) -> Summary:
    """The summary of a study. ``items``: its trials as rows, where they are known already."""
    items = rows(data) if items is None else items
    states = Counter(row.state for row in items)
    rungs = Counter(row.rung for row in items if row.state == "pruned" and row.rung is not None)
    failures = Counter(row.exit for row in items if row.state == "failed")
    return Summary(
        study=data.name,
        total=len(items),
        complete=states["complete"],
        pruned=states["pruned"],
        failed=states["failed"],
        running=states["running"],
        interrupted=states["interrupted"],
        paused=states["paused"],
        waiting=states["waiting"],
        rungs=dict(sorted(rungs.items())),
        failures=dict(failures.most_common()),
        best=tuple(best_trials(data)),
        metrics=data.metrics,
        directions=data.directions,
        seconds=sum(row.seconds or 0.0 for row in items),
        certainty=certainty(data),
        cost=study_cost(data),
    )


def certainty_json(found: CautiousBest | None) -> dict[str, Any] | None:
    """How sure the best trial is, for JSON."""
    return None if found is None else {"interval": [found.low, found.high], "alike": list(found.alike)}
