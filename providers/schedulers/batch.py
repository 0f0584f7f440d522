"""The contract of a scheduler's provider, and what all providers share.

A block's batch script is complete when it is rendered. What is only known when the campaign runs (ports, keys) is in
the pool's launch file, which the script names. So ``pilotune run --dry-run`` prints exactly what would be submitted.
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
from .commands import TIMED_OUT, Answer, run
from .jobs import Job, Phase, SchedulerUnreachable, SubmitRefused

PARSL_STATES = {
    Phase.QUEUED: JobState.PENDING,
    Phase.RUNNING: JobState.RUNNING,
    Phase.SUSPENDED: JobState.RUNNING,
    Phase.ENDING: JobState.RUNNING,
    Phase.ENDED: JobState.COMPLETED,
}


@dataclass(frozen=True)
class BlockFiles:
    """The files of one block, in the folder ``blocks`` of the run directory. These paths are made here only.

    Attributes:
        folder: The folder; absolute, on a file system that all nodes see.
        label: The first part of job names, different for each campaign.
        pool: The pool's name.
        block: The block's number in its pool.

    >>> files = BlockFiles(Path("/scratch/run/blocks"), "digits-1a2b3c", "cpu", "0")
    >>> files.job_name, str(files.script)
    ('digits-1a2b3c-cpu-0', '/scratch/run/blocks/cpu-0.sh')
    """

    folder: Path
    label: str
    pool: str
    block: str

    @property
    def job_name(self) -> str:
        """The name of the block's job."""
        return f"{self.label}-{self.pool}-{self.block}"

    @property
    def script(self) -> Path:
        """The batch script."""
        return self.folder / f"{self.pool}-{self.block}.sh"

    @property
    def stdout(self) -> Path:
        """What the block prints."""
        return self.folder / f"{self.pool}-{self.block}.out"

    @property
    def stderr(self) -> Path:
        """The block's error messages."""
        return self.folder / f"{self.pool}-{self.block}.err"

    @property
    def end(self) -> Path:
        """Holds when the block will end, in Unix seconds; the block writes it when it starts."""
        return self.folder / f"{self.pool}-{self.block}.end"

    @property
    def launch(self) -> Path:
        """The pool's launch file: what its blocks start on their nodes, see :mod:`pilotune.providers.node.agent`."""
        return self.folder / f"{self.pool}.json"


