"""The driver's end of the report channel: one CurveZMQ socket that only this campaign's workers can speak to."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import zmq
from zmq.auth.thread import ThreadAuthenticator

from ...pipeline.trial.protocol import MESSAGE_LIMIT, ChannelAddress, Message, decode, encode

log = logging.getLogger(__name__)

QUEUED, BACKLOG = 64, 4_096
"""Messages of one worker, in either direction, that are kept before it is made to wait: it sends one request at a time.
And workers that may knock at once, as when a block of thousands begins."""

MESSAGES_AT_ONCE = 2_000
"""Messages taken in one drain, so that a flood cannot keep the campaign from its other events."""


class _OneKey:
    """Admits a single client key (ZAP, https://rfc.zeromq.org/spec/27/); everybody else is refused at the handshake."""

    def __init__(self, key: bytes):
        self.key = key

    def callback(self, domain: str, key: bytes) -> bool:
        return key == self.key  # pyzmq hands it over in Z85


class ChannelServer:
    """A ROUTER socket bound on ``interface``; its keys are in ``key_file`` (0600), with a secret of the server's own.

    Args:
        key_file: The campaign's keys as :func:`pilotune.pipeline.worker.node.channel.make_keys` wrote them.
        server_secret: The server's Z85 secret key; never written to disk.
        interface: Address to bind, ``*`` for all.
        addresses: What the workers are told to try, the interface itself by default.
    """

    def __init__(
        self, key_file: Path, server_secret: bytes, interface: str = "127.0.0.1", addresses: Sequence[str] = ()
    ):
        keys = json.loads(key_file.read_text())
        self._context = zmq.Context()
        self._authenticator = ThreadAuthenticator(self._context)
        self._authenticator.start()
        self._authenticator.configure_curve_callback(
            domain="*", credentials_provider=_OneKey(keys["client_public"].encode())
        )
        self.socket: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        self.socket.curve_server = True
        self.socket.curve_secretkey = server_secret
        self.socket.curve_publickey = keys["server_public"].encode()
        self.socket.linger = 200
        self.socket.maxmsgsize = MESSAGE_LIMIT
        self.socket.rcvhwm = self.socket.sndhwm = QUEUED
        self.socket.backlog = BACKLOG
        port = self.socket.bind_to_random_port(f"tcp://{interface}")
        urls = " ".join(f"tcp://{address}:{port}" for address in addresses or [interface])
        self.address = ChannelAddress(url=urls, key_file=str(key_file))

    def drain(self) -> Iterable[tuple[bytes, Message]]:
        """All messages that are here, each with its sender's identity. What is not a message is dropped."""
        for _ in range(MESSAGES_AT_ONCE):
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                identity, payload = frames
                yield identity, decode(payload)
            except ValueError:
                log.warning("a message on the report channel was not understood and is dropped")

    def send(self, identity: bytes, message: Message) -> None:
        """Send, or drop where the worker is gone: it asks again, and a dead one needs no answer."""
        try:
            self.socket.send_multipart([identity, encode(message)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            log.info("a worker could not be answered: %s", error)

    def close(self) -> None:
        self.socket.close()
        self._authenticator.stop()
        self._context.term()
