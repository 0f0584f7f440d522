"""What a simulated driver, its database and the record of the truth see of the world that they run in.

The world makes them and hands itself to them. They know it by this protocol, so no module imports its own maker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Protocol

from pilotune.pipeline.trial.protocol import AttemptSpec
from pilotune.providers.simulated.clock import VirtualTime
from pilotune.providers.simulated.faults import Disk, Witness
from pilotune.providers.simulated.pool import Step

from .cases import Case


class Surroundings(Protocol):
    """The world of one seed.

    Attributes:
        case: What the seed draws.
        database, runs: The study's SQLite file, and the folder of the run directories.
        random: The world's own source of randomness.
        time, skews: The virtual clock, and by how much the clocks of machines differ from it.
        calm: Whether the trouble is over, so that the study can come to its end.
        disk: Checkpoints; None where attempts keep none.
        truth: What really happened.
        drivers: All that were started, the newest last.
        saw: How often each accident happened.
    """

    case: Case
    database: Path
    runs: Path
    random: Random
    time: VirtualTime
    skews: Counter[str]
    calm: bool
    moment: int
    disk: Disk | None
    truth: Witness
    drivers: list[Any]
    saw: Counter[str]

    def point(self, where: str, *, acting: bool = False) -> None:
        """A point at which the running driver may be killed or suspended; ``acting``: between two actions."""

    def clock_of(self, driver: Any) -> float:
        """The database's time as the driver's host sees it."""

    def transact(self, driver: Any) -> None:
        """The driver begins a transaction."""

    def writer(self) -> str:
        """The campaign that writes now."""

    def locked_against(self, driver: Any) -> bool:
        """Whether another driver holds the lock."""

    def database_fails(self, statement: object) -> str:
        """Whether a statement fails, and when: empty, ``before`` or ``after``."""

    def objective(self, spec: AttemptSpec) -> Iterator[Step]:
        """What an attempt's objective does."""


class Seat(Protocol):
    """The user who runs a driver: on which host, and how many kills and suspensions are left for their drivers."""

    host: str
    kills: int
    naps: int
