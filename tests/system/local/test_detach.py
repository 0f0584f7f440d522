"""A campaign in the background outlives its terminal, and is controlled from other hosts through its files only."""

from __future__ import annotations

import json
import os
import pty
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ...support.local import PILOTUNE, Here, kill_processes, patient, processes, until

pytestmark = pytest.mark.real

QUICK = """
import time

def objective(trial):
    time.sleep(0.1)
    return trial.params["x"]
"""
ENDLESS = """
direction: minimize
space: {x: {float: [0, 1]}}
sampler: random
budget: {trials: 100000}
"""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    here = Here(tmp_path / "user")
    yield here
    kill_processes(here)


class Terminal:
    """A pseudo-terminal with a shell."""

    def __init__(self, here: Here):
        self.shell, self.line = pty.fork()
        if self.shell == 0:
            os.chdir(here.folder)
            os.execve("/bin/bash", ["bash", "--norc", "--noprofile", "-i"], {**here.environment, "PS1": "$ "})

    def type(self, words: str) -> None:
        os.write(self.line, f"{words}\n".encode())

    def hang_up(self) -> None:
        """Cut the connection: the kernel sends SIGHUP to the shell, and the shell to what it started."""
        os.close(self.line)
        os.waitpid(self.shell, 0)


OTHER_HOST = """
import os, socket
socket.gethostname = lambda: "login7"
def kill(*arguments):
    raise SystemError("a process of another host cannot be signalled")
os.kill = os.killpg = kill
"""


def on_another_host(here: Here) -> Here:
    """The same user on another login node: files are shared, processes are not."""
    folder = here.folder / "login7"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(OTHER_HOST)
    return Here(here.folder, PYTHONPATH=str(folder))


def fields(pid: int) -> list[str]:
    """The fields of ``/proc/pid/stat`` from the state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def await_more_trials(here: Here, name: str) -> dict[str, Any]:
    """Wait until more trials than now are finished."""
    before = here.status(name)["complete"]
    return here.await_status(name, lambda status: status["complete"] >= before + 3, "more trials are finished")


@pytest.mark.parametrize(
    "when",
    [
        pytest.param("after the command has returned", marks=pytest.mark.exhaustive),
        "while the command waits for the workers",
    ],
)
def test_it_continues_when_its_terminal_hangs_up(here: Here, when: str) -> None:
    here.study(
        "far", QUICK, "direction: minimize\nspace: {x: {float: [0, 1]}}\nsampler: random\nbudget: {trials: 100000}\n"
    )
    terminal = Terminal(here)
    terminal.type(f"{PILOTUNE} run far.yaml --detach --json --set pools.local.workers_per_node=1 > started.json")
    if when.startswith("after"):
        until(lambda: "log" in "".join(here.lines("started.json")), "it runs and the command has returned")
    else:
        until(lambda: list((here.runs / "far").glob("detached-*.log")), "it was started")
    terminal.hang_up()
    seen = here.await_status("far", lambda status: status["complete"] > 0, "a trial is finished")
    session, tty = fields(seen["pid"])[3:5]
    assert (int(session), int(tty)) == (seen["pid"], 0)
    await_more_trials(here, "far")

    os.kill(seen["pid"], signal.SIGHUP)  # some hosts send it to all that a user leaves behind
    assert await_more_trials(here, "far")["state"] == "running"
    here.run("stop", "far", "--now")
    until(lambda: not processes(here), "all its processes have ended")


def test_it_is_shown_and_stopped_from_another_host_without_a_signal(here: Here) -> None:
    """On another host the driver's process id belongs to no process, or to another one."""
    study = patient(here, "far", ["reports"])
    started = here.json("run", study, "--detach", "--set", "pools.local.workers_per_node=1")
    here.await_status("far", lambda status: status["running"] == 1, "its trial runs")
    other = on_another_host(here)
    assert other.run("status", "far").stdout.count("running since") == 1
    watching = other.start("watch", "far", "--json")
    other.run("stop", "far", "--yield")
    out, _ = watching.communicate()
    assert watching.returncode == 130
    assert [json.loads(line)["state"] for line in out.splitlines()][-1] == "ended"
    assert "driver.log" in {path.name for path in Path(started["run_dir"]).iterdir()}
