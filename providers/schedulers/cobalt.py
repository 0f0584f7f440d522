"""Blocks as jobs of Cobalt, the scheduler of Theta at Argonne. Parsl no longer has a provider for it.

Cobalt forgets a job when it ends. The job's ``.cobaltlog`` says how it ended; it lies beside the files of the job's
block and has the job's id as its name.
"""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

from parsl.providers.cluster_provider import ClusterProvider

from ..site import PoolSpec, Site
from .batch import BatchBlocks, BlockFiles
from .commands import TIMED_OUT, Answer, run
from .jobs import End, Job, Phase, SchedulerUnreachable
from .launchers import BlockLauncher

log = logging.getLogger(__name__)

STATES: Mapping[str, tuple[Phase, str]] = {
    "queued": (Phase.QUEUED, ""),
    "user_hold": (Phase.QUEUED, "held by its owner; qrls releases it"),
    "admin_hold": (Phase.QUEUED, "held by an administrator"),
    "dep_hold": (Phase.QUEUED, "waits for another job that it depends on"),
    "dep_fail": (Phase.QUEUED, "it will never start: a job that it depends on has failed"),
    "maxrun_hold": (Phase.QUEUED, "waits until fewer jobs of this user run in the queue"),
    "starting": (Phase.QUEUED, "its nodes are being prepared"),
    "preempted": (Phase.QUEUED, "preempted by another job"),
    "running": (Phase.RUNNING, ""),
    "killing": (Phase.ENDING, "is being ended"),
    "preempting": (Phase.ENDING, "is being preempted by another job"),
    "exiting": (Phase.ENDING, "its nodes are being cleaned up"),
    "done": (Phase.ENDING, ""),
}
"""State -> phase, and what the state means if its name does not say."""

ENDS: Mapping[str, End] = {
    r"maximum execution time exceeded": End.WALLTIME,
    r"user delete requested": End.CANCELLED,
    r"preempt": End.PREEMPTED,
}
"""Pattern of a line in a job's log -> how the job ended. The log of a job that was killed has no exit code."""

EXIT = re.compile(r"task completed normally with an exit code of (-?[0-9]{1,9}|None)\b")


DIRECTIVE = "#COBALT "

NODE_LIST = """\
export PBS_NODEFILE="$COBALT_NODEFILE"
if [ ! -r "$PBS_NODEFILE" ]; then
    export PBS_NODEFILE={file}
    for part in ${{COBALT_PARTNAME//,/ }}; do seq "${{part%-*}}" "${{part#*-}}"; done > "$PBS_NODEFILE"
fi

"""
"""Shell lines that list a block's nodes in the file where Parsl reads them. On a Cray only a variable has them, in the
form 3827-3830,3835."""

COLUMNS = "JobID:State"
"""Columns of qstat, none with blanks. They are always given, since users and sites can change the default."""


