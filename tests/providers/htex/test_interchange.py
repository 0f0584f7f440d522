"""Ctrl-C at the terminal reaches the driver, and never the interchange, from the moment when its process starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pilotune.pipeline.worker.node.suspended import remove_suspended, suspended_file
from pilotune.providers.htex import patient_interchange
from pilotune.providers.htex.executors import GuardedExecutor
from pilotune.providers.htex.patient_interchange import LOOK, patient

BLOCKED = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"


class Starts:
    """Stands for Parsl's executor: starts a process that says whether it was started with SIGINT blocked."""

    said = ""

    def _start_local_interchange_process(self) -> None:
        self.said = subprocess.check_output([sys.executable, "-c", BLOCKED], text=True)


class Guarded(GuardedExecutor, Starts):  # type: ignore[misc]
    pass


def test_it_starts_with_ctrl_c_blocked_and_the_driver_goes_on_hearing_it() -> None:
    executor = Guarded()
    executor._start_local_interchange_process()
    assert executor.said == "True\n"
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_in_a_session_of_its_own_it_hears_signals_again() -> None:
    said = BLOCKED + "; import os; print(os.getsid(0) == os.getpid())"
    program = f"from pilotune.providers.htex.interchange import main\nmain({os.getpid()}, lambda: exec({said!r}))"
    command = [sys.executable, "-c", program]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert done.stdout.split() == ["False", "True"]


class Parsls:
    """What is needed of Parsl's interchange: it drops silent worker pools, and gives tasks to the others."""

    heartbeat_threshold = 30.0

    def __init__(self, *pools: bytes):
        self._ready_managers = {name: {"last_heartbeat": 0.0} for name in pools}
        self.given: list[set[bytes]] = []

    def expire_bad_managers(self, interesting: set[bytes], radio: Any) -> None:
        for name, each in list(self._ready_managers.items()):
            if patient_interchange.time.time() - each["last_heartbeat"] > self.heartbeat_threshold:
                del self._ready_managers[name]

    def process_tasks_to_send(self, interesting: set[bytes], radio: Any) -> None:
        self.given.append(set(interesting))
        interesting.clear()


def test_the_worker_pool_of_a_suspended_node_is_kept_and_gets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(patient_interchange.time, "time", lambda: now)
    kept = patient(Parsls, tmp_path)(b"a", b"b")
    suspended_file(tmp_path, "a").touch()

    def turn() -> set[bytes]:
        ready = {b"a", b"b"}
        kept.expire_bad_managers(ready, None)
        kept.process_tasks_to_send(ready, None)
        return ready

    turn()
    now = 10.0
    turn()
    assert kept.given == [{b"a", b"b"}] * 2, "neither is silent for long"
    for now in (16.0, 31.0, 100.0, 1000.0):  # noqa: B007
        assert turn() == {b"a"}, "it may get tasks again later"
    assert set(kept._ready_managers) == {b"a"}
    assert kept.given[2:] == [{b"b"}] * 4
    remove_suspended(tmp_path, ["a", "z"])  # it goes on, and has some time to send a heartbeat
    now += LOOK
    turn()
    assert kept.given[-1] == {b"a", b"b"}
    now += 0.6 * kept.heartbeat_threshold
    turn()
    assert not kept._ready_managers
