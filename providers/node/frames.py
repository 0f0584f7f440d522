"""Whole messages of any bytes over a connected stream socket. Uses the standard library only."""

from __future__ import annotations

import contextlib
import socket

HEADER = 8
"""Bytes in front of each message that hold its length."""

CHUNK = 2**16
"""Bytes that are read at a time."""


class Frames:
    """One end of a connected stream socket.

    Attributes:
        socket: The socket, in blocking mode.
        closed: The other end is gone.
    """

    def __init__(self, connection: socket.socket):
        self.socket = connection
        self.closed = False
        self._arrived, self._unsent = bytearray(), bytearray()

    @property
    def unsent(self) -> bool:
        """Whether :meth:`queue` has left something to :meth:`flush`."""
        return bool(self._unsent)

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self.socket.fileno()

    def send(self, message: bytes) -> None:
        """Send a message, waiting until it is taken. Raises OSError where the other end is gone."""
        self.socket.sendall(len(message).to_bytes(HEADER, "big") + message)

    def queue(self, message: bytes) -> None:
        """Send a message without waiting: what the socket does not take now is left to :meth:`flush`."""
        self._unsent += len(message).to_bytes(HEADER, "big") + message
        self.flush()

    def flush(self) -> None:
        """Send what :meth:`queue` has left, as far as there is room now."""
        while self._unsent:
            try:
                sent = self.socket.send(self._unsent, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                sent = len(self._unsent)
            del self._unsent[:sent]

    def receive(self) -> list[bytes]:
        """All messages that have arrived; does not wait."""
        with contextlib.suppress(BlockingIOError):
            while not self.closed:
                self._read(socket.MSG_DONTWAIT)
        found = []
        while (message := self._next()) is not None:
            found.append(message)
        return found

    def wait(self) -> bytes | None:
        """The next message, waiting for it; None when the other end is gone."""
        while (message := self._next()) is None and not self.closed:
            self._read(0)
        return message

    def close(self) -> None:
        """Close this end."""
        self.closed = True
        self.socket.close()

    def _read(self, flags: int) -> None:
        try:
            data = self.socket.recv(CHUNK, flags)
        except BlockingIOError:
            raise
        except OSError:
            data = b""
        self._arrived += data
        self.closed = not data

    def _next(self) -> bytes | None:
        if len(self._arrived) < HEADER:
            return None
        end = HEADER + int.from_bytes(self._arrived[:HEADER], "big")
        if len(self._arrived) < end:
            return None
        message = bytes(self._arrived[HEADER:end])
        del self._arrived[:end]
        return message
