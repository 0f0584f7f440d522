"""PBS (OpenPBS, PBS Professional): Parsl's provider, and one status query that can be believed.

``qstat -F dsv`` has one line a job. ``-F json`` has not served: some versions tell of the first of several jobs only,
others write what is no JSON when a variable of the job holds a quote, and a name of digits comes out as a number.
"""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import ClassVar, Self

from parsl.providers import PBSProProvider

from ..site import PoolSpec, Site
from .batch import BatchBlocks, BlockFiles
from .commands import TIMED_OUT, Answer, run
from .jobs import End, Job, Phase, SchedulerUnreachable
from .launchers import BlockLauncher

log = logging.getLogger(__name__)

STATES: Mapping[str, tuple[Phase, str]] = {
    "Q": (Phase.QUEUED, ""),
    "H": (Phase.QUEUED, "held"),
    "W": (Phase.QUEUED, "waits for the start time it was given"),
    "S": (Phase.QUEUED, "suspended"),
    "U": (Phase.QUEUED, "suspended while its node's owner works there"),
    "T": (Phase.QUEUED, "on its way to or from a node"),
    "M": (Phase.QUEUED, "moved to another server"),
    "R": (Phase.RUNNING, ""),
    "B": (Phase.RUNNING, ""),
    "E": (Phase.ENDING, ""),
    "F": (Phase.ENDED, ""),
    "X": (Phase.ENDED, ""),
}
"""``job_state`` -> where the job is, and what the letter says beyond that."""

EXITS: Mapping[int, End] = {
    0: End.FINISHED,
    271: End.CANCELLED,  # 256 + SIGTERM
    -4: End.NODE_FAILURE,  # the node's daemon was started again
    -11: End.PREEMPTED,  # requeued
    -12: End.PREEMPTED,  # checkpointed
    -14: End.NODE_FAILURE,  # its first node lost another one
    -20: End.NODE_FAILURE,  # the server lost its first node
    -26: End.OUT_OF_MEMORY,
    -27: End.OUT_OF_MEMORY,
    -29: End.WALLTIME,
    -31: End.OUT_OF_MEMORY,
    -32: End.NODE_FAILURE,  # the node was installed anew under it
}
"""``Exit_status`` -> how the job ended; negative ones are PBS's own. All others: it failed."""

COMMENTS: Mapping[str, End] = {
    r"exceeded resource walltime": End.WALLTIME,
    r"exceeded resource (v|hp)?mem": End.OUT_OF_MEMORY,
    r"[Pp]reempt": End.PREEMPTED,
    r"and terminated|[Dd]eleted": End.CANCELLED,
}
"""What a job's last comment tells where its exit status does not."""

DELETED = "91"
"""``substate`` of a job that was deleted, whatever its script made of that."""

NEVER: Mapping[str, str] = {
    r"Can Never Run": "it will never start: no nodes of this machine give what the pool asks for; see nodes_per_block, "
    "cores_per_node, gpus_per_node, memory_per_node and options in the site file",
    r"too many failed attempts": "PBS has given up starting it: ask the site about the nodes that it tried",
}
"""Comments of a job that waits in vain -> what that means."""

UNKNOWN, FINISHED = "Unknown Job Id", "Job has finished"
NO_HISTORY = "not configured to maintain job history"

OF_ONE_JOB = (0, 35, 153)
"""Exit codes of qstat and qdel that say something about the jobs asked for: fine, finished, unknown."""

AWAY = r"cannot connect|Connection refused|End of File|timed out|did not answer|shutting down|protocol error"
"""Words of a server that does not serve."""


