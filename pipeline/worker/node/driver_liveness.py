"""Whether anybody listens at the driver's addresses: a dead driver's host refuses, a lost network is silent.

No campaign listens at a port again that it has given up, so that a refusal is for ever.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

TIMES = 3
"""Refusals in a row after which the driver is taken for dead."""

PERIOD = 1.5
"""Seconds between them at least."""

Address = tuple[str, int]
"""A host's IP address and a port of it."""


def address_of(url: str) -> Address:
    """Of ``tcp://host:port``. Raises ValueError."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


def refused(addresses: Iterable[Address], timeout: float = 0.3) -> bool:
    """Whether nobody listens at any of these: one at least refuses, and the others too or cannot be reached.

    An address that does not answer in ``timeout`` seconds may be the driver's, so that nothing is known then.
    """
    poller, waiting, refusals = select.poll(), {}, 0
    try:
        for host, port in addresses:
            knock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            knock.setblocking(False)
            waiting[knock.fileno()] = knock
            poller.register(knock, select.POLLOUT)
            code = knock.connect_ex((host, port))
            if code in (0, errno.EINPROGRESS):
                continue
            refusals += code == errno.ECONNREFUSED
            _drop(waiting, poller, knock)
        until = time.monotonic() + timeout
        while waiting and (left := until - time.monotonic()) > 0:
            for descriptor, _ in poller.poll(int(left * 1000) + 1):
                knock = waiting[descriptor]
                code = knock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code == 0:
                    return False
                refusals += code == errno.ECONNREFUSED
                _drop(waiting, poller, knock)
        return not waiting and refusals > 0
    except (OSError, ValueError):  # no descriptor is free, or this is no address
        return False
    finally:
        for knock in waiting.values():
            knock.close()


def _drop(waiting: dict[int, socket.socket], poller: select.poll, knock: socket.socket) -> None:
    poller.unregister(knock)
    del waiting[knock.fileno()]
    knock.close()


class Refusals:
    """Counts them. ``times`` and ``period``: see TIMES and PERIOD."""

    def __init__(self, times: int = TIMES, period: float = PERIOD):
        self.times, self.period = times, period
        self.reset()

    def reset(self) -> None:
        """There is a connection."""
        self.in_row, self.since, self._next = 0, 0.0, 0.0

    def certain(self, addresses: Iterable[Address], now: float) -> bool:
        """Whether there were enough in a row; knocks again when it is time. ``since``: of the first of them."""
        if self.in_row < self.times and now >= self._next:
            self._next = now + self.period
            self.in_row = self.in_row + 1 if refused(addresses) else 0
            if self.in_row == 1:
                self.since = now
        return self.in_row >= self.times
