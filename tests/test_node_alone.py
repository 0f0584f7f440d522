"""What a node's program mends around the worker pool: a driver that is gone, a TMPDIR that is too long."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from pilotune.providers.node import ABANDONED, ALONE, Company, connected

ROWS = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:D2F0 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 0100007F:A8F0 0100007F:D543 01 00000000:00000000 00:00000000 00000000     0        0 2 1
   2: 0100007F:A8F2 0100007F:D544 02 00000000:00000000 00:00000000 00000000     0        0 3 1
"""

IMPATIENT = """
import sys
import pilotune.providers.node as node
node.LOOK, node.ALONE = 0.1, 0.5
sys.exit(node.main(sys.argv[1:]))
"""


def test_a_connection_is_one_that_is_established_to_the_drivers_port(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    table.write_text(ROWS)
    assert connected(0xD543, table)
    assert not connected(0xD544, table), "it is only being tried"
    assert not connected(0xD2F0, table), "it is listened to here"
    assert connected(1, tmp_path / "none"), "the kernel does not tell"


def test_a_node_is_alone_after_some_time_without_connection_and_without_busy_workers(tmp_path: Path) -> None:
    company = Company(1, tmp_path)  # no driver has that port
    start = company._seen
    assert not company.lost(start + ALONE - 1)
    assert company.lost(start + ALONE)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        beside = Company(server.getsockname()[1], tmp_path)
        assert not beside.lost(beside._seen + 2 * ALONE)
    assert beside.lost(beside._seen + ALONE)
    assert not Company(None, tmp_path).lost(start + 9 * ALONE)


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
        [sys.executable, "-m", "pilotune.providers.node", str(launch), "0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    assert (done.returncode, done.stdout) == (0, "/tmp\n")
    assert "TMPDIR is too long" in done.stderr