class PBSBlocks(BatchBlocks, PBSProProvider):  # type: ignore[misc]
    """Blocks as PBS jobs."""

    grain: ClassVar[int] = 1
    transient: ClassVar[tuple[str, ...]] = (
        AWAY,
        r"would exceed .*limit",  # "would exceed queue workq's per-user limit"
        r"Maximum number of jobs",
        r"Resource temporarily unavailable",
        r"connection table full|No free connections",
    )

    history: bool
    seen: dict[str, Job]

    @classmethod
    def for_pool(cls, site: Site, pool: PoolSpec, worker_init: str) -> Self:
        provider = cls(
            account=site.account or None,
            queue=pool.queue or None,
            scheduler_options="\n".join(_directives(site, pool)),
            select_options=_chunk(pool),
            worker_init=worker_init,
            nodes_per_block=pool.nodes_per_block,
            cpus_per_node=max(1, pool.cores_per_node),
            init_blocks=0,
            min_blocks=0,
            max_blocks=max(1, pool.blocks.max),
            launcher=BlockLauncher(pool),
        )
        provider.site, provider.pool = site, pool
        provider.walltime = clock(provider.walltime_seconds)
        provider.history, provider.seen = True, {}
        return provider

    # -- submission ---------------------------------------------------------------------------------------------------

    def script(self, files: BlockFiles, body: str) -> str:
        """Parsl's template filled in. Where the site file's options select nodes, they alone do."""
        text = Template(self.template_string).substitute(
            jobname=files.job_name,
            walltime=self.walltime,
            nodes_per_block=self.nodes_per_block,
            ncpus=self.cpus_per_node,
            select_options=self.select_options,
            job_stdout_path=shlex.quote(str(files.stdout)),
            job_stderr_path=shlex.quote(str(files.stderr)),
            scheduler_options=self.scheduler_options,
            worker_init='cd "$PBS_O_WORKDIR"',  # PBS starts in the home directory
            user_script=body,
        )
        own = f"#PBS -l select={self.nodes_per_block}:ncpus={self.cpus_per_node}{self.select_options}\n"
        assert own in text
        return str(text.replace(own, "", 1) if gives(self.pool.options, "-l select=") else text)

    def submit_command(self, script: Path) -> list[str]:
        return ["qsub", str(script)]

    def read_job_id(self, answer: Answer) -> str | None:
        """The last line that is one: a site's hooks may have said something before."""
        ids = re.findall(r"^\s*(\d+(?:\[\])?\.\S+)\s*$", answer.out, re.MULTILINE)
        return str(ids[-1]) if ids else None

    # -- questions ----------------------------------------------------------------------------------------------------

    def query(self, ids: Sequence[str]) -> dict[str, Job]:
        """One question for all. A job is gone only where PBS says so: one that it just leaves out is asked for alone,
        and stays what it was if that brings nothing either."""
        found, left_out = self._ask(ids) if ids else ({}, [])
        for job in left_out:
            alone, silent = self._ask([job])
            found |= alone
            if silent:
                found[job] = self.seen.get(job, Job(job, Phase.QUEUED, reason="qstat says nothing about it"))
        self.seen = {job: state for job, state in found.items() if state.phase != Phase.ENDED}
        return found

    def _ask(self, ids: Sequence[str]) -> tuple[dict[str, Job], list[str]]:
        """What is known of these jobs, and those of which nothing was said. Raises SchedulerUnreachable."""
        answer = self._qstat(ids)
        if self.history and NO_HISTORY in answer.err:
            # It told of no job at all then, not even of those that run, and exited with 0.
            log.info("PBS keeps no history of jobs here: how one ended is known only to the block itself")
            self.history = False
            answer = self._qstat(ids)
        records = dict(read_dsv(answer.out))
        said = {sequence(job): line for line in answer.err.splitlines() for job in ids if _is_about(line, job)}
        found, left_out = {}, []
        for job in ids:
            if sequence(job) in records:
                found[job] = read_job(job, records[sequence(job)])
            elif FINISHED in said.get(sequence(job), ""):
                found[job] = Job(job, Phase.ENDED, reason="PBS keeps no record of how it ended")
            elif UNKNOWN not in said.get(sequence(job), ""):
                left_out.append(job)
        if left_out and answer.code not in OF_ONE_JOB:
            raise SchedulerUnreachable(answer.words or f"qstat exited with {answer.code}")
        return found, left_out

    def _qstat(self, ids: Sequence[str]) -> Answer:
        return run(["qstat", *(["-x"] if self.history else []), "-f", "-F", "dsv", *ids])

    def cancel_one(self, job: str) -> bool:
        answer = run(["qdel", job])
        if answer.code in OF_ONE_JOB:
            return True
        if answer.code == TIMED_OUT or re.search(AWAY, answer.words):
            raise SchedulerUnreachable(answer.words)
        log.warning("qdel %s: %s", job, answer.words)
        return "invalid for state of job" in answer.words  # it is ending already


