"""The worker's end of the report channel: one CurveZMQ socket a process, kept from attempt to attempt.

A request is sent again until it is answered; the driver answers a request it has seen before in the same way. At most
one request is open at a time. Whether the driver is there is told by the connection (TCP, and ZeroMQ's own heartbeats
below it), not by how fast it answers: a driver that waits for its database is silent but not gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ...trial.block_env import driver_timeout
from ...trial.files import write_atomically
from ...trial.protocol import (
    ChannelAddress,
    Message,
    Report,
    Started,
    Stop,
    Suggest,
    Suggested,
    Verdict,
    decode,
    encode,
)
from .driver_liveness import Refusals, address_of

if TYPE_CHECKING:
    import zmq

RESEND, LONGEST_RESEND = 5.0, 60.0
"""Seconds after which an unanswered request is sent again: doubled each time, from the first to the longest. A driver
that is behind, or waits for its database, is not buried under what it knows already."""

HEARTBEAT_MS, SILENCE_MS = 10_000, 20_000
"""ZeroMQ's ping interval; a peer that has said nothing for so long after one is taken as disconnected."""

ANSWER_LIMIT, BETTER_LIMIT = 5.0, 0.3
"""Seconds that a new channel waits for the driver at any of several addresses; and, when it has answered at one, for a
better one."""


def make_keys(path: Path) -> bytes:
    """Make a campaign's keys. What the workers need goes to ``path`` (0600); the server's Z85 secret is returned only.

    The file is JSON: ``server_public``, ``client_public`` and ``client_secret``, each 40 characters of Z85.
    """
    import zmq

    server_public, server_secret = zmq.curve_keypair()
    client_public, client_secret = zmq.curve_keypair()
    keys = {"server_public": server_public, "client_public": client_public, "client_secret": client_secret}
    write_atomically(path, json.dumps({name: key.decode() for name, key in keys.items()}))
    return server_secret


class Channel(Protocol):
    """What the runner needs of a report channel. Used by one thread."""

    def begin(self, started: Started) -> None:
        """A new attempt: say that it runs; forget what belongs to the one before."""

    def ask(self, request: Report | Suggest) -> None:
        """Send a request. Only one may be open at a time."""

    def wait(self, descriptors: Sequence[int], timeout: float) -> set[int]:
        """Wait up to ``timeout`` seconds for a message or for a readable descriptor; the readable descriptors."""

    def receive(self) -> list[Message]:
        """Messages for this attempt that are here: verdicts and suggested values for the open request, and stops."""

    def down(self) -> bool:
        """Whether there is no connection to the driver now."""

    def gone(self) -> bool:
        """Whether the driver is dead: its host refuses connections, or for :func:`driver_timeout` seconds none held."""


class NoChannel:
    """For attempts without a driver that listens: every verdict is to go on."""

    def __init__(self) -> None:
        self._replies: list[Message] = []

    def begin(self, started: Started) -> None:
        self._replies.clear()

    def ask(self, request: Report | Suggest) -> None:
        if isinstance(request, Report):
            self._replies.append(Verdict(request.token, request.request))
        else:
            error = "this attempt has no report channel, so nobody can suggest a value"
            self._replies.append(Suggested(request.token, request.request, error=error))

    def wait(self, descriptors: Sequence[int], timeout: float) -> set[int]:
        poller = select.poll()
        for descriptor in descriptors:
            poller.register(descriptor, select.POLLIN)
        return {descriptor for descriptor, _ in poller.poll(0 if self._replies else max(0.0, timeout) * 1000)}

    def receive(self) -> list[Message]:
        replies, self._replies = self._replies, []
        return replies

    def down(self) -> bool:
        return False

    def gone(self) -> bool:
        return False


