"""A worker pool's connection to Parsl's interchange, in Parsl's protocol: pickled messages over an encrypted socket.

To the interchange go ``connection_probe``, ``registration``, ``heartbeat`` and results; from it come empty answers to
probes, lists of tasks, and two numbers: the answer to a heartbeat, and the order to end.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zmq
from parsl.version import VERSION

from .pool_options import PoolOptions
from .tasks import decode, encode

HEARTBEAT, SHUTDOWN = 2**32 - 1, 2**32 - 2
"""Parsl's codes in place of a list of tasks."""

PROBE = encode({"type": "connection_probe"})
PROBE_LIMIT = 30.0
"""Seconds for the interchange to answer at any of its addresses."""

STOPPED_FOR = 5.0
"""Seconds by which a heartbeat has to be late for this process to have been stopped with its job."""

MAX_MESSAGE_BYTES = 128 * 2**20
"""Largest message that is accepted; it is buffered before its sender is known."""


UNREACHABLE = "the driver answers at none of"
"""The beginning of what a pool says that reaches no interchange."""


class NoInterchange(Exception):
    """The interchange does not answer. The message is one sentence."""


class InterchangeLink:
    """A registered connection.

    Args:
        options: The pool's.

    Raises:
        NoInterchange: It answers at none of the addresses.
        OSError: The keys cannot be read.

    Attributes:
        socket: The ZeroMQ socket, for a poller.
        last_contact: When it last sent anything, in monotonic seconds.
    """

    def __init__(self, options: PoolOptions):
        self._options = options
        self._context = zmq.Context()
        self._keys = read_keys(options.certificates)
        self.socket = self._connect([f"tcp://{_bracketed(each)}:{options.port}" for each in options.addresses])
        self.last_contact = self._last_beat = self._last_look = time.monotonic()
        self.socket.send(encode(registration(options)))

    def _connect(self, urls: Sequence[str]) -> zmq.Socket[bytes]:
        """A socket to the first address that answers."""
        sockets = [self._socket(url) for url in urls]
        poller = zmq.Poller()
        for each in sockets:
            poller.register(each, zmq.POLLIN)
            each.send(PROBE)
        answered = [each for each, _ in poller.poll(int(1000 * PROBE_LIMIT))]
        if not answered:
            raise NoInterchange(f"{UNREACHABLE} {', '.join(urls)} within {PROBE_LIMIT:g} s")
        kept: zmq.Socket[bytes] = min(answered, key=sockets.index)
        kept.recv()
        for each in sockets:
            if each is not kept:
                each.close()
        return kept

    def _socket(self, url: str) -> zmq.Socket[bytes]:
        made: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        made.curve_serverkey, made.curve_publickey, made.curve_secretkey = self._keys
        made.identity = self._options.uid.encode()
        made.linger = 0
        made.ipv6 = "[" in url  # for IPv4 the kernel's table of such connections shows it to the agent's DriverWatch
        made.maxmsgsize = MAX_MESSAGE_BYTES
        made.connect(url)
        return made

    def send(self, message: bytes) -> None:
        """Send a result."""
        self.socket.send(message)

    def receive(self) -> list[Any]:
        """What has arrived: lists of tasks, and SHUTDOWN."""
        found: list[Any] = []
        while True:
            try:
                data = self.socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return found
            self.last_contact = time.monotonic()
            message = decode(data) if data else HEARTBEAT
            if message != HEARTBEAT:
                found.append(message)

    def beat(self, now: float) -> float:
        """Send a heartbeat where one is due; returns the seconds until the next one."""
        if now >= self._last_beat + self._options.heartbeat:
            self._last_beat = now
            self.socket.send(encode({"type": "heartbeat"}))
        return self._last_beat + self._options.heartbeat - now

    def silent(self, now: float) -> bool:
        """Whether the interchange has been silent for too long. To be called at least once a heartbeat's period.

        A time for which this process was stopped with its job does not count.
        """
        gap, self._last_look = now - self._last_look, now
        if gap > self._options.heartbeat + STOPPED_FOR:
            self.last_contact += gap
        return now >= self.last_contact + self._options.silence

    def close(self) -> None:
        """Close it. What was sent last may be lost."""
        self.socket.close()
        self._context.term()


def registration(options: PoolOptions) -> dict[str, Any]:
    """What the interchange asks of a worker pool that connects."""
    return {
        "type": "registration",
        "parsl_v": VERSION,  # the interchange refuses another one than its own
        "python_v": ".".join(map(str, sys.version_info[:3])),
        "packages": {},
        "worker_count": options.workers,
        "uid": options.uid,
        "block_id": options.block,
        "start_time": time.time(),
        "drain_time": float("inf"),
        "prefetch_capacity": options.prefetch,
        "max_capacity": options.workers + options.prefetch,
        "os": os.uname().sysname,
        "hostname": os.uname().nodename,
        "dir": os.getcwd(),
        "cpu_count": os.cpu_count(),
        "total_memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def read_keys(folder: Path) -> tuple[bytes, bytes, bytes]:
    """The server's public key and the client's public and secret key, from files of Parsl's in ``folder``.

    Raises OSError where they cannot be read, or the folder is open to others.
    """
    if folder.stat().st_mode & 0o077:
        raise OSError(f"the folder with the campaign's keys must be private: {folder}")
    server, client = (_keys_in(folder / f"{name}.key_secret") for name in ("server", "client"))
    return server["public-key"], client["public-key"], client["secret-key"]


def _keys_in(path: Path) -> dict[str, bytes]:
    """The keys in a certificate file, which has a line ``name = "value"`` for each."""
    lines = [line.partition("=") for line in path.read_text(encoding="utf-8").splitlines() if "=" in line]
    return {name.strip(): value.strip().strip('"').encode() for name, _, value in lines}


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
