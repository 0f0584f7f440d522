"""Blocks on this machine: processes, and nothing of them is left when they end."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from typing import Any

from parsl.providers import LocalProvider


class LocalBlocks(LocalProvider):  # type: ignore[misc]
    """Parsl's local provider, which also ends what a block whose worker pool was killed leaves: workers, helpers.

    A block is a process group. Those in it are sent SIGTERM, on which a worker lets its attempt yield.
    """

    def submit(self, command: str, tasks_per_node: int, job_name: str = "parsl.localprovider") -> str:
        job = str(super().submit(command, tasks_per_node, job_name))
        with contextlib.suppress(ProcessLookupError):  # it ended at once, with all that was in it
            self.resources[job]["group"] = os.getpgid(self.resources[job]["remote_pid"])
        return job

    def status(self, job_ids: Sequence[str]) -> list[Any]:
        found = list(super().status(job_ids))
        for job, status in zip(job_ids, found, strict=True):
            if status.terminal:
                self._end(job)
        return found

    def cancel(self, job_ids: Sequence[str]) -> list[bool]:
        for job in job_ids:
            self.resources[job]["cancelled"] = True
            self._end(job)
        return [True] * len(job_ids)

    def _end(self, job: str) -> None:
        """Once a block: later the group's number may be somebody else's."""
        group = self.resources[job].pop("group", None)
        if group is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGTERM)
