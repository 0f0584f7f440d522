"""Whether a block still has a driver, as its nodes see it. The standard library only."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Collection
from pathlib import Path

from ...pipeline.worker.node.block import busy_workers
from ...pipeline.worker.node.driver_liveness import Refusals

LOOK = 3.0
"""Seconds between looks whether the driver is there, and for what dead workers left."""

REFUSALS = 2
"""Looks in a row at which the driver's host refuses connections; then it is dead."""

PATIENCE = 20.0
"""Seconds from the first of them for busy workers, which notice as well, to let their trials yield or end."""

ALONE = 120.0
"""Seconds after which a block ends that has no connection, and hears no refusal either."""

ESTABLISHED = "01"
"""A connection's state in the kernel's table."""


class DriverWatch:
    """Notices that nobody is there any more: a pool whose driver dies while it connects would wait for ever.

    Args:
        port: The driver's, which the pool connects to; None where it is not known.
        addresses: Where the driver may be.
        folder: With the files of busy workers.

    Attributes:
        reason: Why the block is to end; empty while it is not.
    """

    def __init__(self, port: int | None, addresses: Collection[str], folder: Path):
        self.port, self.folder, self.reason = port, folder, ""
        self._addresses = set(addresses)
        self._seen = time.monotonic()
        self._refusals = Refusals(REFUSALS, 0.0)

    def is_dead_already(self) -> bool:
        """Whether the driver is dead already, before a pool is started."""
        while self._refused(time.monotonic()):
            if self.reason:
                return True
            time.sleep(LOOK / 2)
        return False

    def lost(self, now: float) -> bool:
        """Whether the block is to end. To be asked every LOOK seconds."""
        if self.port is None:
            return False
        peers = connected(self.port)
        if peers is None or peers:
            self._seen, self._addresses = now, peers or self._addresses
            self._refusals.reset()
            return False
        busy = bool(busy_workers(self.folder))
        if self._refused(now):
            if busy and now < self._refusals.since + PATIENCE:
                self.reason = ""
        elif busy:
            self._seen = now  # they know the driver by a connection of their own
        elif now - self._seen >= ALONE:
            self.reason = f"has had no connection to its driver for {ALONE:.0f} s"
        return bool(self.reason)

    def _refused(self, now: float) -> bool:
        if self.port is None:
            return False
        if self._refusals.certain([(address, self.port) for address in self._addresses], now):
            self.reason = "has lost its driver, whose host refuses connections"
        return self._refusals.in_row > 0


def connected(port: int, table: Path = Path("/proc/net/tcp")) -> set[str] | None:
    """The addresses at whose ``port`` anything on this node has a connection; None where the kernel does not tell."""
    try:
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return None
    ends = [row[2].split(":") for row in rows if len(row) > 3 and row[3] == ESTABLISHED]
    return {_dotted(address) for address, of in ends if int(of, 16) == port}


def _dotted(address: str) -> str:
    """An IPv4 address in the kernel's table: hexadecimal, in the machine's order of bytes."""
    return socket.inet_ntoa(int(address, 16).to_bytes(4, sys.byteorder))
