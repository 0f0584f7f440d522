"""Ctrl-C at the terminal reaches the driver, and never the interchange, from the moment when its process starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from parsl.serialize import deserialize

from pilotune.pipeline.campaign.events import Ended
from pilotune.pipeline.worker.node.suspended import remove_suspended, suspended_file
from pilotune.providers.htex import patient_interchange
from pilotune.providers.htex.executors import GuardedExecutor
from pilotune.providers.htex.patient_interchange import LOOK, patient
from pilotune.providers.htex.task_result import event_of
from pilotune.providers.node.tasks import NotPlaced, decode

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


class Listening:
    """What is needed of Parsl's interchange: tasks arrive, and messages leave."""

    def __init__(self, **managers: bool):
        self._ready_managers = {
            name.encode(): {"active": active, "draining": False, "tasks": [], "idle_since": 0.0}
            for name, active in managers.items()
        }
        self.arriving: list[dict[str, Any]] = []
        self.pending_task_queue: list[Any] = []
        self.manager_sock, self.results_outgoing = Sent(), Sent()
        self.count = 0

    def process_task_incoming(self) -> None:
        self.pending_task_queue += [(0, -task["task_id"], task) for task in self.arriving]
        self.arriving.clear()


class Sent:
    """A socket that keeps what is sent."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def send_multipart(self, parts: list[bytes]) -> None:
        self.messages.append((parts[0], decode(parts[1])))

    def send(self, message: bytes) -> None:
        self.messages.append(decode(message))


def task(number: int, manager: str = "") -> dict[str, Any]:
    return {"task_id": number, "context": {"resource_spec": {"manager": manager} if manager else {}}, "buffer": b""}


def test_a_task_goes_to_the_worker_pool_that_it_names_or_comes_back(tmp_path: Path) -> None:
    kept = patient(Listening, tmp_path)(a=True, b=True, held=False)
    kept.suspended.add(b"b")
    kept.arriving += [task(1, "a"), task(2), task(3, "gone"), task(4, "held"), task(5, "b"), task(6, "a")]
    kept.process_task_incoming()
    assert [each["task_id"] for *_, each in kept.pending_task_queue] == [2], "any worker pool may run it"
    assert [(name, [each["task_id"] for each in tasks]) for name, tasks in kept.manager_sock.messages] == [
        (b"a", [1]), (b"a", [6]),
    ]  # fmt: skip
    assert kept._ready_managers[b"a"]["tasks"] == [1, 6]
    back = kept.results_outgoing.messages
    assert [each["task_id"] for each in back] == [3, 4, 5]
    assert [type(deserialize(each["exception"])) for each in back] == [NotPlaced] * 3


def test_an_attempt_that_was_not_placed_counts_as_declined() -> None:
    future: Future[Any] = Future()
    future.set_exception(NotPlaced("n1 is gone"))
    event = event_of("7.2.c", "gpu", future)
    assert isinstance(event, Ended)
    assert (event.outcome.kind, event.outcome.number, event.outcome.attempt) == ("declined", 7, 2)
