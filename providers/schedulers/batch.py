"""What every scheduler's provider shares: the batch script as a pure function, its submission, one query for all jobs.

A block's script is whole when it is rendered: what is only known when the campaign runs (ports, keys) is in the pool's
launch file, which the script names. ``pilotune run --dry-run`` therefore prints what would be submitted.
"""

from __future__ import annotations

import os
import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from parsl.jobs.states import JobState, JobStatus

from ..site import PoolSpec, Site
from .commands import Answer, run
from .jobs import Job, Phase, SchedulerUnreachable, SubmitRefused

PARSL_STATES = {
    Phase.QUEUED: JobState.PENDING,
    Phase.RUNNING: JobState.RUNNING,
    Phase.ENDING: JobState.RUNNING,
    Phase.ENDED: JobState.COMPLETED,
}


@dataclass(frozen=True)
class BlockFiles:
    """The files of one block, in the run directory's folder ``blocks``. Nobody else joins these paths.

    Attributes:
        folder: Absolute, on a file system that all nodes see.
        label: The campaign's, as a part of job names.
        pool: The pool's name.
        block: The block's number in its pool.
    """

    folder: Path
    label: str
    pool: str
    block: str

    @property
    def job_name(self) -> str:
        return f"{self.label}-{self.pool}-{self.block}"

    @property
    def script(self) -> Path:
        return self.folder / f"{self.pool}-{self.block}.sh"

    @property
    def stdout(self) -> Path:
        return self.folder / f"{self.pool}-{self.block}.out"

    @property
    def stderr(self) -> Path:
        return self.folder / f"{self.pool}-{self.block}.err"

    @property
    def end(self) -> Path:
        """Written by the block when it starts: when it will end, in Unix seconds."""
        return self.folder / f"{self.pool}-{self.block}.end"

    @property
    def launch(self) -> Path:
        """What the pool's blocks start on their nodes, as JSON (see :mod:`pilotune.providers.node.agent`)."""
        return self.folder / f"{self.pool}.json"


class BatchBlocks(ABC):
    """Mixed into one of Parsl's providers: blocks as batch jobs.

    Class attributes:
        transient: Regular expressions over the words of a refusal that may pass.
        grain: Seconds; the scheduler keeps walltimes in multiples of it.
        end_time: Shell word for the job's end in Unix seconds, where the scheduler tells; else it is reckoned.
        not_inherited: Regular expression; environment variables of such names do not reach the scheduler's commands.
        excludes: Whether jobs can be kept away from hosts.

    Attributes:
        excluded: Hosts that the next job is kept away from.
    """

    transient: ClassVar[tuple[str, ...]] = ()
    grain: ClassVar[int] = 60
    end_time: ClassVar[str] = ""
    not_inherited: str = ""
    excludes: ClassVar[bool] = False
    excluded: tuple[str, ...] = ()

    site: Site
    pool: PoolSpec
    folder: Path
    campaign: str
    resources: dict[str, dict[str, Any]]

    @classmethod
    @abstractmethod
    def for_pool(cls, site: Site, pool: PoolSpec, worker_init: str) -> Self:
        """The provider of one pool. Needs no scheduler."""

    def place(self, folder: Path, campaign: str) -> None:
        """Say where the blocks' files go, and the campaign's part of the job names."""
        self.folder, self.campaign = folder, campaign

    # -- of each scheduler --------------------------------------------------------------------------------------------

    @abstractmethod
    def script(self, files: BlockFiles, body: str) -> str:
        """The whole batch script: directives, then ``body``."""

    @abstractmethod
    def submit_command(self, script: Path) -> list[str]:
        """The command that submits ``script``."""

    @abstractmethod
    def read_job_id(self, answer: Answer) -> str | None:
        """The job's id in what the submit command said; None where there is none."""

    @abstractmethod
    def query(self, ids: Sequence[str]) -> dict[str, Job]:
        """What the scheduler says of these jobs, of all its pools, in one question.

        A job that it does not know any more is absent. Raises SchedulerUnreachable where it did not answer.
        """

    @abstractmethod
    def cancel_one(self, job: str) -> bool:
        """End a job; True also where it was gone already. Raises SchedulerUnreachable."""

    def names(self, ids: Sequence[str]) -> dict[str, str]:
        """What these jobs are called, of those that live. Two clusters on one file system may number jobs alike.

        Empty where an id is the only one of its kind in the world. Raises SchedulerUnreachable where it did not answer.
        """
        return {}

    # -- shared -------------------------------------------------------------------------------------------------------

    @property
    def walltime_seconds(self) -> int:
        """The pool's walltime as the scheduler keeps it: never less than asked for."""
        assert self.pool.walltime is not None
        return -int(-self.pool.walltime // self.grain) * self.grain

    def files(self, block: str) -> BlockFiles:
        return BlockFiles(self.folder, self.campaign, self.pool.name, block)

    def render(self, block: str, command: str, worker_init: str) -> str:
        """The batch script of a block that runs ``command`` on each of its nodes."""
        files = self.files(block)
        launch = self.launcher(command, 1, self.pool.nodes_per_block, str(files.script.with_suffix("")))  # type: ignore[attr-defined]
        return self.script(files, "\n".join([worker_init, *self._end_lines(files), "", launch]))

    def _end_lines(self, files: BlockFiles) -> list[str]:
        """Tell the workers, and the driver, when the block will end."""
        if self.pool.walltime is None:
            return []
        reckoned = f"$(( $(date +%s) + {self.walltime_seconds} ))"
        return [
            f"export PILOTUNE_WALLTIME={self.walltime_seconds}",
            f"export PILOTUNE_BLOCK_END={self.end_time.format(reckoned=reckoned) or reckoned}",
            f'echo "$PILOTUNE_BLOCK_END" > {shlex.quote(str(files.end))}',
        ]

    def submit(self, command: str, tasks_per_node: int, job_name: str) -> str:
        """Submit a block; its number is ``job_name``. Raises SubmitRefused with the scheduler's words."""
        files = self.files(job_name)
        write_script(files.script, self.render(job_name, command, self.worker_init))  # type: ignore[attr-defined]
        answer = run(self.submit_command(files.script), folder=self.folder, without=self.not_inherited)
        job = self.read_job_id(answer) if answer.code == 0 else None
        if job is None:
            words = answer.words or f"it said nothing, and exited with {answer.code}"
            raise SubmitRefused(words, transient=any(re.search(each, words) for each in self.transient))
        self.resources[job] = {"job_id": job, "status": JobStatus(JobState.PENDING)}
        return job

    def cancel(self, job_ids: Sequence[str]) -> list[bool]:
        """End jobs one by one, so that one the scheduler refuses hides no other."""
        return [self._cancelled(job) for job in job_ids]

    def _cancelled(self, job: str) -> bool:
        try:
            return self.cancel_one(job)
        except SchedulerUnreachable:
            return False

    def status(self, job_ids: Sequence[str]) -> list[JobStatus]:
        """As Parsl asks for it. Pilotune's own way is one :meth:`query` for all pools."""
        known = self.query(job_ids)
        gone = Job("", Phase.ENDED)
        return [JobStatus(PARSL_STATES[known.get(job, gone).phase]) for job in job_ids]

    @property
    def status_polling_interval(self) -> int:
        """None by Parsl: its poller would ask for each pool apart, and for ever."""
        return 0


def write_script(path: Path, text: str) -> None:
    """An executable file of the user's own (0700): Cobalt runs it, the others read it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o700)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
