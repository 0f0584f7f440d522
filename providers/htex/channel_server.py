"""The driver's end of the report channel: one encrypted socket that only this campaign's workers can use.

Encryption and authentication are CurveZMQ's (https://rfc.zeromq.org/spec/26/).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import zmq
from zmq.auth.thread import ThreadAuthenticator

from ...pipeline.trial.protocol import (
    MESSAGE_LIMIT,
    ChannelAddress,
    Message,
    Suggested,
    Undecodable,
    Verdict,
    decode,
    encode,
    refused,
)

log = logging.getLogger(__name__)

QUEUED, BACKLOG = 64, 4_096
"""Most messages of one worker that are queued in either direction, which is plenty since it sends one request at a
time; and most connections that may wait to be accepted, as when a block with thousands of workers starts."""

MESSAGES_AT_ONCE = 2_000
"""Most messages that one drain returns, so that a flood does not keep the campaign from its other events."""


class _OneKey:
    """Admits clients with one key and refuses all others at the handshake (ZAP, https://rfc.zeromq.org/spec/27/)."""

    def __init__(self, key: bytes):
        self.key = key

    def callback(self, domain: str, key: bytes) -> bool:
        return key == self.key  # pyzmq passes it in Z85


class ChannelServer:
    """A ROUTER socket on a free port.

    Args:
        key_file: The campaign's client keys and the server's public key (0600), as
            :func:`pilotune.pipeline.worker.node.channel.make_keys` wrote them.
        server_secret: The server's Z85 secret key; never written to disk.
        interface: Address to bind; ``*`` for all.
        addresses: Addresses that workers try; the interface itself by default.

    Attributes:
        address: What workers need to connect.
        socket: The ZeroMQ socket, for a poller.
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
        """The messages that have arrived, each with its sender's identity.

        An invalid message is logged. Where it is a worker's request, the worker is told, so that the trial fails with
        a sentence and does not wait for an answer.
        """
        for _ in range(MESSAGES_AT_ONCE):
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if len(frames) != 2:
                log.warning("dropped an invalid message of %d frames on the report channel", len(frames))
                continue
            identity, payload = frames
            try:
                yield identity, decode(payload)
            except Undecodable as error:
                if error.refusal is None:
                    log.warning("dropped an invalid message on the report channel: %s", error)
                    continue
                log.warning("refused an invalid request: %s", error)
                self.send(identity, error.refusal)

    def send(self, identity: bytes, message: Message) -> None:
        """Send a message to a worker. It is dropped when the worker is gone; a living one repeats its request."""
        try:
            data = encode(message)
        except (TypeError, ValueError, RecursionError) as error:  # the value of a third-party sampler's own type
            log.warning("an answer cannot be sent: %r", error)
            refusal = refused(message, error) if isinstance(message, Suggested | Verdict) else None
            if refusal is None:
                return
            data = encode(refusal)
        try:
            self.socket.send_multipart([identity, data], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            log.info("could not answer a worker: %s", error)

    def close(self) -> None:
        self.socket.close()
        self._authenticator.stop()
        self._context.term()
