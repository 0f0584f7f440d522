"""Ranks that connect to their worker, and clients that are none."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilotune.pipeline.worker.ranks.handshake import (
    LINE_LIMIT,
    HandshakeError,
    Hello,
    Meeting,
    introduce,
    new_nonce,
    proof_of_rank,
    send_line,
)
from pilotune.pipeline.worker.ranks.rendezvous import (
    HANDSHAKE_LIMIT,
    LOOPBACK,
    MOST_UNKNOWN,
    Arrived,
    Rendezvous,
    addresses_for,
    read_meeting,
)

from ...support.local import until


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def waiting(clock: Clock) -> Iterator[Rendezvous]:
    rendezvous = Rendezvous(2, clock=clock)
    yield rendezvous
    rendezvous.close()


def client(waiting: Rendezvous) -> socket.socket:
    return socket.create_connection((LOOPBACK, waiting.meeting.port), 20)


def join(waiting: Rendezvous, rank: int, key: str = "") -> tuple[list[Arrived], str]:
    """A rank connects; who has arrived then, and why it was refused."""
    problems: list[str] = []

    def go() -> None:
        with client(waiting) as connection:
            try:
                introduce(connection, key or waiting.meeting.key, Hello(rank, "n1", 29500, new_nonce()))
                problems.append("")
            except (HandshakeError, OSError) as error:
                problems.append(str(error))

    thread = threading.Thread(target=go)
    thread.start()
    found: list[Arrived] = []
    until(lambda: found.extend(waiting.arrivals()) or problems, "the handshake is over")  # type: ignore[func-returns-value]
    thread.join()
    return found, problems[0]


def closed(waiting: Rendezvous, connection: socket.socket) -> bool:
    """Whether the worker has closed a connection; what it has sent before is read."""
    assert waiting.arrivals() == []
    connection.settimeout(None)  # with a timeout, Python waits for it
    try:
        while data := connection.recv(4096, socket.MSG_DONTWAIT):
            assert data
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    return True


def test_ranks_with_the_key_arrive_once(waiting: Rendezvous) -> None:
    (arrived,), problem = join(waiting, 1)
    assert (arrived.hello.rank, arrived.hello.host, arrived.address, problem) == (1, "n1", LOOPBACK, "")
    taken, problem = join(waiting, 1)
    assert (taken, "rank 1 is connected already" in problem) == ([], True)
    none, problem = join(waiting, 2)
    assert (none, "rank 2 is none of 2 ranks" in problem) == ([], True)
    (other,), problem = join(waiting, 0)
    assert (other.hello.rank, problem) == (0, "")
    for each in (arrived, other):
        each.connection.close()


def test_a_rank_with_another_key_is_disconnected_without_a_word(waiting: Rendezvous) -> None:
    assert join(waiting, 1, key="0" * 64) == ([], "the connection was closed")


NO_RANKS: list[bytes] = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"null\n",
    b"{}\n",
    b'{"rank": "1", "host": 2, "port": 3, "nonce": 4, "proof": null}\n',
    json.dumps(Hello(1, "n1", 1, "n", "p").to_dict()).encode() + b"\n",
    b'{"rank": 1' + b" " * LINE_LIMIT,
    os.urandom(200) + b"\n",
    b"\n",
]


@pytest.mark.parametrize("said", NO_RANKS, ids=[str(number) for number in range(len(NO_RANKS))])
def test_what_no_rank_says_ends_its_connection(waiting: Rendezvous, said: bytes) -> None:
    with client(waiting) as connection:
        connection.sendall(said)
        until(lambda: closed(waiting, connection), "the client is disconnected")
    (arrived,), _ = join(waiting, 1)
    arrived.connection.close()


def test_a_proof_is_good_for_its_connection_only(waiting: Rendezvous) -> None:
    hello = Hello(1, "n1", 29500, new_nonce())
    with client(waiting) as one, client(waiting) as other:
        until(lambda: waiting.arrivals() == [] and len(waiting.descriptors()) == 3, "both are greeted")
        greeting = json.loads(one.recv(4096))
        send_line(other, {**hello.to_dict(), "proof": proof_of_rank(waiting.meeting.key, greeting["nonce"], hello)})
        until(lambda: closed(waiting, other), "the one that repeats a proof is disconnected")


def test_silent_clients_are_disconnected_in_time_and_delay_nobody(waiting: Rendezvous, clock: Clock) -> None:
    with client(waiting) as silent:
        (arrived,), _ = join(waiting, 0)
        assert not closed(waiting, silent)
        clock.now += HANDSHAKE_LIMIT
        until(lambda: closed(waiting, silent), "the silent client is disconnected")
    arrived.connection.close()


def test_a_suspended_job_costs_no_rank_its_handshake(waiting: Rendezvous, clock: Clock) -> None:
    with client(waiting) as slow:
        until(lambda: not closed(waiting, slow) and len(waiting.descriptors()) == 2, "it is greeted")
        clock.now += 3600.0
        waiting.shift(3600.0)
        assert not closed(waiting, slow)


def test_no_more_clients_than_some_are_listened_to_at_a_time(waiting: Rendezvous) -> None:
    most = 2 + MOST_UNKNOWN
    clients = [client(waiting) for _ in range(most + 3)]
    until(lambda: sum(closed(waiting, each) for each in clients) == 3, "those above the limit are disconnected")
    for each in clients:
        each.close()


def test_ranks_on_this_host_connect_by_the_loopback_interface_only() -> None:
    waiting = Rendezvous(1)
    try:
        assert waiting.meeting.addresses == [LOOPBACK]
        assert waiting._listener.getsockname()[0] == LOOPBACK
    finally:
        waiting.close()


def test_addresses_for_other_nodes_are_those_that_they_can_reach() -> None:
    found = addresses_for(["no.such.node.invalid", "127.0.0.1"])
    assert found
    if found != [LOOPBACK]:  # a host without a network has no other
        assert not any(address.startswith("127.") for address in found)


def test_the_file_with_the_key_is_for_the_user_only_and_replaced_where_there_is_one(tmp_path: Path) -> None:
    path, umask = tmp_path / "meeting-1.json", os.umask(0)
    try:
        for key in ("ab", "cd"):
            Meeting(["127.0.0.1"], 29500, key, 2).write(path)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert read_meeting(path).key == key
    finally:
        os.umask(umask)
    assert [each.name for each in tmp_path.iterdir()] == ["meeting-1.json"]


# -- the other side ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("says", "problem"),
    [
        (b'{"nonce": 5}\n', "it does not speak as a worker does"),
        (b"x" * (LINE_LIMIT + 1), "it does not speak as a worker does"),
        (b'{"nonce": "%s"}\n{"proof": "%s"}\n' % (b"a" * 64, b"b" * 64), "it does not have the key"),
        (b'{"nonce": "%s"}\n{}\n' % (b"a" * 64), "it does not have the key"),
        (b'{"nonce": "%s"}\n{"refused": "no"}\n' % (b"a" * 64), "the worker refused it: no"),
    ],
)
def test_a_rank_goes_to_no_worker_without_the_key(says: bytes, problem: str) -> None:
    own, theirs = socket.socketpair()
    with own, theirs:
        theirs.sendall(says)
        with pytest.raises(HandshakeError, match=problem):
            introduce(own, "key", Hello(1, "n1", 29500, new_nonce()))


def test_a_silent_worker_is_given_up() -> None:
    own, theirs = socket.socketpair()
    with own, theirs:
        own.settimeout(0.05)
        with pytest.raises(OSError, match="timed out"):
            introduce(own, "key", Hello(1, "n1", 29500, new_nonce()))
