"""What a trial takes of a node, what a node has, and which of its GPUs and cores are free."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from ...pipeline.trial.protocol import AttemptSpec

WHOLE = 1_000_000
"""One GPU in the units in which shares of it are counted: whole numbers, so that no rounding adds up."""


@dataclass(frozen=True)
class Need:
    """What one attempt takes of its node.

    Attributes:
        cores: CPU cores.
        gpus: GPUs: a whole number, or a fraction below 1 of one GPU.
        memory: Bytes; 0 where the study file gives none.
        pool: The only pool whose nodes may run it; empty for all.

    >>> Need(gpus=0.5).share, Need(gpus=2).share
    (500000, 0)
    """

    cores: float = 1
    gpus: float = 0
    memory: float = 0
    pool: str = ""

    @classmethod
    def of(cls, spec: AttemptSpec, pool: str = "") -> Need:
        """What an attempt takes, and the pool that it was given to."""
        return cls(spec.cores, spec.gpus, spec.limits.memory or 0, pool)

    @property
    def whole_gpus(self) -> int:
        """GPUs that it has to itself."""
        return 0 if self.share else int(self.gpus)

    @property
    def share(self) -> int:
        """Its share of one GPU, in parts of ``WHOLE``; 0 where it takes whole GPUs or none."""
        return int(self.gpus * WHOLE) if 0 < self.gpus < 1 else 0


@dataclass(frozen=True)
class NodeRoom:
    """What a node has for trials.

    Attributes:
        name: Of the node's worker pool, unique.
        host: Its host.
        pool: The site's pool that it belongs to.
        cores: CPU cores; 0 where their number is unknown, and then they are not counted.
        gpus: GPUs.
        memory: Bytes; 0 where unknown.
        trials: Most trials at a time.
    """

    name: str
    host: str
    pool: str
    cores: int = 0
    gpus: int = 0
    memory: int = 0
    trials: int = 1

    def holds(self, need: Need) -> bool:
        """Whether the empty node has room for ``need``.

        >>> node = NodeRoom("n1", "n1", "gpu", cores=64, gpus=8, trials=8)
        >>> node.holds(Need(cores=64, gpus=8)), node.holds(Need(gpus=9)), node.holds(Need(gpus=0.5))
        (True, False, True)
        """
        return (
            self.trials > 0
            and need.pool in ("", self.pool)
            and (need.cores <= self.cores or not self.cores)
            and math.ceil(need.gpus) <= self.gpus
            and (need.memory <= self.memory or not self.memory)
        )

    def part(self, need: Need) -> float:
        """The part of the node that ``need`` takes: the largest among its parts of cores, GPUs, memory and trials.

        >>> NodeRoom("n1", "n1", "gpu", cores=64, gpus=8, trials=8).part(Need(cores=4, gpus=2))
        0.25
        """
        return max(
            need.cores / self.cores if self.cores else 0.0,
            need.gpus / self.gpus if self.gpus else 0.0,
            need.memory / self.memory if self.memory else 0.0,
            1.0 / self.trials,
        )

    def kind(self) -> NodeRoom:
        """The same for all nodes with the same room."""
        return replace(self, name="", host="")


@dataclass(frozen=True)
class Placement:
    """An attempt that begins now.

    Attributes:
        token: The attempt's.
        node: Where; the name of a :class:`NodeRoom`.
        host: That node's host.
        pool: That node's pool.
        gpus: Numbers of its GPUs on the node, from 0. Of the one that it shares with others, too.
        cores: Numbers of its cores on the node, from 0; empty where the node's are not counted.
    """

    token: str
    node: str
    host: str
    pool: str
    gpus: tuple[int, ...] = ()
    cores: tuple[int, ...] = ()


@dataclass(eq=False)
class PackedNode:
    """A node and what of it is free."""

    room: NodeRoom
    turn: int
    accepts: bool = True
    reserved: str = ""  # the token of the attempt that it is reserved for
    running: dict[str, tuple[Need, Placement]] = field(default_factory=dict)
    counted: int = 0  # typical attempts that it has room for, as the packer has counted it
    counted_busy: float = 0.0  # how much of it is in use, likewise
    kind: NodeRoom = field(init=False)
    gpus: list[int] = field(init=False)  # what is free of each, in parts of WHOLE
    free_gpus: int = field(init=False)  # of which nothing is taken
    cores: set[int] = field(init=False)
    memory: float = field(init=False)

    def __post_init__(self) -> None:
        self.gpus, self.cores = [WHOLE] * self.room.gpus, set(range(self.room.cores))
        self.memory, self.free_gpus, self.kind = self.room.memory, self.room.gpus, self.room.kind()

    def fits(self, need: Need) -> bool:
        """Whether ``need`` fits into what is free."""
        room = self.room
        return (
            len(self.running) < room.trials
            and need.pool in ("", room.pool)
            and (not room.cores or need.cores <= len(self.cores))
            and (not room.memory or need.memory <= self.memory)
            and (any(part >= need.share for part in self.gpus) if need.share else need.whole_gpus <= self.free_gpus)
        )

    def room_for(self, typical: Need) -> int:
        """How many attempts of such a need fit into what is free; at least one on an empty node."""
        room = self.room
        fits = [
            float(room.trials - len(self.running)),
            len(self.cores) / typical.cores if room.cores else math.inf,
            sum(self.gpus) / WHOLE / typical.gpus if typical.gpus and room.gpus else math.inf,
            self.memory / typical.memory if typical.memory and room.memory else math.inf,
        ]
        return max(int(min(fits)), not self.running)

    def left_over(self, need: Need) -> tuple[float, ...]:
        """How much is left after ``need``; the node with the least gets it."""
        shared = min((part for part in self.gpus if part >= need.share), default=0) if need.share else 0
        gpus = self.free_gpus - need.whole_gpus - (shared == WHOLE)
        memory = (self.memory - need.memory) / self.room.memory if self.room.memory else 0.0
        return gpus, shared, len(self.cores) - need.cores, memory

    def to_free(self, need: Need) -> float:
        """The part of the node that has to become free before ``need`` fits."""
        room, gpus = self.room, self.free_gpus + (0 if need.whole_gpus else sum(map(bool, self.gpus)))
        return max(
            0.0,
            (need.cores - len(self.cores)) / room.cores if room.cores else 0.0,
            (need.gpus - gpus) / room.gpus if room.gpus else 0.0,
            (need.memory - self.memory) / room.memory if room.memory else 0.0,
            (1 + len(self.running) - room.trials) / room.trials,
        )

    def take(self, token: str, need: Need) -> Placement:
        room = self.room
        if need.share:
            chosen = [min((n for n, part in enumerate(self.gpus) if part >= need.share), key=lambda n: self.gpus[n])]
        else:
            chosen = [n for n, part in enumerate(self.gpus) if part == WHOLE][: need.whole_gpus]
        for number in chosen:
            self.free_gpus -= self.gpus[number] == WHOLE
            self.gpus[number] -= need.share or WHOLE
        cores = sorted(self.cores, key=lambda core: (self._near(core) not in chosen, core))[: int(need.cores)]
        self.cores -= set(cores)
        self.memory -= need.memory
        placement = Placement(token, room.name, room.host, room.pool, tuple(chosen), tuple(sorted(cores)))
        self.running[token] = need, placement
        return placement

    def _near(self, core: int) -> int:
        """The GPU that a core is probably near: the cores of a node belong to its GPUs in equal parts, in order."""
        return core * self.room.gpus // self.room.cores if self.room.gpus else -1

    def give_back(self, token: str) -> None:
        need, placement = self.running.pop(token)
        for number in placement.gpus:
            self.gpus[number] += need.share or WHOLE
            self.free_gpus += self.gpus[number] == WHOLE
        self.cores |= set(placement.cores)
        self.memory += need.memory

    @property
    def busy(self) -> float:
        """The part of it that is in use: of its GPUs if it has any, else of its cores."""
        room = self.room
        if room.gpus:
            return 1.0 - sum(self.gpus) / (WHOLE * room.gpus)
        return 1.0 - len(self.cores) / room.cores if room.cores else len(self.running) / room.trials
