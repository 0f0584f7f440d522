"""Blocks as processes on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

from parsl.jobs.states import JobState, JobStatus
from parsl.providers.local.local import LocalProvider

from ..site import PoolSpec, Site
from .batch import BatchBlocks, BlockFiles, write_script
from .commands import TIMED_OUT, Answer
from .file_limits import usual_limit
from .jobs import End, Job, Phase
from .launchers import BlockLauncher

KILL_DELAY = 30
"""Seconds from SIGTERM to SIGKILL when a block's walltime ends."""


class LocalBlocks(BatchBlocks, LocalProvider):  # type: ignore[misc]
    """Runs each block as a shell script in a session of its own. The id of its job is its process id.

    When the script ends, all processes that are left in its session are ended too.
    """

    grain = 1
    _processes: ClassVar[dict[str, subprocess.Popen[bytes]]] = {}  # of all pools: a query may be for any of them

    @classmethod
    def for_pool(cls, site: Site, pool: PoolSpec, worker_init: str) -> Self:
        self = cls(
            init_blocks=0,
            min_blocks=0,
            max_blocks=pool.blocks.max,
            nodes_per_block=1,
            launcher=BlockLauncher(pool, "single"),
            worker_init=worker_init,
        )
        self.site, self.pool = site, pool
        return self

    def script(self, files: BlockFiles, body: str) -> str:
        return f"#!/bin/bash\n{body}\n"

    def submit_command(self, script: Path) -> list[str]:
        limit = ["timeout", "-k", str(KILL_DELAY), str(self.walltime_seconds)] if self.pool.walltime else []
        return [*limit, "/bin/bash", str(script)]

    def read_job_id(self, answer: Answer) -> str | None:
        return None

    def submit(self, command: str, tasks_per_node: int, job_name: str) -> str:
        files = self.files(job_name)
        write_script(files.script, self.render(job_name, command, self.worker_init))
        with open(files.stdout, "wb") as out, open(files.stderr, "wb") as err:
            process = subprocess.Popen(
                self.submit_command(files.script),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                preexec_fn=usual_limit(),
                start_new_session=True,
            )
        job = str(process.pid)
        self._processes[job] = process
        self.resources[job] = {"job_id": job, "status": JobStatus(JobState.RUNNING)}
        return job

    def query(self, ids: Sequence[str]) -> dict[str, Job]:
        return {job: self._state(job) for job in ids}

    def _state(self, job: str) -> Job:
        code = self._processes[job].poll()
        if code is None:
            return Job(job, Phase.RUNNING)
        self._signal(job)
        if self.pool.walltime and code in (TIMED_OUT, 128 + signal.SIGKILL):
            return Job(job, Phase.ENDED, End.WALLTIME, "its walltime has ended", code)
        if code < 0:
            words = f"its process was ended by {signal.Signals(-code).name}"
            return Job(job, Phase.ENDED, End.CANCELLED, words, code)
        return Job(job, Phase.ENDED, End.FAILED if code else End.FINISHED, f"its script exited with {code}", code)

    def cancel_one(self, job: str) -> bool:
        self._signal(job)
        return True

    def _signal(self, job: str) -> None:
        """Send SIGTERM to all processes of the block's session; a worker then lets its attempt yield."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(int(job), signal.SIGTERM)
