"""Everything that a trial starts ends with its attempt, daemons included; other processes of the user stay."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilotune.pipeline.trial.protocol import ObjectiveSpec
from pilotune.pipeline.worker.node import posix
from pilotune.pipeline.worker.node.posix import children, descendants, end_children, process_start
from pilotune.pipeline.worker.run_attempt import run_attempt
from pilotune.providers.node.orphan_processes import ORPHAN_GRACE, OrphanProcesses

from ...support.local import until
from ...support.trial_driver import make_spec

DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        with open(sys.argv[1], "a") as file:
            file.write(f"{os.getpid()} ")
        time.sleep(600)
    os._exit(0)
os.wait()
"""
"""Starts a daemon with a session of its own and no parent; appends its pid to a file."""

OBJECTIVE = """
    import os, signal, subprocess, sys, time

    def ends(trial):
        start(trial)
        return 1.0

    def loses_its_fork_server(trial):
        start(trial)
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)

    def start(trial):
        noted = trial.checkpoint_dir / "pid"
        subprocess.run([sys.executable, "-c", DAEMON, str(noted)], check=True)
        while not noted.exists() or not noted.read_text().endswith(" "):
            time.sleep(0.01)
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Path:
    path = tmp_path / "daemon.py"
    path.write_text(DAEMON)
    return path


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """Another process of the user's."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def alive(pid: int) -> bool:
    return process_start(pid) is not None


def noted(path: Path) -> list[int]:
    return [int(pid) for pid in path.read_text().split()]


@pytest.mark.parametrize(("function", "kind"), [("ends", "complete"), ("loses_its_fork_server", "failed")])
def test_a_daemon_of_an_objective_ends_with_its_attempt(tmp_path: Path, other: Any, function: str, kind: str) -> None:
    path = tmp_path / "starts.py"
    path.write_text(f"DAEMON = {DAEMON!r}\n" + textwrap.dedent(OBJECTIVE))
    outcome = run_attempt(make_spec(tmp_path, ObjectiveSpec(file=str(path), function=function)))
    assert outcome["kind"] == kind
    (pid,) = noted(tmp_path / "trials" / "7" / "checkpoint" / "pid")
    assert not alive(pid)
    assert other.poll() is None, "a child of the worker that is none of the attempt's was ended"


OPEN_POOL = """
    import atexit, concurrent.futures

    def objective(trial):
        atexit.register((trial.checkpoint_dir / "left").touch)
        global pool
        pool = concurrent.futures.ProcessPoolExecutor(1)
        return pool.submit(abs, -3).result()
"""


def test_a_process_pool_that_an_objective_leaves_open_is_closed_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pool.py"
    path.write_text(textwrap.dedent(OPEN_POOL))
    outcome = run_attempt(make_spec(tmp_path, ObjectiveSpec(file=str(path), function="objective"), grace=60.0))
    assert (outcome["kind"], outcome["values"]) == ("complete", [3.0]), outcome["traceback"]
    assert (tmp_path / "trials/7/checkpoint/left").exists(), "it was killed before its exit handlers had run"


@pytest.mark.parametrize("end", ["exit 0", "exit 3", "sleep 600"])
def test_a_daemon_of_a_command_ends_with_its_attempt(tmp_path: Path, daemon: Path, other: Any, end: str) -> None:
    saved = tmp_path / "pid"
    wait = f"while [ $(wc -w < {saved}) -lt 2 ]; do sleep 0.01; done"
    start = f"{sys.executable} {daemon} {saved}"
    run = f"{start}; {start}; {wait}; echo '{{{{\"value\": 1}}}}' >> {{reports_file}}; {end}"
    spec = make_spec(tmp_path, ObjectiveSpec(command=run, shell=True), timeout=3.0)
    saved.touch()
    outcome = run_attempt(spec)
    assert outcome["failure"] == {"exit 0": "", "exit 3": "exit", "sleep 600": "timeout"}[end]
    first, second = noted(saved)
    assert not alive(first)
    assert not alive(second)
    assert other.poll() is None


