"""JSON objects over a stream socket, one a line; read without blocking, or waited for."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any

from ...trial.from_json import read_json

CHUNK = 65536
"""Bytes that are read at a time."""


class JsonLines:
    """One end of a connected stream socket. A line that is not a JSON object is dropped.

    Attributes:
        closed: The other end is closed, or this one. What had arrived before can no longer be read.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.closed = False
        self._buffer = b""
        self._unsent = b""

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self.connection.fileno()

    def send(self, line: dict[str, Any]) -> None:
        """Send one line. Ignored where the other end is gone: the reader learns that from :attr:`closed`."""
        data = json.dumps(line).encode() + b"\n"
        if self._unsent:
            self._unsent += data
            self.flush()
            return
        with contextlib.suppress(OSError):
            self.connection.sendall(data)

    def queue(self, line: dict[str, Any]) -> None:
        """As :meth:`send`, but never waits: what does not fit into the socket's buffer is left to :meth:`flush`."""
        self.queue_bytes(json.dumps(line).encode() + b"\n")

    def queue_bytes(self, data: bytes) -> None:
        """As :meth:`queue`, for bytes that the other end reads before it reads lines."""
        self._unsent += data
        self.flush()

    def flush(self) -> None:
        """Send what :meth:`queue` has left, as far as there is room now."""
        while self._unsent:
            try:
                sent = self.connection.send(self._unsent, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                sent = len(self._unsent)
            self._unsent = self._unsent[sent:]

    def receive(self) -> list[dict[str, Any]]:
        """All lines that have arrived; does not wait."""
        found: list[dict[str, Any]] = []
        while not self.closed and self._read(socket.MSG_DONTWAIT):
            found += self._split()
        return found

    def wait(self) -> list[dict[str, Any]]:
        """At least one line, waiting for it; empty when the other end is gone."""
        while not self.closed:
            self._read(0)
            found = self._split()
            if found:
                return found
        return []

    def peek(self) -> list[dict[str, Any]]:
        """Whole lines among the next CHUNK bytes that have arrived, left unread. Safe in a signal handler."""
        try:
            data = self.connection.recv(CHUNK, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError:
            return []
        *whole, _ = (self._buffer + data).split(b"\n")
        return _objects(whole)

    def close(self) -> None:
        """Close this end."""
        self.closed = True
        self.connection.close()

    def _read(self, flags: int) -> bool:
        try:
            data = self.connection.recv(CHUNK, flags)
        except BlockingIOError:
            return False
        except TimeoutError:  # an OSError, but not the socket's: a signal handler of the objective raised it
            raise
        except OSError:
            data = b""
        self.closed = not data
        self._buffer += data
        return bool(data)

    def _split(self) -> list[dict[str, Any]]:
        *whole, self._buffer = self._buffer.split(b"\n")
        return _objects(whole)


def _objects(lines: list[bytes]) -> list[dict[str, Any]]:
    found = []
    for line in lines:
        try:
            value = read_json(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found
