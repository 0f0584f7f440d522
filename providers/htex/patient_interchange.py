"""Parsl's interchange, patient with the worker pools of suspended nodes, and able to send a task to a given node.

Parsl gives up a worker pool that is silent for some time. This one keeps it while its node says that its job is
suspended (:mod:`pilotune.pipeline.worker.node.suspended`), and gives it no tasks meanwhile.

Parsl gives a task to any worker pool with a free worker. A task whose resource specification names a ``manager`` goes
to that worker pool at once; where it is gone or takes no more, the task comes back as :class:`.NotPlaced`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ...pipeline.worker.node.suspended import suspended_file
from ..node.tasks import NotPlaced, encode, failure

DOUBTED = 0.5
"""Share of the time without a heartbeat after which a worker pool is given up, from which on its node's file is looked
for."""

LOOK = 2.0
"""Seconds between two looks for the file of a silent worker pool."""


def patient(interchange: type[Any], blocks: Path) -> type[Any]:
    """Parsl's class, with worker pools of suspended nodes kept.

    Args:
        interchange: Parsl's class.
        blocks: The run directory's folder for blocks.
    """

    class PatientInterchange(interchange):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any):
            super().__init__(*arguments, **options)
            self.suspended: set[bytes] = set()
            self._looked: dict[bytes, float] = {}

        def expire_bad_managers(self, interesting_managers: set[bytes], monitoring_radio: Any) -> None:
            now = time.time()
            since = now - DOUBTED * self.heartbeat_threshold
            silent = {name for name, each in self._ready_managers.items() if each["last_heartbeat"] < since}
            for name in silent:
                if now >= self._looked.get(name, 0.0) + LOOK:
                    self._looked[name] = now
                    self._look(name, self._ready_managers[name], now)
            self.suspended &= silent
            super().expire_bad_managers(interesting_managers, monitoring_radio)

        def _look(self, name: bytes, manager: dict[str, Any], now: float) -> None:
            if suspended_file(blocks, name.decode(errors="replace")).exists():
                self.suspended.add(name)
                # Silent still, but not for long enough to be given up: not even after it has gone on.
                manager["last_heartbeat"] = now - DOUBTED * self.heartbeat_threshold - 1e-3
            else:
                self.suspended.discard(name)

        def process_task_incoming(self) -> None:
            super().process_task_incoming()
            for entry in [each for each in self.pending_task_queue if _manager_of(each[-1])]:
                self.pending_task_queue.remove(entry)
                self._send_placed(entry[-1])

        def _send_placed(self, task: dict[str, Any]) -> None:
            name = _manager_of(task)
            manager = self._ready_managers.get(name)
            if manager is None or not manager["active"] or manager["draining"] or name in self.suspended:
                words = f"{name.decode(errors='replace')} is gone, or takes no more trials"
                self.results_outgoing.send(failure(task["task_id"], NotPlaced(words)))
                return
            self.manager_sock.send_multipart([name, encode([task])])
            self.count += 1
            manager["tasks"].append(task["task_id"])
            manager["idle_since"] = None

        def process_tasks_to_send(self, interesting_managers: set[bytes], monitoring_radio: Any) -> None:
            spared = interesting_managers & self.suspended
            interesting_managers -= spared
            super().process_tasks_to_send(interesting_managers, monitoring_radio)
            interesting_managers |= spared

    return PatientInterchange


def _manager_of(task: dict[str, Any]) -> bytes:
    """The worker pool that a task is meant for; empty where any may run it."""
    return str(task["context"].get("resource_spec", {}).get("manager", "")).encode()