def test_a_worker_adopts_orphans_only_while_an_attempt_runs(tmp_path: Path, daemon: Path) -> None:
    saved = tmp_path / "pid"
    subprocess.run([sys.executable, str(daemon), str(saved)], check=True)
    (pid,) = until(lambda: saved.exists() and noted(saved), "the daemon runs")
    assert pid not in children()
    with descendants():
        assert pid not in children()
    assert alive(pid)
    os.kill(pid, signal.SIGKILL)


def test_what_may_not_be_ended_is_left_and_nobody_hangs_in_it(other: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(pid: int, number: int) -> None:
        asked.append(pid)
        raise PermissionError

    kept = children() - {other.pid}
    with monkeypatch.context() as patch:
        patch.setattr(posix.os, "kill", refuse)
        end_children(kept)
    assert other.poll() is None
    assert asked == [other.pid]
    end_children(kept)
    assert not alive(other.pid)


def test_children_are_found_where_the_kernel_does_not_list_them(other: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = children()
    monkeypatch.setattr(posix, "Path", lambda path: Path("/nowhere" if "task" in path else path))
    assert other.pid in listed
    assert children() == listed


# -- what a killed worker leaves --------------------------------------------------------------------------------------


def test_orphans_have_a_while_to_end_by_themselves(other: Any) -> None:
    orphans = OrphanProcesses(())
    orphans.end({other.pid}, 100.0)
    orphans.end({other.pid}, 100.0 + ORPHAN_GRACE - 1)
    assert other.poll() is None
    orphans.end((), 100.0 + ORPHAN_GRACE)  # another had its number meanwhile
    orphans.end({other.pid}, 101.0 + ORPHAN_GRACE)
    assert other.poll() is None
    orphans.end({other.pid}, 101.0 + 2 * ORPHAN_GRACE)
    assert other.wait(10) == -signal.SIGKILL


def test_daemons_of_a_blocks_setup_are_no_orphans(other: Any) -> None:
    orphans = OrphanProcesses({other.pid})
    for now in (0.0, ORPHAN_GRACE, 2 * ORPHAN_GRACE):
        orphans.end({other.pid}, now)
    assert other.poll() is None


HASTY = """
import sys
from pilotune.providers.node import agent as node, orphan_processes
node.CHECK_INTERVAL, orphan_processes.ORPHAN_GRACE = 0.1, 0.3
sys.exit(node.main(sys.argv[1:]))
"""

POOL = """
import os, subprocess, sys, time
worker = subprocess.Popen([sys.executable, sys.argv[1], sys.argv[2]])
worker.wait()
time.sleep(600)
"""


def test_a_block_ends_what_a_dead_worker_left_and_goes_on(tmp_path: Path, daemon: Path) -> None:
    (tmp_path / "pool.py").write_text(POOL)
    saved, launch = tmp_path / "pid", tmp_path / "launch.json"
    command = [sys.executable, str(tmp_path / "pool.py"), str(daemon), str(saved)]
    launch.write_text(json.dumps({"command": command}))
    with subprocess.Popen([sys.executable, "-c", HASTY, str(launch), "0"], stderr=subprocess.DEVNULL) as block:
        try:
            (pid,) = until(lambda: saved.exists() and noted(saved), "the worker has died and left a daemon")
            until(lambda: not alive(pid), "the daemon has ended")
            assert block.poll() is None
        finally:
            block.terminate()
    assert block.returncode == 128 + signal.SIGTERM


def test_the_interchange_dies_with_its_driver() -> None:
    driver: dict[str, Any] = {"args": [sys.executable, "-c", DRIVER], "stdout": subprocess.PIPE}
    with subprocess.Popen(**driver, text=True) as process:
        assert process.stdout
        pid = int(process.stdout.readline())
        until(lambda: os.getsid(pid) == pid, "the interchange leads a session")
        process.kill()
    until(lambda: not alive(pid), "the interchange has ended")


DRIVER = """
from pathlib import Path
from pilotune.providers.htex.interchange_start import interchange_ahead
with interchange_ahead(Path("blocks")) as process:
    print(process.pid, flush=True)
    process.wait()
"""


def test_an_interchange_whose_driver_is_gone_does_not_begin() -> None:
    command = [sys.executable, "-P", "-m", "pilotune.providers.htex.interchange", str(os.getppid()), "blocks"]
    done = subprocess.run(command, input="", capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"the driver, process {os.getppid()}, is gone" in done.stderr