class CurveChannel:
    """A DEALER socket to the driver at ``address``. Raises OSError or ValueError where the key file cannot be used.

    Of several URLs the first is kept at which the driver proves to be who it is; a stranger behind one of them, or
    nobody, does no harm.

    Attributes:
        url: The address in use; empty until the driver was found at one of several.
    """

    def __init__(self, address: ChannelAddress) -> None:
        import zmq
        from zmq.utils.monitor import parse_monitor_message

        self._zmq, self._parse = zmq, parse_monitor_message
        self.address, self.pid = address, os.getpid()
        try:
            keys = json.loads(Path(address.key_file).read_text())
            server, public, secret = (keys[k].encode() for k in ("server_public", "client_public", "client_secret"))
        except (KeyError, TypeError, AttributeError, ValueError):
            raise ValueError(f"{address.key_file} does not hold the keys of a campaign") from None
        self._context = zmq.Context()
        socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        socket.linger = 1000
        socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = server, public, secret
        socket.heartbeat_ivl, socket.heartbeat_timeout = HEARTBEAT_MS, SILENCE_MS
        socket.reconnect_ivl, socket.reconnect_ivl_max = 100, 5000
        self._socket = socket
        events = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        self._monitor: zmq.Socket[bytes] = socket.get_monitor_socket(events)
        self._down_since: float | None = time.monotonic()
        self._refusals = Refusals()
        self._connections = 0
        self._started: Started | None = None
        self._open: Report | Suggest | None = None
        self._sent, self._pause = 0.0, RESEND
        self._candidates = address.url.split()
        self.url = self._candidates[0] if len(self._candidates) == 1 else ""
        socket.immediate = not self.url  # nothing is sent to those who have not proved to be the driver
        for url in self._candidates:
            socket.connect(url)
        self._find_driver()

    def begin(self, started: Started) -> None:
        self._started, self._open = started, None
        self._send(started)

    def ask(self, request: Report | Suggest) -> None:
        self._open = request
        self._sent, self._pause = time.monotonic(), RESEND
        self._send(request)

    def wait(self, descriptors: Sequence[int], timeout: float) -> set[int]:
        if self._open is not None:
            timeout = min(timeout, max(0.0, self._sent + self._pause - time.monotonic()))
        sockets = [(self._socket, self._zmq.POLLIN), (self._monitor, self._zmq.POLLIN)]
        ready = self._zmq.zmq_poll([*sockets, *((d, self._zmq.POLLIN) for d in descriptors)], int(timeout * 1000) + 1)
        return {source for source, _ in ready if isinstance(source, int)}

    def receive(self) -> list[Message]:
        self._watch_connection()
        found: list[Message] = []
        while True:
            try:
                message = decode(self._socket.recv_multipart(self._zmq.NOBLOCK)[-1])
            except self._zmq.Again:
                break
            except ValueError:
                continue  # of a driver of another version; the request is sent again
            if self._expected(message):
                found.append(message)
        if self._open is not None and self._down_since is None and time.monotonic() >= self._sent + self._pause:
            self._sent, self._pause = time.monotonic(), min(2 * self._pause, LONGEST_RESEND)
            self._send(self._open)
        return found

    def down(self) -> bool:
        return self._down_since is not None

    def gone(self) -> bool:
        now = time.monotonic()
        if self._down_since is None:
            self._refusals.reset()
            return False
        urls = [self.url] if self.url else self._candidates
        return now - self._down_since >= driver_timeout() or self._refusals.certain(map(address_of, urls), now)

    def close(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close()
        self._context.term()

    def _expected(self, message: Message) -> bool:
        """Whether this belongs to the attempt; an answer closes the open request and is taken once."""
        if self._started is None or getattr(message, "token", None) != self._started.token:
            return False
        if isinstance(message, Verdict | Suggested):
            if self._open is None or message.request != self._open.request:
                return False
            self._open = None
            return True
        return isinstance(message, Stop)

    def _find_driver(self) -> None:
        """Wait for an answer, then a moment for one at a better address. Later answers are seen while attempts run."""
        answered: set[str] = set()
        until = time.monotonic() + ANSWER_LIMIT
        while not self.url and self._candidates[0] not in answered and (left := until - time.monotonic()) > 0:
            if self._monitor.poll(int(left * 1000) + 1):
                for up, url in self._connection_events():
                    if up and not answered:
                        until = time.monotonic() + BETTER_LIMIT
                    (answered.add if up else answered.discard)(url)
        if answered:
            self._keep(min(answered, key=self._candidates.index))

    def _keep(self, url: str) -> None:
        """Let go of the other addresses."""
        self.url, self._down_since = url, None
        self._connections += 1
        for other in set(self._candidates) - {url}:
            with contextlib.suppress(self._zmq.ZMQError):
                self._socket.disconnect(other)

    def _connection_events(self) -> Iterator[tuple[bool, str]]:
        """Whether the driver came or went, and at which address."""
        while True:
            try:
                event = self._parse(self._monitor.recv_multipart(self._zmq.NOBLOCK))
            except self._zmq.Again:
                return
            yield event["event"] != self._zmq.EVENT_DISCONNECTED, event["endpoint"].decode()

    def _watch_connection(self) -> None:
        for up, url in self._connection_events():
            if not self.url and up:
                self._keep(url)
                self._introduce_again()
            elif len(self._candidates) > 1 and url != self.url:
                continue
            elif not up:
                self._down_since = self._down_since or time.monotonic()
            else:
                self._down_since = None
                self._connections += 1
                if self._connections > 1:
                    self._introduce_again()

    def _introduce_again(self) -> None:
        """After a reconnection the driver knows this socket under a new identity, and may have lost what was sent."""
        if self._started is not None:
            self._send(self._started)
        if self._open is not None:
            self.ask(self._open)

    def _send(self, message: Message) -> None:
        try:
            self._socket.send(encode(message), self._zmq.NOBLOCK)
        except self._zmq.Again:
            pass  # the queue of a driver that is away is full; requests are sent again


_channel: CurveChannel | None = None


def open_channel(address: ChannelAddress) -> Channel:
    """This process's channel to ``address``, made or kept. Raises OSError or ValueError for an unusable key file."""
    global _channel
    if not address.url:
        return NoChannel()
    if _channel is not None and (_channel.address != address or _channel.pid != os.getpid()):
        if _channel.pid == os.getpid():
            _channel.close()
        _channel = None
    if _channel is None:
        _channel = CurveChannel(address)
    return _channel
