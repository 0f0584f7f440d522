"""The worker's end of the report channel: one CurveZMQ socket a process, kept from attempt to attempt.

It only carries messages; which are sent, and again when, is decided by :class:`..dialogue.Dialogue`.
Whether the driver is alive is judged by the connection (TCP, and ZeroMQ's heartbeats), not by how fast it answers: a
driver that waits for its database is silent but not dead.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ...trial.block_env import driver_timeout
from ...trial.files import write_atomically
from ...trial.protocol import (
    MESSAGE_LIMIT,
    Attributes,
    ChannelAddress,
    Message,
    Query,
    Report,
    Started,
    Suggest,
    Suggested,
    Undecodable,
    Verdict,
    decode,
    encode,
    refused,
)
from ..dialogue import Dialogue
from .driver_liveness import Refusals, address_of

if TYPE_CHECKING:
    import zmq

HEARTBEAT_MS, SILENCE_MS = 10_000, 20_000
"""ZeroMQ's ping interval, and how long after a ping a peer may send nothing before it counts as disconnected."""

EVENT = struct.Struct("=hi")
"""An event of a socket's monitor: its number and a value."""

ANSWER_LIMIT, BETTER_LIMIT = 5.0, 0.3
"""Seconds that a new channel waits for the driver to answer at any of several addresses; and, after the first answer,
for one at an address that is preferred."""


def make_keys(path: Path) -> bytes:
    """Make a campaign's keys, write what workers need to ``path`` (0600) and return the server's secret key (Z85).

    The file is JSON: ``server_public``, ``client_public`` and ``client_secret``, each 40 characters of Z85. The
    server's secret is never written. Raises OSError.
    """
    import zmq

    server_public, server_secret = zmq.curve_keypair()
    client_public, client_secret = zmq.curve_keypair()
    keys = {"server_public": server_public, "client_public": client_public, "client_secret": client_secret}
    write_atomically(path, json.dumps({name: key.decode() for name, key in keys.items()}))
    return server_secret


class Channel(Protocol):
    """A worker's connection to the driver. Used by one thread.

    Attributes:
        reconnections: How often the connection was made anew; after each, what was sent before may be lost.
    """

    reconnections: int

    def begin(self, started: Started) -> None:
        """A new attempt runs: tell the driver, now and after each reconnection."""

    def send(self, message: Report | Suggest | Query | Attributes) -> None:
        """Send a message; dropped where the queue of a driver that cannot be reached is full."""

    def wait(self, descriptors: Sequence[int], timeout: float) -> set[int]:
        """Wait up to ``timeout`` seconds for a message or for a readable descriptor; the readable descriptors."""

    def receive(self) -> list[Message]:
        """All messages that have arrived, those of earlier attempts included."""

    def down(self) -> bool:
        """Whether there is no connection to the driver now."""

    def gone(self) -> bool:
        """Whether the driver is dead: its host refuses connections, or none was held for ``driver_timeout`` seconds."""


def exchange(channel: Channel, dialogue: Dialogue, now: float, *, send: bool = True) -> None:
    """Hand the dialogue what has arrived, and send what it wants sent.

    Args:
        channel: The transport.
        dialogue: The attempt's conversation.
        now: Monotonic seconds.
        send: False after the attempt's end: its outcome brings what was not sent.
    """
    for message in channel.receive():
        dialogue.receive(message)
    dialogue.on_connection(not channel.down(), channel.reconnections, now)
    if channel.gone():
        dialogue.on_driver_gone()
    if not send:
        return
    request = dialogue.outgoing(now)
    attributes = dialogue.attributes.outgoing(now, request=request is not None)
    for outgoing in (attributes, request):
        if outgoing is not None:
            channel.send(outgoing)


