"""Detects a dead driver: its host refuses connections at the driver's port, while a lost network is silent.

A campaign never listens again at a port that it has closed, so a refusal is final.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

TIMES = 3
"""Refusals in a row after which the driver counts as dead; a single one may come from a busy host's full backlog."""

PERIOD = 1.5
"""Least seconds between two attempts to connect."""

Address = tuple[str, int]
"""A host's IP address and a port."""


def address_of(url: str) -> Address:
    """Host and port of ``tcp://host:port``. Raises ValueError.

    >>> address_of("tcp://10.0.0.1:5555")
    ('10.0.0.1', 5555)
    """
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


def refused(addresses: Iterable[Address], timeout: float = 0.3) -> bool:
    """Whether nobody listens at any of these addresses: at least one refuses, and none accepts or is silent.

    Args:
        addresses: All addresses at which the driver may listen.
        timeout: Seconds to wait for an answer. An address that is silent for so long may be the driver's, so the
            result is then False.
    """
    poller, waiting, refusals = select.poll(), {}, 0
    try:
        for host, port in addresses:
            probe = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            probe.setblocking(False)
            waiting[probe.fileno()] = probe
            poller.register(probe, select.POLLOUT)
            code = probe.connect_ex((host, port))
            if code in (0, errno.EINPROGRESS):
                continue
            refusals += code == errno.ECONNREFUSED
            _drop(waiting, poller, probe)
        until = time.monotonic() + timeout
        while waiting and (left := until - time.monotonic()) > 0:
            for descriptor, _ in poller.poll(int(left * 1000) + 1):
                probe = waiting[descriptor]
                code = probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code == 0:
                    return False
                refusals += code == errno.ECONNREFUSED
                _drop(waiting, poller, probe)
        return not waiting and refusals > 0
    except (OSError, ValueError):  # no free descriptor, or not an address
        return False
    finally:
        for probe in waiting.values():
            probe.close()


def _drop(waiting: dict[int, socket.socket], poller: select.poll, probe: socket.socket) -> None:
    poller.unregister(probe)
    del waiting[probe.fileno()]
    probe.close()


class Refusals:
    """Counts refusals in a row.

    Args:
        times: Refusals after which the driver counts as dead.
        period: Least seconds between two attempts to connect.

    Attributes:
        in_row: Refusals in a row so far.
        since: When the first of them was, on the caller's clock.
    """

    def __init__(self, times: int = TIMES, period: float = PERIOD):
        self.times, self.period = times, period
        self.reset()

    def reset(self) -> None:
        """There is a connection: start counting again."""
        self.in_row, self.since, self._next = 0, 0.0, 0.0

    def certain(self, addresses: Iterable[Address], now: float) -> bool:
        """Whether there were enough refusals in a row; tries again when it is time. ``now``: seconds of any clock."""
        if self.in_row < self.times and now >= self._next:
            self._next = now + self.period
            self.in_row = self.in_row + 1 if refused(addresses) else 0
            if self.in_row == 1:
                self.since = now
        return self.in_row >= self.times
