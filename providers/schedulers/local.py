"""Blocks on this machine: processes, and nothing of them is left when they end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

from parsl.jobs.states import JobState, JobStatus
from parsl.providers import LocalProvider

from ..site import PoolSpec, Site
from .batch import BatchBlocks, BlockFiles, write_script
from .commands import TIMED_OUT, Answer
from .file_limits import usual_limit
from .jobs import End, Job, Phase
from .launchers import BlockLauncher

KILL_DELAY = 30
"""Seconds from SIGTERM to SIGKILL at the end of a walltime."""


class LocalBlocks(BatchBlocks, LocalProvider):  # type: ignore[misc]
    """A block is a shell script in a session of its own; its job is its process.

    What a block whose worker pool was killed leaves (workers, helpers) is ended with it.
    """

    grain = 1
    _processes: ClassVar[dict[str, subprocess.Popen[bytes]]] = {}  # of all pools: any of them may be asked for all

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
            return Job(job, Phase.ENDED, End.WALLTIME, "its walltime is over", code)
        if code < 0:
            words = f"its process was ended by {signal.Signals(-code).name}"
            return Job(job, Phase.ENDED, End.CANCELLED, words, code)
        return Job(job, Phase.ENDED, End.FAILED if code else End.FINISHED, f"its script exited with {code}", code)

    def cancel_one(self, job: str) -> bool:
        self._signal(job)
        return True

    def _signal(self, job: str) -> None:
        """SIGTERM, on which a worker lets its attempt yield, to all that is in the block's session."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(int(job), signal.SIGTERM)