class NoChannel:
    """Stands in where no driver listens: every verdict is "go on", and no value can be suggested."""

    def __init__(self) -> None:
        self.reconnections = 0
        self._replies: list[Message] = []

    def begin(self, started: Started) -> None:
        self._replies.clear()

    def send(self, message: Report | Suggest | Query | Attributes) -> None:
        if isinstance(message, Report):
            self._replies.append(Verdict(message.token, message.request))
        elif not isinstance(message, Attributes):
            what = "suggest a value" if isinstance(message, Suggest) else "answer for the study"
            error = f"this attempt has no report channel, so nobody can {what}"
            self._replies.append(Suggested(message.token, message.request, error=error))

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
    """A DEALER socket to the driver at ``address``, encrypted by CurveZMQ (https://rfc.zeromq.org/spec/26/).

    Of several URLs it keeps the first at which the driver proves that it has the campaign's key. An address at which
    somebody else listens, or nobody, does no harm.

    Args:
        address: The driver's URLs, best first, and the file with the campaign's keys.

    Raises:
        OSError: The key file cannot be read.
        ValueError: It does not hold keys.

    Attributes:
        url: The address in use; empty until the driver has answered at one of several.
        reconnections: How often the connection was made anew.
    """

    def __init__(self, address: ChannelAddress) -> None:
        import zmq

        self._zmq = zmq
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
        self._connections = self.reconnections = 0
        self._started: Started | None = None
        self._quiet = False  # wait() has just been ended by a descriptor, and nothing else had arrived
        self._refused: list[Message] = []  # answers to requests that cannot be sent
        self._candidates = address.url.split()
        self.url = self._candidates[0] if len(self._candidates) == 1 else ""
        socket.immediate = not self.url  # nothing is sent to those who have not proved to be the driver
        for url in self._candidates:
            socket.connect(url)
        self._find_driver()

    def begin(self, started: Started) -> None:
        self._started = started
        self._send(started)

    def send(self, message: Report | Suggest | Query | Attributes) -> None:
        self._send(message)

    def wait(self, descriptors: Sequence[int], timeout: float) -> set[int]:
        sockets = [(self._socket, self._zmq.POLLIN), (self._monitor, self._zmq.POLLIN)]
        ready = self._zmq.zmq_poll([*sockets, *((d, self._zmq.POLLIN) for d in descriptors)], int(timeout * 1000) + 1)
        found = {source for source, _ in ready if isinstance(source, int)}
        self._quiet = 0 < len(found) == len(ready)
        return found

    def receive(self) -> list[Message]:
        quiet, self._quiet = self._quiet, False
        if not quiet:
            self._watch_connection()
        found, self._refused = self._refused, []
        while not quiet:
            try:
                found.append(decode(self._socket.recv_multipart(self._zmq.NOBLOCK)[-1]))
            except self._zmq.Again:
                return found
            except Undecodable as error:  # from a driver of another version
                if error.refusal is not None:
                    found.append(error.refusal)
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

    def _find_driver(self) -> None:
        """Wait for an answer, then shortly for one at a preferred address.

        Where nobody answers in time, the search goes on while attempts run.
        """
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
        """Use this address, and disconnect from the others."""
        self.url, self._down_since = url, None
        self._connections += 1
        for other in set(self._candidates) - {url}:
            with contextlib.suppress(self._zmq.ZMQError):
                self._socket.disconnect(other)

    def _connection_events(self) -> Iterator[tuple[bool, str]]:
        """New events: whether the connection came up (or went down), and at which address."""
        while True:
            try:
                event, endpoint = self._monitor.recv_multipart(self._zmq.NOBLOCK)
            except self._zmq.Again:
                return
            # As zmq_socket_monitor(3) says. PyZMQ's function for it imports asyncio, which each fork would copy.
            number, _ = EVENT.unpack(event)
            yield number != self._zmq.EVENT_DISCONNECTED, endpoint.decode()

    def _watch_connection(self) -> None:
        for up, url in self._connection_events():
            if not self.url and up:
                self._keep(url)
                self._on_reconnection()
            elif len(self._candidates) > 1 and url != self.url:
                continue
            elif not up:
                self._down_since = self._down_since or time.monotonic()
            else:
                self._down_since = None
                self._connections += 1
                if self._connections > 1:
                    self._on_reconnection()

    def _on_reconnection(self) -> None:
        """The driver knows this socket under a new identity from now on, and may have lost what was sent."""
        self.reconnections += 1
        if self._started is not None:
            self._send(self._started)

    def _send(self, message: Message) -> None:
        try:
            data = encode(message)
            if len(data) > MESSAGE_LIMIT:  # the driver would disconnect, again and again
                raise ValueError(f"it has {len(data)} bytes, more than {MESSAGE_LIMIT}")
        except (TypeError, ValueError, RecursionError) as error:
            refusal = refused(message, error)
            self._refused += [] if refusal is None else [refusal]
            return
        try:
            self._socket.send(data, self._zmq.NOBLOCK)
        except self._zmq.Again:
            pass  # the queue to a driver that cannot be reached is full; requests are sent again


_channel: CurveChannel | None = None


def open_channel(address: ChannelAddress) -> Channel:
    """This process's channel to ``address``: the one that it has, or a new one. Raises as :class:`CurveChannel`."""
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
