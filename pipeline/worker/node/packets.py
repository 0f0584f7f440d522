"""Packets of a connected SOCK_SEQPACKET socket. Uses the standard library only."""

from __future__ import annotations

import socket


def arrived(connection: socket.socket, size: int) -> tuple[list[bytes], bool]:
    """The packets that have arrived, and whether the other end is gone; does not wait.

    Args:
        connection: The socket.
        size: Most bytes of a packet.
    """
    found: list[bytes] = []
    while True:
        try:
            packet = connection.recv(size, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return found, False
        except OSError:
            packet = b""
        if not packet:
            return found, True
        found.append(packet)