def _directives(site: Site, pool: PoolSpec) -> list[str]:
    """Lines after those of Parsl's template; the site file's own are the last. What those give is left out of ours,
    since of two that say the same it is not the last that counts everywhere."""
    own = {
        "-r": "n",  # run again, it would hold nodes that nobody asked for any more
        "-q": pool.queue,
        "-A": site.account,
        # Else PBS may put several nodes' parts on one.
        "-l place=": "scatter" if pool.nodes_per_block > 1 and not gives(pool.options, "-l select=") else "",
    }
    lines = [f"#PBS {what}{'' if what.endswith('=') else ' '}{value}" for what, value in own.items()
             if value and not gives(pool.options, what)]  # fmt: skip
    return [*lines, *pool.options]


def _chunk(pool: PoolSpec) -> str:
    """What a node is to have beside its cores."""
    tiles = pool.gpu_type == "intel"  # of which there are several in what PBS counts as one
    parts = [f"ngpus={pool.gpus_per_node}"] if pool.gpus_per_node and not tiles else []
    parts += [f"mem={pool.memory_per_node // 2**20}mb"] if pool.memory_per_node else []
    return "".join(f":{part}" for part in parts)


def gives(options: Sequence[str], what: str) -> bool:
    """Whether one of the site file's lines gives ``-q``, or a resource as in ``-l select=``."""
    letter, _, resource = what.partition(" ")
    pattern = rf"#PBS\s(.*\s)?{letter}\s*" + (rf"(\S+,)?{resource}" if resource else "")
    return any(re.match(pattern, line) for line in options)


def clock(seconds: int) -> str:
    """HH:MM:SS; days as hours."""
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def sequence(job: str) -> str:
    """A job id without its server, which is written longer or shorter from one command to the other."""
    return job.strip().partition(".")[0]


def _is_about(line: str, job: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(sequence(job))}(?!\w)", line) is not None


def read_dsv(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Each job's number and attributes from what ``qstat -f -F dsv`` printed: ``Job Id: 7.server|job_state=R|...``."""
    for line in text.splitlines():
        head, *fields = (field.replace(r"\|", "|") for field in re.split(r"(?<!\\)\|", line))
        label, _, job = head.partition(":")
        if label.strip() == "Job Id":
            pairs = (field.partition("=") for field in fields)
            yield sequence(job), {name.strip(): value.strip() for name, _, value in pairs}


def read_job(job: str, record: Mapping[str, str]) -> Job:
    """A job from its attributes."""
    letter, comment = record.get("job_state", ""), record.get("comment", "")
    phase, word = STATES.get(letter, (Phase.QUEUED, f"in the state {letter or 'unknown'}"))
    if phase == Phase.ENDED:
        return _ended(job, record, comment)
    meaning = next((meaning for pattern, meaning in NEVER.items() if re.search(pattern, comment)), "")
    reason = "" if phase == Phase.RUNNING else ": ".join(filter(None, (word, comment, meaning)))
    return Job(job, phase, reason=reason)


def _ended(job: str, record: Mapping[str, str], comment: str) -> Job:
    status = record.get("Exit_status", "")
    code = int(status) if re.fullmatch(r"-?[0-9]{1,9}", status) else None
    by_comment = next((end for pattern, end in COMMENTS.items() if re.search(pattern, comment)), None)
    if code is not None and code < 0:
        end = EXITS.get(code, by_comment or End.FAILED)
    elif by_comment is not None:
        end = by_comment
    elif record.get("substate") == DELETED:
        end = End.CANCELLED
    else:
        end = End.FINISHED if code is None else EXITS.get(code, End.FAILED)
    words = [comment, f"Exit_status {code}" if code else ""]
    exit_code = code if code is not None and 0 <= code < 256 else None
    return Job(job, Phase.ENDED, end, ", ".join(filter(None, words)), exit_code)
