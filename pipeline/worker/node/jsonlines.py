"""JSON lines over a socket, read without blocking; between a worker and its trial's process."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any

from ...trial.from_json import read_json

CHUNK = 65536


class Lines:
    """One end. ``closed`` is set when the other end is; a line that is not a JSON object is dropped."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.closed = False
        self._buffer = b""

    def fileno(self) -> int:
        return self.connection.fileno()

    def send(self, message: dict[str, Any]) -> None:
        """Send one line; nothing happens when the other end is gone: what it said before can still be read."""
        with contextlib.suppress(OSError):
            self.connection.sendall(json.dumps(message).encode() + b"\n")

    def here(self) -> list[dict[str, Any]]:
        """All lines that have arrived."""
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

    def peek(self) -> bytes:
        """What has arrived and was not read yet, left where it is."""
        try:
            return self.connection.recv(CHUNK, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError:
            return b""

    def close(self) -> None:
        self.closed = True
        self.connection.close()

    def _read(self, flags: int) -> bool:
        try:
            data = self.connection.recv(CHUNK, flags)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        self.closed = not data
        self._buffer += data
        return bool(data)

    def _split(self) -> list[dict[str, Any]]:
        *whole, self._buffer = self._buffer.split(b"\n")
        found = []
        for line in whole:
            try:
                message = read_json(line)
            except ValueError:
                continue
            if isinstance(message, dict):
                found.append(message)
        return found
