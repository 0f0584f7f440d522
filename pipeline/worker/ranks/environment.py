"""The variables that tell a rank which of how many it is, as ``torchrun`` sets them, and where the ranks meet."""

from __future__ import annotations

import contextlib
import socket
from typing import NamedTuple

from ...trial.protocol import AttemptSpec

LOOPBACK = "127.0.0.1"
"""Where the ranks of one node meet."""


class MeetingPort:
    """A port for ``MASTER_PORT``, which no other program is given while this object is open.

    The socket is bound and does not listen, so rank 0 can bind the port as well, as all libraries do with
    ``SO_REUSEADDR``.

    >>> with MeetingPort() as one, MeetingPort() as other:
    ...     one.number != other.number
    True
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("", 0))
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Give the port back."""
        with contextlib.suppress(OSError):
            self._socket.close()

    def __enter__(self) -> MeetingPort:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Place(NamedTuple):
    """Where a rank runs.

    Attributes:
        node: The number of its node, from 0.
        local: Its number on that node, from 0.
        size: How many ranks the node has.
    """

    node: int
    local: int
    size: int


def rank_environment(spec: AttemptSpec, address: str, port: int, place: Place | None = None) -> dict[str, str | None]:
    """The variables of the rank ``spec.rank``.

    Args:
        spec: The rank's.
        address: The node of rank 0, as the other nodes reach it.
        port: A free port on it.
        place: Where the rank runs; None for ranks that are numbered node by node.

    >>> spec = AttemptSpec("7.1.c", "s", 7, 1, {}, False, "", 0, 1, ranks=8, ranks_per_node=4, nodes=2, rank=5)
    >>> values = rank_environment(spec, "n1", 29500)
    >>> [values[name] for name in ("RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_PORT")]
    ['5', '1', '1', '8', '4', '29500']
    """
    node, local, size = place or (*divmod(spec.rank, spec.ranks_per_node), spec.ranks_per_node)
    return {
        "RANK": str(spec.rank),
        "LOCAL_RANK": str(local),
        "WORLD_SIZE": str(spec.ranks),
        "LOCAL_WORLD_SIZE": str(size),
        "GROUP_RANK": str(node),
        "GROUP_WORLD_SIZE": str(spec.nodes),
        "NODE_RANK": str(node),
        "ROLE_RANK": str(spec.rank),
        "ROLE_WORLD_SIZE": str(spec.ranks),
        "MASTER_ADDR": address,
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": spec.token,  # by which libraries know that the variables above are meant
    }
