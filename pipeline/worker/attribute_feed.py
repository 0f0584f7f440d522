"""Collects the attributes that an objective sets, and decides when the driver hears of them. No socket, no clock."""

from __future__ import annotations

import json
from typing import Any, Literal

from ..trial.protocol import Attributes

ATTRIBUTES_AFTER = 1.0
"""Seconds after which attributes are sent when no request goes out before, so that many of them take few messages."""

LARGEST_SENT, MOST_SENT = 50_000, 400_000
"""Most characters of an attribute that is sent while the attempt runs, and of all those in one message, far below the
channel's MESSAGE_LIMIT. A larger attribute comes with the outcome."""

Kind = Literal["user", "system"]


class AttributeFeed:
    """What one attempt's objective has noted about itself.

    Args:
        token: The attempt's.

    Attributes:
        user, system: All attributes by name; the outcome brings them.

    >>> feed = AttributeFeed("7.1.c")
    >>> feed.set("rows", 150, now=0.0)
    >>> feed.outgoing(now=0.5) is None, feed.deadline()
    (True, 1.0)
    >>> feed.outgoing(now=1.0)
    Attributes(token='7.1.c', serial=1, user_attrs={'rows': 150}, system_attrs={})
    """

    def __init__(self, token: str) -> None:
        self.token = token
        self.user: dict[str, Any] = {}
        self.system: dict[str, Any] = {}
        self._lengths: dict[tuple[Kind, str], int] = {}  # of what may be sent
        self._waiting: dict[tuple[Kind, str], None] = {}  # not sent yet
        self._send_at = 0.0  # of what waits
        self._serial = 0

    def set(self, key: str, value: Any, now: float, *, system: bool = False) -> None:
        """The objective has set an attribute; ``value`` is what JSON can express."""
        (self.system if system else self.user)[key] = value
        name: tuple[Kind, str] = ("system" if system else "user", key)
        length = len(json.dumps([key, value]))
        if length > LARGEST_SENT:
            self._lengths.pop(name, None)
            self._waiting.pop(name, None)
            return
        if not self._waiting:
            self._send_at = now + ATTRIBUTES_AFTER
        self._lengths[name], self._waiting[name] = length, None

    def outgoing(self, now: float, *, request: bool = False) -> Attributes | None:
        """What to send now; ``request``: a request is about to be sent, and they go before it."""
        if not self._waiting or not (request or now >= self._send_at):
            return None
        sent: dict[Kind, dict[str, Any]] = {"user": {}, "system": {}}
        length = 0
        for kind, key in list(self._waiting):
            length += self._lengths[kind, key]
            if length > MOST_SENT:
                break
            sent[kind][key] = (self.system if kind == "system" else self.user)[key]
            del self._waiting[kind, key]
        self._serial += 1
        self._send_at = now + ATTRIBUTES_AFTER
        return Attributes(self.token, self._serial, sent["user"], sent["system"])

    def on_reconnection(self, now: float) -> None:
        """The connection was made anew, and what was sent may be lost: send all of it again."""
        self._waiting, self._send_at = dict.fromkeys(self._lengths), now

    def deadline(self) -> float | None:
        """When something is to be sent at the latest; None where nothing waits."""
        return self._send_at if self._waiting else None
