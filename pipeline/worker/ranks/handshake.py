"""How a rank that a launcher has started and its worker prove to each other that they hold the same key.

The worker writes the key to a file that only the user can read (:class:`Meeting`). Neither side sends it: each sends
random bytes and an HMAC over the other's::

    worker  {"nonce": W}
    rank    {"rank": 3, "host": "n2", "port": 29500, "nonce": A, "proof": HMAC(key, "rank", W, A, 3, "n2", 29500)}
    worker  {"proof": HMAC(key, "worker", W, A)}      or {"refused": "..."}

Each is a JSON object on a line of at most LINE_LIMIT bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...trial.from_json import read_json
from ...trial.protocol import Message

LINE_LIMIT = 4096
"""Most bytes of a line of the handshake."""

NONCE = 32
"""Random bytes of each side."""


class HandshakeError(Exception):
    """The other side is not who it should be, or refuses. The message is one sentence."""


@dataclass(frozen=True)
class Meeting(Message):
    """Where the worker waits for its ranks, as the file says that each rank reads.

    Attributes:
        addresses: Of the worker's host, best first.
        port: On each of them.
        key: Secret, in hexadecimal digits.
        ranks: How many are expected.
    """

    addresses: list[str]
    port: int
    key: str
    ranks: int

    def write(self, path: Path) -> None:
        """Write the file with mode 0600, also where one is there. Raises OSError."""
        with_suffix = path.with_name(f".{path.name}.part")
        with_suffix.unlink(missing_ok=True)
        descriptor = os.open(with_suffix, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(self.to_dict(), file)
        os.replace(with_suffix, path)


@dataclass(frozen=True)
class Hello(Message):
    """What a rank says of itself. ``port``: a free one on its node."""

    rank: int
    host: str
    port: int
    nonce: str
    proof: str = field(default="")


def new_nonce() -> str:
    """Random bytes in hexadecimal digits."""
    return secrets.token_hex(NONCE)


def proof_of_rank(key: str, worker_nonce: str, hello: Hello) -> str:
    """What a rank proves itself with; it covers what the rank says of itself.

    >>> hello = Hello(1, "n1", 29500, nonce="b")
    >>> proof_of_rank("k", "a", hello) == proof_of_rank("k", "a", Hello(2, "n1", 29500, nonce="b"))
    False
    """
    return _proof(key, "rank", worker_nonce, hello.nonce, hello.rank, hello.host, hello.port)


def proof_of_worker(key: str, worker_nonce: str, rank_nonce: str) -> str:
    """What the worker proves itself with."""
    return _proof(key, "worker", worker_nonce, rank_nonce)


def same(one: str, other: str) -> bool:
    """Whether two proofs are the same; takes as long for all that are not."""
    return hmac.compare_digest(one.encode(), other.encode())


def _proof(key: str, *said: Any) -> str:
    return hmac.new(key.encode(), json.dumps(said).encode(), hashlib.sha256).hexdigest()


def introduce(connection: socket.socket, key: str, hello: Hello) -> None:
    """The rank's side of the handshake on a new connection, which has a timeout.

    Args:
        connection: To what may be the worker.
        key: From the file.
        hello: What the rank says of itself, without a proof.

    Raises:
        HandshakeError: It is not the worker, or the worker refuses this rank.
        OSError: The connection broke, or the other side is silent.
    """
    greeting = _line(connection).get("nonce")
    if not isinstance(greeting, str) or len(greeting) != 2 * NONCE:
        raise HandshakeError("it does not speak as a worker does")
    send_line(connection, {**hello.to_dict(), "proof": proof_of_rank(key, greeting, hello)})
    answer = _line(connection)
    if "refused" in answer:
        raise HandshakeError(f"the worker refused it: {answer['refused']}")
    if not same(str(answer.get("proof")), proof_of_worker(key, greeting, hello.nonce)):
        raise HandshakeError("it does not have the key")


def send_line(connection: socket.socket, said: dict[str, Any]) -> None:
    """Send one line. Raises OSError."""
    connection.sendall(json.dumps(said).encode() + b"\n")


def _line(connection: socket.socket) -> dict[str, Any]:
    """The next line, and no byte of what follows it."""
    data = b""
    while not data.endswith(b"\n"):
        if len(data) >= LINE_LIMIT:
            raise HandshakeError("it does not speak as a worker does")
        piece = connection.recv(1)
        if not piece:
            raise ConnectionResetError("the connection was closed")
        data += piece
    return parsed(data)


def parsed(line: bytes) -> dict[str, Any]:
    """The JSON object in a line; empty for anything else."""
    try:
        found = read_json(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
