"""One attempt on a simulated worker, and the steps that a simulated objective makes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...pipeline.trial.protocol import AttemptSpec, Outcome, OutcomeKind
from ...pipeline.trial.report_log import ReportWriter
from ...pipeline.worker.dialogue import Dialogue
from ..blocks.block import Block


@dataclass(frozen=True)
class Wish:
    """A step at which an objective that defines its space as it runs asks for a parameter.

    Attributes:
        name: The parameter's.
        distribution: Optuna's JSON.
    """

    name: str
    distribution: str


@dataclass(frozen=True)
class Question:
    """A step at which an objective asks about its study, or changes it (see :class:`.protocol.Query`)."""

    what: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Note:
    """A step at which an objective sets an attribute of its trial."""

    key: str
    value: Any
    system: bool = False


Step = tuple[float, float | Wish | Question | Note | None]
"""Seconds until the step is done, and what it is: a value to report, something to ask for or to note, or None for the
end.

The trial's final value is the last one reported.
"""

Objective = Callable[[AttemptSpec], Iterator[Step]]
"""Makes an attempt's steps; the same for all attempts of a trial."""


@dataclass
class Attempt:
    """A running attempt, as its worker knows it.

    Attributes:
        spec: What the driver submitted.
        steps: What the objective will still do.
        started: When it began, on the worker's clock.
        block: Where the worker is; None in a pool without blocks.
        host: Where the worker is.
        carried: Reports of earlier attempts that the driver did not hear.
        log: Where its reports are written before they are sent; None in a pool without logs.
        dialogue: The conversation with the driver, by the same rules as on a real worker.
        step: Steps done, those of earlier attempts included.
        value: The last one's.
        yielding: The attempt was asked to yield because its block ends, or by the driver; it ends at its next report.
        hangs: It was to yield and does not: it takes no further step.
        immortal: It hangs, and does not end when it is killed.
        over: It has ended; nothing that is still scheduled for it happens.
        wake_at: When the pool will let the conversation go on if nothing happens before.
        artifacts: Bytes of what it has kept, by name; for its outcome.
    """

    spec: AttemptSpec
    steps: Iterator[Step]
    started: float
    block: Block | None
    host: str
    carried: Sequence[Sequence[float]] = ()
    log: ReportWriter | None = None
    dialogue: Dialogue = field(init=False)
    step: int = 0
    value: float = 0.0
    yielding: bool = False
    hangs: bool = False
    immortal: bool = False
    over: bool = False
    wake_at: float = math.inf
    artifacts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.dialogue = Dialogue(self.spec.token, self.carried)

    def outcome(self, kind: OutcomeKind, finished: float) -> Outcome:
        """The outcome that the worker writes; ``finished`` is on the worker's clock."""
        return Outcome(
            token=self.spec.token,
            number=self.spec.number,
            attempt=self.spec.attempt,
            kind=kind,
            values=[self.value] * self.spec.n_values if kind == "complete" else None,
            failure="exception" if kind == "failed" else "",
            reason="the objective raised" if kind == "failed" else "",
            user_attrs=dict(self.dialogue.attributes.user),
            system_attrs=dict(self.dialogue.attributes.system),
            reports=self.dialogue.reports,
            artifacts=dict(self.artifacts) if kind == "complete" else {},
            host=self.host,
            started=self.started,
            finished=finished,
        )
