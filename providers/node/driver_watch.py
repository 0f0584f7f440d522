"""Detects that a block's driver is gone, as seen from a node of the block. Uses the standard library only."""

from __future__ import annotations

import contextlib
import ipaddress
import sys
import time
from collections.abc import Collection, Iterable
from pathlib import Path

from ...pipeline.worker.node.block import busy_workers
from ...pipeline.worker.node.driver_liveness import Refusals

CHECK_INTERVAL = 3.0
"""Seconds between two checks for the driver, and for what dead workers left."""

REFUSALS = 2
"""Checks in a row at which the driver's host refuses connections, after which the driver counts as dead."""

YIELD_PATIENCE = 20.0
"""Seconds that busy workers get after the first refusal: they detect the driver's death too, and let their trials yield
or end."""

NO_CONNECTION_LIMIT = 120.0
"""Seconds without a connection, and without a refusal either, after which the driver counts as lost."""

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
"""The kernel's tables of connections. A socket for both kinds of addresses has its IPv4 connections in the second."""

ESTABLISHED = "01"
"""State of an established connection in the kernel's table."""


class DriverWatch:
    """Detects that the driver is gone, so that a connecting worker pool does not wait for ever.

    A driver counts as alive while anything on this node has a connection to its port. Without one, every known address
    is tried: a host that refuses connections means that the driver is dead, silence may be a network problem.

    Args:
        port: The driver's port that the worker pool connects to. None when it is unknown: the driver is never lost
            then.
        addresses: Addresses at which the driver may be.
        folder: The node's folder, which has a file for each busy worker.

    Attributes:
        reason: Why the block must end; empty while it need not.
    """

    def __init__(self, port: int | None, addresses: Collection[str], folder: Path):
        self.port, self.folder, self.reason = port, folder, ""
        self._addresses = set(addresses)
        self._last_connected = time.monotonic()
        self._refusals = Refusals(REFUSALS, 0.0)

    def is_dead_already(self) -> bool:
        """Whether the driver has died before a worker pool was started. Takes a few seconds when it seems so."""
        while self._refused(time.monotonic()):
            if self.reason:
                return True
            time.sleep(CHECK_INTERVAL / 2)
        return False

    def is_lost(self, now: float) -> bool:
        """Whether the block must end because its driver is gone. To be called every CHECK_INTERVAL seconds.

        Args:
            now: The monotonic clock, in seconds.
        """
        if self.port is None:
            return False
        peers = connected(self.port)
        if peers is None or peers:
            self._last_connected, self._addresses = now, peers or self._addresses
            self._refusals.reset()
            return False
        busy = bool(busy_workers(self.folder))
        if self._refused(now):
            if busy and now < self._refusals.since + YIELD_PATIENCE:
                self.reason = ""
        elif busy:
            self._last_connected = now  # busy workers check the driver over a connection of their own
        elif now - self._last_connected >= NO_CONNECTION_LIMIT:
            self.reason = f"has had no connection to its driver for {NO_CONNECTION_LIMIT:.0f} s"
        return bool(self.reason)

    def _refused(self, now: float) -> bool:
        """Whether the driver's host refuses connections; sets ``reason`` once it has done so often enough."""
        if self.port is None:
            return False
        if self._refusals.certain([(address, self.port) for address in self._addresses], now):
            self.reason = "has lost its driver, whose host refuses connections"
        return self._refusals.in_row > 0


def connected(port: int, tables: Iterable[Path] = TABLES) -> set[str] | None:
    """The addresses at whose ``port`` anything on this node has a connection; None when the kernel does not say."""
    rows: list[list[str]] = []
    read = 0
    for table in tables:
        with contextlib.suppress(OSError):  # a kernel without IPv6 has one table
            rows += (line.split() for line in table.read_text().splitlines()[1:])
            read += 1
    if not read:
        return None
    ends = [row[2].split(":") for row in rows if len(row) > 3 and row[3] == ESTABLISHED]
    return {_written_out(address) for address, of in ends if int(of, 16) == port}


def _written_out(address: str) -> str:
    """An address from the kernel's table, where it is hexadecimal, each 32 bits in the machine's byte order."""
    words = (int(address[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(address), 8))
    found = ipaddress.ip_address(b"".join(words))
    return str(getattr(found, "ipv4_mapped", None) or found)
