"""Limits on what Parsl's sockets take in from those who have not proved yet to be the campaign's."""

from __future__ import annotations

from typing import Any

LARGEST = 128 * 2**20
"""Bytes of a message. A worker's outcome is at most a quarter of that, as JSON."""


def limit_messages() -> None:
    """Sockets that Parsl makes in this process from now on drop a connection that announces a larger message.

    ZeroMQ makes room for a message before it knows who sends it. May be called again.
    """
    from parsl import curvezmq

    for context in (curvezmq.ServerContext, curvezmq.ClientContext):
        made = context.socket
        if not getattr(made, "limited", False):
            context.socket = _limited(made)


def _limited(made: Any) -> Any:
    def socket(self: Any, *arguments: Any, **options: Any) -> Any:
        result = made(self, *arguments, **options)
        result.maxmsgsize = LARGEST
        return result

    socket.limited = True  # type: ignore[attr-defined]
    return socket
