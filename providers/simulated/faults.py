"""What goes wrong in a simulated pool, what its workers leave on their disks, and what really happened there."""

from __future__ import annotations

from dataclasses import dataclass

from ...pipeline.trial.protocol import AttemptSpec, Outcome


@dataclass(frozen=True)
class Faults:
    """How often things go wrong, as probabilities; all zero is a perfect machine.

    Attributes:
        lose: An attempt's worker dies at a step; the pool says so ``notice`` seconds later.
        late: A lost attempt's outcome arrives all the same, after it was declared lost.
        twice: A message or an outcome is delivered twice, the second time ``delay`` seconds later at most.
        drop: The answer to a message is lost; the worker sends it again.
        fail: An attempt ends with an exception.
        shuffle: Events that are ready together are handed over in random order.
        notice: Seconds.
        delay: Seconds.
        linger: Seconds that workers go on when their driver has died.
        begin: The workers of a dead driver begin what was submitted to them, too.
    """

    lose: float = 0.0
    late: float = 0.0
    twice: float = 0.0
    drop: float = 0.0
    fail: float = 0.0
    shuffle: bool = False
    notice: float = 5.0
    delay: float = 0.0
    linger: float = 0.0
    begin: bool = False


class Disk:
    """What trials keep in their folders, from attempt to attempt and from driver to driver.

    Only the latest attempt of a trial writes into its checkpoint.

    Args:
        every: A checkpoint is saved after so many steps; 0: only when an attempt yields.

    Raises:
        ValueError: A step is computed that nobody has lost since it was computed before.
    """

    def __init__(self, every: int = 0):
        self.every = every
        self.saved: dict[int, int] = {}  # steps in a trial's checkpoint
        self._computed: dict[int, int] = {}
        self._owner: dict[int, int] = {}  # the attempt whose checkpoint it is
        self._running: set[int] = set()

    def begin(self, number: int, attempt: int) -> int:
        """An attempt begins; returns the steps that it need not compute, none for one that was overtaken."""
        if attempt < self._owner.get(number, 0):
            return 0
        if number in self._running:  # an earlier attempt still runs somewhere, in vain
            self._computed[number] = self.saved.get(number, 0)
        self._owner[number] = attempt
        self._running.add(number)
        return self.saved.get(number, 0)

    def compute(self, number: int, attempt: int, step: int) -> None:
        if attempt != self._owner.get(number):
            return
        if step != self._computed.get(number, 0) + 1:
            raise ValueError(f"step {step} of trial {number} is computed after {self._computed.get(number, 0)}")
        self._computed[number] = step
        if self.every and step % self.every == 0:
            self.save(number, attempt)

    def save(self, number: int, attempt: int) -> None:
        if attempt == self._owner.get(number):
            self.saved[number] = self._computed.get(number, 0)

    def lose(self, number: int, attempt: int) -> None:
        """What came after the checkpoint is gone."""
        if attempt == self._owner.get(number):
            self._computed[number] = self.saved.get(number, 0)

    def leave(self, number: int, attempt: int, *, lost: bool) -> None:
        """The attempt is over."""
        if lost:
            self.lose(number, attempt)
        if attempt == self._owner.get(number):
            self._running.discard(number)


class Witness:
    """Sees what workers really do, whoever hears of it; several pools may share one.

    Attributes:
        begun: Attempts that a worker began, in their order.
        reports: What each attempt said, by its token: step and value.
        outcomes: Everything that a worker wrote.
        declined: Attempts that no worker began, so far.
    """

    def __init__(self) -> None:
        self.begun: list[AttemptSpec] = []
        self.reports: dict[str, list[tuple[int, float]]] = {}
        self.outcomes: list[Outcome] = []
        self.declined = 0

    def began(self, spec: AttemptSpec) -> None:
        self.begun.append(spec)

    def said(self, spec: AttemptSpec, step: int, value: float) -> None:
        self.reports.setdefault(spec.token, []).append((step, value))

    def wrote(self, spec: AttemptSpec, outcome: Outcome) -> None:
        """The worker has written ``outcome`` to the trial's folder; nobody was told of it yet."""
        self.outcomes.append(outcome)
