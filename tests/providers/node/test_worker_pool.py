"""The node's worker pool, as a program, with Parsl's own server socket in the place of its interchange."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import zmq
from parsl import curvezmq
from parsl.executors.high_throughput.interchange import PKL_HEARTBEAT_CODE, PKL_SHUTDOWN_CODE
from parsl.executors.high_throughput.manager_record import ManagerRecord
from parsl.serialize import deserialize
from parsl.version import VERSION

from pilotune.providers.node.interchange_link import HEARTBEAT, SHUTDOWN, InterchangeLink
from pilotune.providers.node.tasks import CONTEXT, TaskFailed, WorkerLost, pack

from ...support.local import until

PATIENCE = 60_000
"""Milliseconds to wait for a message."""


class Interchange:
    """Stands for Parsl's interchange: gives tasks to one pool, and keeps its results."""

    def __init__(self, folder: Path):
        self.certificates = curvezmq.create_certificates(folder)
        self.context = curvezmq.ServerContext(self.certificates)
        self.socket = self.context.socket(zmq.ROUTER)
        self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.pool = b""
        self.registration: dict[str, Any] = {}
        self._count = 0

    def receive(self) -> dict[str, Any]:
        """The next message that is no heartbeat or probe, which are answered as Parsl's interchange does."""
        while self.socket.poll(PATIENCE):
            self.pool, data = self.socket.recv_multipart()
            message: dict[str, Any] = pickle.loads(data)
            if message["type"] == "connection_probe":
                self.socket.send_multipart([self.pool, b""])
            elif message["type"] == "heartbeat":
                self.socket.send_multipart([self.pool, PKL_HEARTBEAT_CODE])
            else:
                return message
        raise TimeoutError

    def give(self, *tasks: tuple[Callable[..., Any], tuple[Any, ...]]) -> list[int]:
        """Send tasks in one message; returns their ids."""
        numbers = list(range(self._count, self._count + len(tasks)))
        self._count += len(tasks)
        sent = [{"task_id": number, "context": CONTEXT, "buffer": pack(function, arguments, {})}
                for number, (function, arguments) in zip(numbers, tasks, strict=True)]  # fmt: skip
        self.socket.send_multipart([self.pool, pickle.dumps(sent)])
        return numbers

    def results(self, count: int) -> dict[int, Any]:
        """Results and exceptions of the next tasks that end, decoded as Parsl's executor does, by task id."""
        found = [self.receive() for _ in range(count)]
        return {each["task_id"]: deserialize(each.get("result") or each["exception"]) for each in found}


@pytest.fixture(scope="module")
def interchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interchange]:
    made = Interchange(tmp_path_factory.mktemp("interchange"))
    yield made
    made.context.destroy(0)


@pytest.fixture(scope="module")
def pool(interchange: Interchange, tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[bytes]]:
    options = [f"--port={interchange.port}", "-a", "127.0.0.1", f"--cert_dir={interchange.certificates}",
               f"--logdir={tmp_path_factory.mktemp('log')}", "--block_id=7", "--uid=host-1",
               "--max_workers_per_node=2", "--prefetch=3", "--hb_period=1", "--hb_threshold=60"]  # fmt: skip
    command = [sys.executable, "-P", "-m", "pilotune.providers.node.worker_pool", *options]
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            interchange.registration = interchange.receive()
            yield process
        finally:
            process.kill()


def members(group: int) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, _, of, *_ = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(of) == group and state not in "ZX":
            found.append(int(name))
    return found


def test_it_registers_with_what_parsls_interchange_reads(
    interchange: Interchange, pool: subprocess.Popen[bytes]
) -> None:
    told = interchange.registration
    record = set(ManagerRecord.__annotations__)
    set_by_the_interchange = {"tasks", "active", "last_heartbeat", "idle_since", "parsl_version", "python_version"}
    assert set(told) >= record - set_by_the_interchange - {"draining", "timestamp"}
    assert (told["parsl_v"], told["block_id"], told["worker_count"], told["max_capacity"]) == (VERSION, "7", 2, 5)
    assert (pickle.dumps(HEARTBEAT), pickle.dumps(SHUTDOWN)) == (PKL_HEARTBEAT_CODE, PKL_SHUTDOWN_CODE)


