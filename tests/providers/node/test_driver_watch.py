"""A node's agent ends a block whose driver is gone, and replaces a TMPDIR that is too long for sockets."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from pilotune.pipeline.worker.node.driver_liveness import refused
from pilotune.providers.node import driver_watch as driver_watch_module
from pilotune.providers.node.agent import ABANDONED
from pilotune.providers.node.driver_watch import NO_CONNECTION_LIMIT, YIELD_PATIENCE, DriverWatch, connected

ROWS = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:D2F0 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 0100007F:A8F0 0100007F:D543 01 00000000:00000000 00:00000000 00000000     0        0 2 1
   2: 0100007F:A8F2 0100007F:D544 02 00000000:00000000 00:00000000 00000000     0        0 3 1
"""

IMPATIENT = """
import sys
from pilotune.providers.node import driver_watch
driver_watch.CHECK_INTERVAL = driver_watch.NO_CONNECTION_LIMIT = 0.5
import pilotune.providers.node.agent as node
sys.exit(node.main(sys.argv[1:]))
"""


def refusing() -> int:
    """A port of this host on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def silent() -> Iterator[tuple[str, int]]:
    """An address that does not answer because its queue is full. On the same port of 127.0.0.1 nobody listens."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.2", 0))
        server.listen(0)
        knocking = []
        while not knocking or select.select([], [knocking[-1]], [], 0.2)[1]:
            knocking.append(stack.enter_context(socket.socket()))
            knocking[-1].setblocking(False)
            knocking[-1].connect_ex(server.getsockname())
        yield server.getsockname()


def test_a_connection_is_one_that_is_established_to_the_drivers_port(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    table.write_text(ROWS)
    assert connected(0xD543, [table, tmp_path / "none"]) == {"127.0.0.1"}
    assert connected(0xD544, [table]) == set(), "it is only being opened"
    assert connected(0xD2F0, [table]) == set(), "it is a listening socket"
    assert connected(1, [tmp_path / "none"]) is None, "the kernel does not tell"


@pytest.mark.parametrize(
    ("family", "listens", "asked", "seen"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET6, "::1", "::1", "::1"),
        (socket.AF_INET6, "::", "::ffff:127.0.0.1", "127.0.0.1"),
    ],
)
def test_connections_of_each_kind_of_address_are_seen(
    family: socket.AddressFamily, listens: str, asked: str, seen: str
) -> None:
    if family is socket.AF_INET6 and not socket.has_dualstack_ipv6():
        pytest.skip("this host has no IPv6")
    with socket.create_server((listens, 0), family=family, dualstack_ipv6=listens == "::") as server:
        port = server.getsockname()[1]
        assert connected(port) == set()
        with socket.socket(family) as client:
            client.connect((asked, port))
            assert connected(port) == {seen}


def test_a_driver_counts_as_lost_after_some_time_without_connection_and_without_busy_workers(tmp_path: Path) -> None:
    watch = DriverWatch(1, (), tmp_path)  # nobody knows where the driver may be
    start = watch._last_connected
    assert not watch.is_lost(start + NO_CONNECTION_LIMIT - 1)
    (tmp_path / str(os.getpid())).touch()
    assert not watch.is_lost(start + NO_CONNECTION_LIMIT), "its workers check for themselves"
    (tmp_path / str(os.getpid())).unlink()
    assert not watch.is_lost(start + 2 * NO_CONNECTION_LIMIT - 1)
    assert watch.is_lost(start + 2 * NO_CONNECTION_LIMIT)
    assert not DriverWatch(None, (), tmp_path).is_lost(start + 9 * NO_CONNECTION_LIMIT)


def test_a_connection_shows_that_the_driver_lives_and_its_end_is_checked_at_the_address_it_had(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as connection:
            watch = DriverWatch(server.getsockname()[1], ("127.0.0.3", "127.0.0.1"), tmp_path)
            assert not watch.is_lost(watch._last_connected + 2 * NO_CONNECTION_LIMIT)
            server.accept()[0].close()
            connection.recv(1)
        start = watch._last_connected
        assert not watch.is_lost(start + 1), "somebody listens there"
    assert not watch.is_lost(start + 2), "refused once"
    assert watch.is_lost(start + 3)
    assert watch.reason == "has lost its driver, whose host refuses connections"


def test_busy_workers_have_some_time_when_their_driver_is_dead(tmp_path: Path) -> None:
    watch = DriverWatch(refusing(), ("127.0.0.1",), tmp_path)
    (tmp_path / str(os.getpid())).touch()
    start = watch._last_connected
    assert not any(watch.is_lost(start + moment) for moment in (0, 1, YIELD_PATIENCE - 1))
    assert watch.is_lost(start + YIELD_PATIENCE)
    watch = DriverWatch(refusing(), ("127.0.0.1",), tmp_path)
    (tmp_path / str(os.getpid())).unlink()
    assert [watch.is_lost(start), watch.is_lost(start + 1)] == [False, True]


def test_an_address_that_keeps_silent_may_be_the_drivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_watch_module, "connected", lambda port: set())  # but for those that fill the queue
    with silent() as (address, port):
        watch = DriverWatch(port, ("127.0.0.1", address), tmp_path)
        start = watch._last_connected
        assert not any(watch.is_lost(start + moment) for moment in range(4))
        assert watch.is_lost(start + NO_CONNECTION_LIMIT)
    assert refused([("127.0.0.1", port), (address, port)])


def test_a_block_that_starts_after_its_driver_died_starts_nothing(tmp_path: Path) -> None:
    launch = tmp_path / "cpu.json"
    program = f'{sys.executable} -c \'open("{tmp_path}/begun", "w")\''
    launch.write_text(json.dumps({"command": f"{program} -a 127.0.0.1 --port={refusing()}"}))
    done = subprocess.run(
        [sys.executable, "-m", "pilotune.providers.node.agent", str(launch), "3"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == ABANDONED
    assert "block 3 has lost its driver, whose host refuses connections, so it ends" in done.stderr
    assert not (tmp_path / "begun").exists()


def test_a_block_without_its_driver_ends_with_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    launch = tmp_path / "cpu.json"
    launch.write_text(json.dumps({"command": f"{sys.executable} -c 'import time; time.sleep(600)' --port=1"}))
    done = subprocess.run(
        [sys.executable, "-c", IMPATIENT, str(launch), "3"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == ABANDONED
    assert "block 3 has had no connection to its driver" in done.stderr


def test_a_temporary_folder_that_is_too_long_for_sockets_is_not_given_to_the_workers(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 80)
    folder.mkdir()
    launch = tmp_path / "cpu.json"
    program = "import os; print(os.environ['TMPDIR'])"
    launch.write_text(json.dumps({"command": f'{sys.executable} -c "{program}"'}))
    done = subprocess.run(
        [sys.executable, "-m", "pilotune.providers.node.agent", str(launch), "0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    assert (done.returncode, done.stdout) == (0, "/tmp\n")
    assert "TMPDIR is too long" in done.stderr
