"""Limits the messages that Parsl's sockets accept: they allocate memory for one before they authenticate its sender."""

from __future__ import annotations

from typing import Any

MAX_MESSAGE_BYTES = 128 * 2**20
"""Largest message. A worker's outcome as JSON is a quarter of it at most."""


def limit_messages() -> None:
    """Make Parsl's new sockets in this process drop connections that announce a message above MAX_MESSAGE_BYTES.

    Calling it again has no effect.
    """
    from parsl import curvezmq

    for context in (curvezmq.ServerContext, curvezmq.ClientContext):
        made = context.socket
        if not getattr(made, "limited", False):
            context.socket = _limited(made)


def _limited(made: Any) -> Any:
    def socket(self: Any, *arguments: Any, **options: Any) -> Any:
        result = made(self, *arguments, **options)
        result.maxmsgsize = MAX_MESSAGE_BYTES
        return result

    socket.limited = True  # type: ignore[attr-defined]
    return socket