class BatchBlocks(ABC):
    """Submits blocks as batch jobs of one scheduler. Mixed into one of Parsl's providers.

    This is the contract of a scheduler's provider. A new scheduler implements the methods under "of each scheduler" and
    gets a line in :mod:`.registry`; :mod:`.cobalt` is the shortest complete example. Rules that the rest relies on:

    - :meth:`for_pool`, :meth:`script` and :meth:`render` work on a host without the scheduler.
    - :meth:`query` asks once for all jobs. A job that has ended may be reported as ``ENDED`` or left out; a living job
      must not be left out.
    - A question that the scheduler does not answer raises SchedulerUnreachable and changes nothing.
    - A job is run once: the script forbids the scheduler to run it again.

    Use::

        provider = provider_class("slurm").for_pool(site, pool, worker_init(site, pool))
        provider.place(run.blocks, "digits-1a2b3c")
        job = provider.submit(node_command(provider.files("0").launch, "0"), 1, "0")
        provider.query([job])[job].phase  # Phase.QUEUED
        provider.cancel([job])

    Class attributes:
        transient: Regular expressions that match the words of a refusal that may pass.
        away: Regular expression that matches what its commands say when the scheduler does not answer; this may pass.
        grain: Seconds; the scheduler rounds walltimes up to multiples of it.
        end_time: Shell word for the job's end in Unix seconds, if the scheduler gives it; ``{reckoned}`` in it stands
            for the start of the script plus the walltime. Empty to use that.
        not_inherited: Regular expression of environment variables that are hidden from the scheduler's commands.
        excludes: Whether jobs can be kept away from given hosts.

    Attributes:
        site: The site.
        pool: The pool whose blocks are submitted.
        folder: Where files of blocks go; set by :meth:`place`.
        campaign: The first part of job names; set by :meth:`place`.
        excluded: Hosts that the next job is kept away from.
        resources: Parsl's table of jobs: id -> description.
    """

    transient: ClassVar[tuple[str, ...]] = ()
    away: ClassVar[str] = r"did not answer"
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
        """Make the provider of one pool. Needs no scheduler.

        Args:
            site: The site.
            pool: The pool.
            worker_init: Shell lines that blocks run before their workers start.
        """

    def place(self, folder: Path, campaign: str) -> None:
        """Set where files of blocks go, and the first part of job names. To be called before anything is submitted."""
        self.folder, self.campaign = folder, campaign

    # -- of each scheduler --------------------------------------------------------------------------------------------

    @abstractmethod
    def script(self, files: BlockFiles, body: str) -> str:
        """The complete batch script: the scheduler's directives, then ``body``."""

    @abstractmethod
    def submit_command(self, script: Path) -> list[str]:
        """The command that submits ``script``."""

    @abstractmethod
    def read_job_id(self, answer: Answer) -> str | None:
        """The job's id in the answer of the submit command; None when there is none."""

    @abstractmethod
    def query(self, ids: Sequence[str]) -> dict[str, Job]:
        """Ask the scheduler once for all these jobs, which may be of any pool.

        Returns:
            Job id -> state. A job that the scheduler no longer knows is left out.

        Raises:
            SchedulerUnreachable: It did not answer.
        """

    @abstractmethod
    def cancel_one(self, job: str) -> bool:
        """End a job.

        Returns:
            Whether it ends or has ended already; False when the scheduler refused.

        Raises:
            SchedulerUnreachable: It did not answer.
        """

    def names(self, ids: Sequence[str]) -> dict[str, str]:
        """The names of these jobs, of those that live: two clusters that share a file system may use the same ids.

        Empty if ids contain the scheduler's host and so cannot be mistaken. Raises SchedulerUnreachable when the
        scheduler did not answer.
        """
        return {}

    def starts(self, command: str, block: str) -> float | None:
        """When the scheduler expects a block to begin that is submitted now; it may write the block's script.

        Args:
            command: What the block runs on each of its nodes.
            block: The number that it would have.

        Returns:
            Unix seconds; None where the scheduler does not say.
        """
        return None

    # -- shared -------------------------------------------------------------------------------------------------------

    @property
    def walltime_seconds(self) -> int:
        """The pool's walltime as the scheduler keeps it, rounded up to its grain."""
        assert self.pool.walltime is not None
        return -int(-self.pool.walltime // self.grain) * self.grain

    def files(self, block: str) -> BlockFiles:
        """The files of the block with this number."""
        return BlockFiles(self.folder, self.campaign, self.pool.name, block)

    def render(self, block: str, command: str, worker_init: str) -> str:
        """The batch script of a block that runs ``command`` on each of its nodes."""
        files = self.files(block)
        launch = self.launcher(command, 1, self.pool.nodes_per_block, str(files.script.with_suffix("")))  # type: ignore[attr-defined]
        return self.script(files, "\n".join([worker_init, *self._end_lines(files), "", launch]))

    def _end_lines(self, files: BlockFiles) -> list[str]:
        """Shell lines that tell the workers and the driver when the block will end."""
        if self.pool.walltime is None:
            return []
        reckoned = f"$(( $(date +%s) + {self.walltime_seconds} ))"
        return [
            f"export PILOTUNE_WALLTIME={self.walltime_seconds}",
            f"export PILOTUNE_BLOCK_END={self.end_time.format(reckoned=reckoned) or reckoned}",
            f'echo "$PILOTUNE_BLOCK_END" > {shlex.quote(str(files.end))}',
        ]

    def submit(self, command: str, tasks_per_node: int, job_name: str) -> str:
        """Submit a block. The signature is Parsl's.

        Args:
            command: What the block runs on each of its nodes.
            tasks_per_node: Ignored; the command is started once on each node.
            job_name: The block's number.

        Returns:
            The id of its job.

        Raises:
            SubmitRefused: The scheduler refused it.
            OSError: The script cannot be written.
        """
        files = self.files(job_name)
        write_script(files.script, self.render(job_name, command, self.worker_init))  # type: ignore[attr-defined]
        answer = run(self.submit_command(files.script), folder=self.folder, without=self.not_inherited)
        job = self.read_job_id(answer) if answer.code == 0 else None
        if job is None:
            words = answer.words or f"its command printed nothing and exited with {answer.code}"
            away = answer.code == TIMED_OUT or re.search(self.away, words) is not None
            transient = away or any(re.search(each, words) for each in self.transient)
            raise SubmitRefused(words, transient, away)
        self.resources[job] = {"job_id": job, "status": JobStatus(JobState.PENDING)}
        return job

    def cancel(self, job_ids: Sequence[str]) -> list[bool]:
        """End jobs one by one, so that a refusal for one does not affect the others. Returns whether each ends."""
        return [self._cancelled(job) for job in job_ids]

    def _cancelled(self, job: str) -> bool:
        try:
            return self.cancel_one(job)
        except SchedulerUnreachable:
            return False

    def status(self, job_ids: Sequence[str]) -> list[JobStatus]:
        """States in Parsl's form. Pilotune itself makes one :meth:`query` for all pools instead."""
        known = self.query(job_ids)
        gone = Job("", Phase.ENDED)
        return [JobStatus(PARSL_STATES[known.get(job, gone).phase]) for job in job_ids]

    @property
    def status_polling_interval(self) -> int:
        """0, so that Parsl does not poll: it would ask for each pool separately, and without end."""
        return 0


def write_script(path: Path, text: str) -> None:
    """Write a script that only its user may read and execute (0700). Cobalt executes it; the others read it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o700)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
