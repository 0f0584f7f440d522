"""What goes wrong in a simulated pool, what its workers leave on disk, and a record of what they really did."""

from __future__ import annotations

from dataclasses import dataclass

from ...pipeline.trial.protocol import AttemptSpec, Outcome
from ..blocks.packed_node import NodeRoom, Placement


@dataclass(frozen=True)
class Faults:
    """Probabilities of faults; all zero is a perfect machine.

    Attributes:
        lose: At each step: the attempt's worker dies. The pool notices ``notice`` seconds later.
        mute: Of each report: the attempt's worker dies after the report was made and before it was sent.
        late: Of a lost attempt: its outcome arrives after it was declared lost.
        twice: Of each message or outcome: it is delivered twice, the second time up to ``delay`` seconds later.
        drop: Of each request, and of each answer: it is lost on the way. The worker sends the request again.
        fail: At each step: the attempt ends with an exception.
        shuffle: Events that are ready together are delivered in random order.
        notice: Seconds until the pool notices a dead worker.
        delay: Most seconds until a duplicate is delivered.
        linger: Seconds that workers run on when their driver has died.
        begin: Workers of a dead driver also begin what was submitted before.
        deaf: Of each attempt that the driver asks to yield: it does not hear that, and neither reports nor ends any
            more; half of these cannot be killed either, as an objective in the worker's own process.
    """

    lose: float = 0.0
    mute: float = 0.0
    late: float = 0.0
    twice: float = 0.0
    drop: float = 0.0
    fail: float = 0.0
    shuffle: bool = False
    notice: float = 5.0
    delay: float = 0.0
    linger: float = 0.0
    begin: bool = False
    deaf: float = 0.0


class Disk:
    """The trials' checkpoints, which survive attempts and drivers; only a trial's latest attempt can write them.

    Args:
        every: Steps between two checkpoints; 0: one is saved only when an attempt yields.

    Attributes:
        saved: Steps in each trial's checkpoint, by trial number.

    Raises:
        ValueError: A step is computed twice although no checkpoint was lost in between, or one is left out.
    """

    def __init__(self, every: int = 0):
        self.every = every
        self.saved: dict[int, int] = {}
        self._computed: dict[int, int] = {}
        self._owner: dict[int, int] = {}  # the attempt that may write the checkpoint
        self._running: set[int] = set()

    def begin(self, number: int, attempt: int, since: int = 1) -> int:
        """An attempt begins; returns how many steps its checkpoint has, 0 for an attempt that was overtaken.

        ``since``: The attempt with which this repetition of the trial began, with an empty checkpoint.
        """
        if attempt < self._owner.get(number, 0):
            return 0
        if self._owner.get(number, since) < since:
            self.saved[number] = self._computed[number] = 0
        if number in self._running:  # an earlier attempt still runs, but no longer counts
            self._computed[number] = self.saved.get(number, 0)
        self._owner[number] = attempt
        self._running.add(number)
        return self.saved.get(number, 0)

    def compute(self, number: int, attempt: int, step: int) -> None:
        """An attempt has done a step; ignored for one that was overtaken. Raises ValueError."""
        if attempt != self._owner.get(number):
            return
        if step != self._computed.get(number, 0) + 1:
            raise ValueError(f"step {step} of trial {number} is computed after {self._computed.get(number, 0)}")
        self._computed[number] = step
        if self.every and step % self.every == 0:
            self.save(number, attempt)

    def save(self, number: int, attempt: int) -> None:
        """An attempt saves a checkpoint; ignored for one that was overtaken."""
        if attempt == self._owner.get(number):
            self.saved[number] = self._computed.get(number, 0)

    def give(self, number: int, steps: int) -> None:
        """A trial that has not begun gets the checkpoint of another, which holds ``steps``."""
        self.saved[number] = self._computed[number] = steps

    def lose(self, number: int, attempt: int) -> None:
        """The steps after the last checkpoint are lost."""
        if attempt == self._owner.get(number):
            self._computed[number] = self.saved.get(number, 0)

    def leave(self, number: int, attempt: int, *, lost: bool) -> None:
        """The attempt has ended. ``lost``: without saving what it did since the last checkpoint."""
        if lost:
            self.lose(number, attempt)
        if attempt == self._owner.get(number):
            self._running.discard(number)


class Witness:
    """Records what workers really do, whether or not a driver learns of it; several pools may share one.

    Attributes:
        begun: Attempts that a worker has begun, in order.
        unbegun: Attempts whose worker died before it began or declined them.
        reports: Step and value of each report, by the attempt's token.
        outcomes: Every outcome that a worker has written.
        declined: How many attempts were declined.
    """

    def __init__(self) -> None:
        self.begun: list[AttemptSpec] = []
        self.unbegun: list[AttemptSpec] = []
        self.reports: dict[str, list[tuple[int, float]]] = {}
        self.outcomes: list[Outcome] = []
        self.declined = 0

    def came(self, room: NodeRoom) -> None:
        """A node accepts attempts. This and what follows only in a pool that packs attempts on nodes."""

    def went(self, name: str) -> None:
        """A node accepts no more attempts."""

    def waits(self, spec: AttemptSpec) -> None:
        """An attempt waits for room on a node."""

    def placed(self, spec: AttemptSpec, placement: Placement) -> None:
        """An attempt begins on a node."""

    def freed(self, token: str) -> None:
        """An attempt is over; what it took of its node is free, if it had begun."""

    def began(self, spec: AttemptSpec) -> None:
        """A worker has begun an attempt."""
        self.begun.append(spec)

    def said(self, spec: AttemptSpec, step: int, value: float) -> None:
        """An attempt has reported."""
        self.reports.setdefault(spec.token, []).append((step, value))

    def wrote(self, spec: AttemptSpec, outcome: Outcome) -> None:
        """A worker has written ``outcome`` to the trial's folder; no driver has received it yet."""
        self.outcomes.append(outcome)
