"""The hosts of simulated workers: which are busy, which fail every attempt, which are quarantined."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

from .blocks import SimulatedBlocks


@dataclass(frozen=True)
class Nodes:
    """The hosts over which workers are distributed in turn; a block is on one host.

    Attributes:
        count: How many; their names are ``node0``, ``node1``, ...
        bad: Numbers of the hosts on which every attempt fails at its start.
    """

    count: int
    bad: frozenset[int] = frozenset()

    @property
    def names(self) -> list[str]:
        """All host names."""
        return [f"node{number}" for number in range(self.count)]


class SimulatedHosts:
    """Counts the attempts on each host.

    Args:
        nodes: The hosts.
        workers: Workers of all hosts together, in a pool without blocks.
        blocks: The pool's blocks; None without.
        draw: Random numbers, for the hosts that blocks and attempts get.

    Attributes:
        quarantined: Hosts that get no more attempts.
    """

    def __init__(self, nodes: Nodes, workers: int, blocks: SimulatedBlocks | None, draw: random.Random):
        self.nodes, self.blocks, self._random = nodes, blocks, draw
        self.quarantined: set[str] = set()
        self._workers = {name: len(range(at, workers, nodes.count)) for at, name in enumerate(nodes.names)}
        self._busy: Counter[str] = Counter()
        self._homes: dict[str, str] = {}  # block -> its host

    def fails(self, host: str) -> bool:
        """Whether every attempt fails on this host."""
        return host in self.nodes.names and self.nodes.names.index(host) in self.nodes.bad

    def accepting(self) -> frozenset[str]:
        """The hosts whose workers accept attempts."""
        if self.blocks:
            return frozenset(self._homes[block.number] for block in self.blocks.accepting())
        return frozenset(host for host, workers in self._workers.items() if workers) - self.quarantined

    def capacity(self) -> int:
        """Attempts that can run at once in a pool without blocks; a quarantined host counts with those that run."""
        return sum(self._busy[h] if h in self.quarantined else workers for h, workers in self._workers.items())

    def free(self) -> str:
        """A host with a worker for the next attempt, in a pool without blocks; empty where there is none."""
        free = [host for host in sorted(self.accepting()) if self._busy[host] < self._workers[host]]
        return self._random.choice(free) if free else ""

    def occupy(self, host: str, attempts: int) -> None:
        """Count attempts that begin (positive) or end (negative) on the host."""
        self._busy[host] += attempts

    def home(self, block: str) -> str:
        """The host of a block. The simulated scheduler avoids quarantined hosts for new blocks."""
        if block not in self._homes:
            self._homes[block] = self._random.choice(sorted({*self.nodes.names} - self.quarantined))
        return self._homes[block]

    def quarantine(self, host: str) -> None:
        """Send no further attempt to this host."""
        self.quarantined.add(host)
        if self.blocks:
            self.blocks.hold([number for number, home in self._homes.items() if home == host])