def test_parsl_can_execute_the_tasks_and_decode_the_results(
    interchange: Interchange, pool: subprocess.Popen[bytes]
) -> None:
    module, _, name = CONTEXT["task_executor"]["f"].rpartition(".")
    assert getattr(sys.modules[module], name)(pack(divmod, (7, 2), {})) == (3, 1)
    numbers = interchange.give((divmod, (7, 2)), (divmod, (1, 0)), (os.getenv, ("PARSL_WORKER_BLOCK_ID",)))
    found = interchange.results(3)
    assert [found[numbers[0]], found[numbers[2]]] == [(3, 1), "7"]
    assert isinstance(found[numbers[1]], TaskFailed)
    assert "ZeroDivisionError" in str(found[numbers[1]])


def test_workers_share_the_tasks_and_long_messages_arrive_whole(
    interchange: Interchange, pool: subprocess.Popen[bytes]
) -> None:
    text = "x" * 3_000_000
    interchange.give((time.sleep, (0.3,)), *[(str.upper, (text,))] * 5)
    assert list(interchange.results(6).values()).count(text.upper()) == 5


def test_a_killed_worker_loses_one_task_and_is_replaced(
    interchange: Interchange, pool: subprocess.Popen[bytes]
) -> None:
    (ranks,) = (interchange.give((os.getppid, ())),)
    nursery = interchange.results(1)[ranks[0]]
    killed, kept = interchange.give((signal.raise_signal, (signal.SIGKILL,)), (abs, (-1,)))
    found = interchange.results(2)
    assert isinstance(found[killed], WorkerLost)
    assert "was killed by SIGKILL" in str(found[killed])
    assert found[kept] == 1
    until(lambda: len(children(nursery)) == 2, "the worker is replaced")
    interchange.give(*[(time.sleep, (0.2,))] * 2)
    assert len(interchange.results(2)) == 2
    assert pool.poll() is None


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_nothing_is_left_of_a_killed_pool(interchange: Interchange, pool: subprocess.Popen[bytes]) -> None:
    assert len(members(pool.pid)) == 4, "pool, nursery and two workers; the fork servers have groups of their own"
    pool.kill()
    until(lambda: not members(pool.pid), "its nursery and its workers have ended")


def test_a_time_for_which_the_pool_was_stopped_is_no_silence_of_the_interchange() -> None:
    link = InterchangeLink.__new__(InterchangeLink)
    link._options = SimpleNamespace(heartbeat=10.0, silence=90.0)  # type: ignore[assignment]
    link.last_contact = link._last_look = 0.0
    assert not any(link.silent(now) for now in range(0, 90, 10))
    assert not any(link.silent(now) for now in (3600.0, 3605.0)), "its job was suspended for an hour"
    assert link.silent(3610.0)


SEEN = (
    "(__import__('os').getpid(), __import__('os').environ.get('PILOTUNE_PLACED_GPUS'),"
    " sorted(__import__('os').sched_getaffinity(0)))"
)
"""What a task sees of its worker, its GPUs and its cores."""


def test_tasks_bring_their_own_gpus_and_cores(interchange: Interchange, tmp_path: Path) -> None:
    options = [f"--port={interchange.port}", "-a", "127.0.0.1", f"--cert_dir={interchange.certificates}",
               f"--logdir={tmp_path}", "--block_id=8", "--uid=host-2", "--max_workers_per_node=3", "--prefetch=0",
               "--hb_period=1", "--hb_threshold=60", "--cpu-affinity", "block", "--packed",
               "--available-accelerators", "GPU-a", "GPU-b"]  # fmt: skip
    command = [sys.executable, "-P", "-m", "pilotune.providers.node.worker_pool", *options]
    cores = sorted(os.sched_getaffinity(0))
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            assert interchange.receive()["worker_count"] == 3
            found: list[Any] = []
            for gpus, wanted in (([0, 1], [0]), ([1], [999]), ([], []), ([0, 1], [0])):
                context = {**CONTEXT, "resource_spec": {"manager": "host-2", "gpus": gpus, "cores": wanted}}
                task = {"task_id": 70 + len(found), "context": context, "buffer": pack(eval, (SEEN,), {})}
                interchange.socket.send_multipart([b"host-2", pickle.dumps([task])])
                found += interchange.results(1).values()
        finally:
            process.kill()
    seen = [(gpus, where) for _, gpus, where in found]
    assert seen == [("GPU-a,GPU-b", cores[:1]), ("GPU-b", cores), ("", cores), ("GPU-a,GPU-b", cores[:1])]
    workers = [pid for pid, *_ in found]
    assert workers[0] == workers[3], "the worker whose last task had the same GPUs"
    assert len(set(workers)) == 3