class CobaltBlocks(BatchBlocks, ClusterProvider):  # type: ignore[misc]
    """Submits blocks as Cobalt jobs."""

    end_time: ClassVar[str] = "${{COBALT_ENDTIME:-{reckoned}}}"
    away: ClassVar[str] = (
        r"(?i)(failed to|could not) connect|connection (refused|reset)|timed out|did not answer|no route to host"
        r"|is not running|unable to find component|failed to find service location"
    )
    transient: ClassVar[tuple[str, ...]] = (r"limit of \d+ jobs per user in the .* queue has been reached",)

    worker_init: str

    @classmethod
    def for_pool(cls, site: Site, pool: PoolSpec, worker_init: str) -> Self:
        provider = cls("cobalt", pool.nodes_per_block, 0, 0, max(1, pool.blocks.max), 1, "", BlockLauncher(pool))
        provider.site, provider.pool, provider.worker_init = site, pool, worker_init
        return provider

    # -- submission ---------------------------------------------------------------------------------------------------

    def script(self, files: BlockFiles, body: str) -> str:
        """See :meth:`BatchBlocks.script`. Cobalt reads directives only straight after the first line.

        It splits them at blanks, which paths may contain; so paths are given on the command line. Directives that the
        site file gives replace ours.
        """
        given = {word for line in self.pool.options if line.startswith(DIRECTIVE) for word in line.split()}
        own = {
            ("-n", "--nodecount"): str(self.pool.nodes_per_block),
            ("-t", "--time"): str(self.walltime_seconds // 60),
            ("--mode",): "script",
            ("-q", "--queue"): self.pool.queue,
            ("-A", "--project"): self.site.account,
            ("--jobname",): files.job_name,
        }
        lines = [f"{DIRECTIVE}{names[0]} {value}" for names, value in own.items() if value and not given & set(names)]
        options = sorted(
            self.pool.options, key=lambda line: not line.startswith(DIRECTIVE)
        )  # a line that is no directive ends them
        nodes = NODE_LIST.format(file=shlex.quote(f"{files.script.with_suffix('.nodes')}")) if self._splits else ""
        return "\n".join(["#!/bin/bash", *lines, *options, "", f"{nodes}{body}", ""])

    @property
    def _splits(self) -> bool:
        """Whether trials take several nodes of the block each. All workers then run where the script runs."""
        return self.pool.nodes_per_block > 1 and self.launcher.name == "single"

    def submit_command(self, script: Path) -> list[str]:
        outputs = {
            "-o": script.with_suffix(".out"),
            "-e": script.with_suffix(".err"),
            "--debuglog": self._log("$jobid"),
        }
        options = [word for name, path in outputs.items() for word in (name, str(path))]
        # The script is named within its folder: Cobalt removes blanks from a path.
        return ["qsub", "--cwd", str(script.parent), *options, script.name]

    def _log(self, job: str) -> Path:
        return self.folder / f"{job}.cobaltlog"

    def read_job_id(self, answer: Answer) -> str | None:
        """The last line that begins with a number. A site's filters may print lines before it, and Cobalt words after
        it.

        What Cobalt prints on stderr is logged.
        """
        ids = re.findall(r"^(\d+)(?: .*)?$", answer.out, re.MULTILINE)
        if ids and answer.err.strip():
            log.info("job %s: Cobalt says: %s", ids[-1], answer.words)
        return str(ids[-1]) if ids else None

    # -- queries ------------------------------------------------------------------------------------------------------

    def query(self, ids: Sequence[str]) -> dict[str, Job]:
        """See :meth:`BatchBlocks.query`. Jobs that Cobalt no longer knows are looked up in their logs."""
        if not ids:
            return {}
        table = read_table(self._qstat(COLUMNS, ids).out)
        found = {job: job_in(job, state) for job, state in table.items() if job in ids}
        ended = {job: self._ended(job) for job in ids if job not in found}
        return found | {job: known for job, known in ended.items() if known is not None}

    def _qstat(self, columns: str, ids: Sequence[str]) -> Answer:
        answer = run(["qstat", "--header", columns, *ids])
        if answer.code != 0 and (answer.err.strip() or answer.out.strip()):
            raise SchedulerUnreachable(answer.words)
        if answer.code not in (0, 1):  # 1 without a message: it knows none of them
            raise SchedulerUnreachable(f"qstat exited with {answer.code}")
        return answer

    def _ended(self, job: str) -> Job | None:
        """The end of a job that Cobalt no longer knows, from its log; None when the log does not say."""
        try:
            text = self._log(job).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        return read_log(job, text)

    def names(self, ids: Sequence[str]) -> dict[str, str]:
        """See :meth:`BatchBlocks.names`. Our names have no blanks; other names differ in the first word."""
        rows = (line.split() for line in self._qstat("JobID:JobName", ids).out.splitlines())
        return {row[0]: row[1] for row in rows if len(row) > 1 and row[0] in ids}

    def cancel_one(self, job: str) -> bool:
        """See :meth:`BatchBlocks.cancel_one`. Cobalt ignores unknown jobs silently."""
        answer = run(["qdel", job])
        if answer.code == TIMED_OUT or "component error" in answer.words:
            raise SchedulerUnreachable(answer.words)
        if answer.code:
            log.warning("qdel %s: %s", job, answer.words)
        return answer.code == 0

    def _status(self) -> None:
        """Required by Parsl; unused."""


def read_table(text: str) -> dict[str, str]:
    """Job id -> state, from the output of ``qstat --header JobID:State``."""
    rows = (line.split() for line in text.splitlines())
    return {row[0]: row[1] for row in rows if len(row) == 2 and row[0].isdigit()}


def job_in(job: str, state: str) -> Job:
    """A job that Cobalt knows, from its state."""
    phase, meaning = STATES.get(state.lower(), (Phase.QUEUED, ""))
    reason = "" if phase == Phase.RUNNING or state == "queued" else ": ".join(filter(None, (state, meaning)))
    return Job(job, phase, reason=reason)


def read_log(job: str, text: str) -> Job | None:
    """How a job ended, from its log; None when the log does not say so (yet)."""
    for line in text.splitlines():
        end = next((end for pattern, end in ENDS.items() if re.search(rf"Info: .*{pattern}", line)), None)
        if end is not None:
            return Job(job, Phase.ENDED, end, _said(line))
    exits = EXIT.findall(text)
    if not exits:
        return None
    code = int(exits[-1]) if exits[-1] != "None" else None
    end = End.FINISHED if code == 0 else End.FAILED
    return Job(job, Phase.ENDED, end, f"exit code {code}" if code != 0 else "", code)


def _said(line: str) -> str:
    """The part of a log line after ``Info:``."""
    return line.partition("Info: ")[2].strip()
