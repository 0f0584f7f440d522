"""Where a worker waits for ranks that a launcher starts: a TCP socket, and the handshake with each that connects."""

from __future__ import annotations

import contextlib
import fcntl
import json
import secrets
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .handshake import LINE_LIMIT, Hello, Meeting, new_nonce, parsed, proof_of_rank, proof_of_worker, same

HANDSHAKE_LIMIT = 20.0
"""Seconds that a client has for the handshake; then it is no rank."""

MOST_UNKNOWN = 64
"""Connections beside one for each rank that may be in the handshake at a time; further ones are closed at once."""

LOOPBACK = "127.0.0.1"

KEEP_ALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6, "TCP_USER_TIMEOUT": 90_000}
"""A node that does not answer for about 90 s is gone. A stopped process does not matter, since the kernel answers."""

SIOCGIFADDR = 0x8915
"""The request of ioctl(2) for the IPv4 address of a network interface."""


def keep_alive(connection: socket.socket) -> None:
    """Notice the end of a node that cannot close its connections; send small messages at once."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, value in KEEP_ALIVE.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


@dataclass(frozen=True)
class Arrived:
    """A rank that has connected and proved itself.

    Attributes:
        hello: What it says of itself.
        connection: To its program.
        address: Of its node, as this host sees it.
    """

    hello: Hello
    connection: socket.socket
    address: str


class _Client:
    """A connection in the handshake."""

    def __init__(self, connection: socket.socket, address: str, until: float) -> None:
        self.connection, self.address, self.until = connection, address, until
        self.nonce, self.data = new_nonce(), b""
        connection.setblocking(False)

    def send(self, **said: str) -> bool:
        """Send a line, which a new socket's buffer takes; False where the other end is gone."""
        data = json.dumps(said).encode() + b"\n"
        with contextlib.suppress(OSError):
            return self.connection.send(data) == len(data)
        return False


class Rendezvous:
    """Accepts the ranks of one attempt. Nothing here waits for a client.

    Args:
        ranks: How many are expected.
        peers: Names of their nodes, where the ranks are on other nodes; the socket then listens on all interfaces.
            Empty for ranks on this host.
        clock: Gives seconds.

    Attributes:
        meeting: What the ranks have to know.
    """

    def __init__(self, ranks: int, peers: Sequence[str] = (), *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._clients, self._taken = clock, dict[int, _Client](), set[int]()
        self._listener = socket.create_server(("" if peers else LOOPBACK, 0), backlog=max(128, 2 * ranks))
        self._listener.setblocking(False)
        addresses = addresses_for(peers) if peers else [LOOPBACK]
        self.meeting = Meeting(addresses, self._listener.getsockname()[1], secrets.token_hex(32), ranks)

    def descriptors(self) -> list[int]:
        """Descriptors that become readable when there is something to do."""
        return [self._listener.fileno(), *self._clients]

    def arrivals(self) -> list[Arrived]:
        """The ranks that have proved themselves since the last call."""
        self._accept()
        found = []
        for descriptor, client in tuple(self._clients.items()):
            arrived = self._read(client)
            if arrived is not None:
                found.append(arrived)
                del self._clients[descriptor]
            elif client.connection.fileno() < 0:
                del self._clients[descriptor]
        return found

    def shift(self, seconds: float) -> None:
        """Move the deadlines, since this process was stopped for so long."""
        for client in self._clients.values():
            client.until += seconds

    def close(self) -> None:
        """Close the socket and all connections in the handshake; those of arrived ranks stay open."""
        self._listener.close()
        for client in self._clients.values():
            client.connection.close()
        self._clients.clear()

    def _accept(self) -> None:
        while True:
            try:
                connection, (address, *_) = self._listener.accept()
            except OSError:  # none is left, or one that has gone, or too many files are open
                return
            if len(self._clients) >= self.meeting.ranks + MOST_UNKNOWN:
                connection.close()
                continue
            client = _Client(connection, address, self._clock() + HANDSHAKE_LIMIT)
            if client.send(nonce=client.nonce):
                self._clients[connection.fileno()] = client
            else:
                connection.close()

    def _read(self, client: _Client) -> Arrived | None:
        """Read what a client has sent; its connection is closed where it is no rank."""
        try:
            piece = client.connection.recv(LINE_LIMIT - len(client.data))
        except BlockingIOError:
            if self._clock() >= client.until:
                client.connection.close()
            return None
        except OSError:
            piece = b""
        client.data += piece
        if client.data.endswith(b"\n"):  # a rank sends one line, and then waits
            return self._judge(client)
        if not piece or len(client.data) >= LINE_LIMIT:
            client.connection.close()
        return None

    def _judge(self, client: _Client) -> Arrived | None:
        try:
            hello = Hello.from_dict(parsed(client.data))
        except ValueError:
            client.connection.close()
            return None
        key = self.meeting.key
        if not same(hello.proof, proof_of_rank(key, client.nonce, hello)):
            client.connection.close()  # without a word: it may be anybody
            return None
        if not 0 <= hello.rank < self.meeting.ranks:
            client.send(refused=f"rank {hello.rank} is none of {self.meeting.ranks} ranks, which begin with 0")
        elif hello.rank in self._taken:
            client.send(refused=f"rank {hello.rank} is connected already; does the launcher tell each rank its number?")
        elif client.send(proof=proof_of_worker(key, client.nonce, hello.nonce)):
            self._taken.add(hello.rank)
            client.connection.setblocking(True)
            keep_alive(client.connection)
            return Arrived(hello, client.connection, client.address)
        client.connection.close()
        return None


def addresses_for(peers: Sequence[str]) -> list[str]:
    """This host's IPv4 addresses at which other nodes may reach it, best first.

    Those from which this host would send to the peers come first, then those of all interfaces.

    Args:
        peers: Names of other nodes; those that cannot be resolved are passed over.
    """
    found = [address for address in map(_sent_from, peers) if address]
    with contextlib.suppress(OSError):
        found.append(socket.gethostbyname(socket.gethostname()))
    found += map(_address_of, (name for _, name in socket.if_nameindex()))
    return list(dict.fromkeys(address for address in found if address and not address.startswith("127."))) or [LOOPBACK]


def _sent_from(peer: str) -> str:
    """The address from which this host sends to a peer; empty where that is not known. Nothing is sent."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((peer, 9))
        return str(probe.getsockname()[0])
    return ""


def interface_of(address: str) -> str:
    """The name of this host's network interface with an IPv4 address; empty where there is none.

    >>> interface_of("127.0.0.1"), interface_of("192.0.2.1")
    ('lo', '')
    """
    return next((name for _, name in socket.if_nameindex() if _address_of(name) == address), "")


def _address_of(interface: str) -> str:
    """The IPv4 address of a network interface; empty where it has none."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("256s", interface.encode()[:15])
        return socket.inet_ntoa(fcntl.ioctl(probe.fileno(), SIOCGIFADDR, request)[20:24])
    return ""


def read_meeting(path: Path) -> Meeting:
    """The file that says where to connect. Raises OSError, and ValueError where it is none."""
    return Meeting.from_json(path.read_bytes())
