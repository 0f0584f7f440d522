"""The servers that tests start end with the process that started them, even if that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ..support.local import until
from ..support.postgres import Server

STARTS = """
import sys, time
from pilotune.tests.support.postgres import Server
server = Server()
print(server.process.pid, server.folder, flush=True)
time.sleep(600)
"""


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.postgres
@pytest.mark.usefixtures("postgres_server")  # which knows whether one can be started here
def test_a_postgresql_ends_with_a_killed_owner() -> None:
    with subprocess.Popen([sys.executable, "-c", STARTS], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        pid, folder = owner.stdout.readline().split()
        assert running(int(pid))
        owner.send_signal(signal.SIGKILL)
    until(lambda: not running(int(pid)), "the server has ended")
    until(lambda: not os.path.exists(folder), "its folder is gone")


@pytest.mark.postgres
@pytest.mark.usefixtures("postgres_server")
def test_the_watcher_of_a_stopped_server_is_gone() -> None:
    server = Server()
    assert server.watcher is not None
    server.stop()
    assert server.watcher.returncode is not None


WATCHES = """
import sys, time
from pilotune.tests.support.watcher import watch
print(watch(["touch", sys.argv[1]]).pid, flush=True)
time.sleep(600)
"""


def test_a_watcher_acts_only_when_its_parent_is_gone(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with subprocess.Popen([sys.executable, "-c", WATCHES, str(mark)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        watcher = int(owner.stdout.readline())
        until(lambda: os.getsid(watcher) == watcher, "the watcher runs")
        assert not mark.exists()
        owner.send_signal(signal.SIGKILL)
    until(mark.exists, "the watcher has acted")
