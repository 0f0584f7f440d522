"""Blocks as PBS jobs (OpenPBS, PBS Professional): Parsl's provider, with one reliable query for all jobs.

It uses ``qstat -F dsv``, which prints one line for each job. ``-F json`` is unreliable: some versions print only the
first of several jobs, others invalid JSON when a variable of the job holds a quote, and a name of digits becomes a
number.
"""

from __future__ import annotations

import logging
import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import ClassVar, Self

from parsl.providers.pbspro.pbspro import PBSProProvider

from ..site import PoolSpec, Site
from .batch import BatchBlocks, BlockFiles
from .commands import TIMED_OUT, Answer, run
from .jobs import End, Job, Phase, SchedulerUnreachable
from .launchers import BlockLauncher

log = logging.getLogger(__name__)

STATES: Mapping[str, tuple[Phase, str]] = {
    "Q": (Phase.QUEUED, ""),
    "H": (Phase.QUEUED, "held"),
    "W": (Phase.QUEUED, "waits for its start time"),
    "S": (Phase.SUSPENDED, "suspended"),
    "U": (Phase.SUSPENDED, "suspended while its node's owner works there"),
    "T": (Phase.QUEUED, "being moved to or from a node"),
    "M": (Phase.QUEUED, "moved to another server"),
    "R": (Phase.RUNNING, ""),
    "B": (Phase.RUNNING, ""),
    "E": (Phase.ENDING, ""),
    "F": (Phase.ENDED, ""),
    "X": (Phase.ENDED, ""),
}
"""``job_state`` -> phase, and what the letter says beyond that."""

EXITS: Mapping[int, End] = {
    0: End.FINISHED,
    271: End.CANCELLED,  # 256 + SIGTERM
    -4: End.NODE_FAILURE,  # the node's daemon was restarted
    -11: End.PREEMPTED,  # requeued
    -12: End.PREEMPTED,  # checkpointed
    -14: End.NODE_FAILURE,  # its first node lost another one
    -20: End.NODE_FAILURE,  # the server lost its first node
    -26: End.OUT_OF_MEMORY,
    -27: End.OUT_OF_MEMORY,
    -29: End.WALLTIME,
    -31: End.OUT_OF_MEMORY,
    -32: End.NODE_FAILURE,  # the node was reprovisioned
}
"""``Exit_status`` -> how the job ended. Negative ones are PBS's own. With any other status the job failed."""

COMMENTS: Mapping[str, End] = {
    r"exceeded resource walltime": End.WALLTIME,
    r"exceeded resource (v|hp)?mem": End.OUT_OF_MEMORY,
    r"[Pp]reempt": End.PREEMPTED,
    r"and terminated|[Dd]eleted": End.CANCELLED,
}
"""Pattern of a job's last comment -> how the job ended, when its exit status does not say."""

DELETED = "91"
"""``substate`` of a job that was deleted, whatever its script exited with."""

NEVER: Mapping[str, str] = {
    r"Can Never Run": "it will never start: no nodes of this machine have what the pool requests; see nodes_per_block, "
    "cores_per_node, gpus_per_node, memory_per_node and options in the site file",
    r"Insufficient amount of resource: \S+\s*$": "it will never start on the nodes that are up: none is large enough "
    "for a node's share of what the pool requests; see cores_per_node, gpus_per_node, memory_per_node and options in "
    "the site file",
    r"too many failed attempts": "PBS has given up starting it: ask the site about the nodes that were tried",
}
"""Pattern of the comment of a job that waits in vain -> what it means."""

UNKNOWN, FINISHED = "Unknown Job Id", "Job has finished"
NO_HISTORY = "not configured to maintain job history"

NO_MOM = "could not connect to MOM"
"""What qdel says of a job whose first node does not answer."""

OF_ONE_JOB = (0, 35, 153)
"""Exit codes of qstat and qdel that concern the requested jobs: success, finished, unknown."""

AWAY = (
    r"(cannot|could not|Unable to) connect|Connection (refused|reset)|End of File|timed out|did not answer"
    r"|shutting down|protocol error|No route to host|Communication failure|cannot read reply from pbs_server"
    r"|encode failed"
)
"""Pattern of what PBS's commands say when the server does not answer."""


class PBSBlocks(BatchBlocks, PBSProProvider):  # type: ignore[misc]
    """Submits blocks as PBS jobs.

    Attributes:
        history: Whether PBS can be asked for ended jobs; False once it has said that it keeps no history.
        seen: The last known state of the jobs that live.
    """

    grain: ClassVar[int] = 1
    away: ClassVar[str] = AWAY
    transient: ClassVar[tuple[str, ...]] = (
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
        """Parsl's template filled in. A ``select=`` in the site file's options replaces ours."""
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
        """The last line that is an id: a site's hooks may print something before it."""
        ids = re.findall(r"^\s*(\d+(?:\[\])?\.\S+)\s*$", answer.out, re.MULTILINE)
        return str(ids[-1]) if ids else None

    # -- queries ------------------------------------------------------------------------------------------------------

    def query(self, ids: Sequence[str]) -> dict[str, Job]:
        """See :meth:`BatchBlocks.query`. A job is gone only if PBS says so.

        PBS may leave a living job out of its answer. Such a job is asked for alone; if that brings nothing either, it
        keeps its last known state.
        """
        found, left_out = self._ask(ids) if ids else ({}, [])
        for job in left_out:
            alone, silent = self._ask([job])
            found |= alone
            if silent:
                found[job] = self.seen.get(job, Job(job, Phase.QUEUED, reason="qstat does not list it"))
        self.seen = {job: state for job, state in found.items() if state.phase != Phase.ENDED}
        return found

    def _ask(self, ids: Sequence[str]) -> tuple[dict[str, Job], list[str]]:
        """The states of these jobs, and the jobs that were left out. Raises SchedulerUnreachable."""
        answer = self._qstat(ids)
        if self.history and NO_HISTORY in answer.err:
            # It then lists no job at all, not even running ones, and exits with 0.
            log.info("PBS keeps no history of jobs here, so it does not say how blocks ended")
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
            elif UNKNOWN in said.get(sequence(job), ""):
                found[job] = Job(job, Phase.ENDED, reason="PBS no longer knows it")
            else:
                left_out.append(job)
        if left_out and answer.code not in OF_ONE_JOB:
            raise SchedulerUnreachable(answer.words or f"qstat exited with {answer.code}")
        return found, left_out

    def _qstat(self, ids: Sequence[str]) -> Answer:
        return run(["qstat", *(["-x"] if self.history else []), "-f", "-F", "dsv", *ids])

    def cancel_one(self, job: str) -> bool:
        answer = run(["qdel", job])
        if NO_MOM in answer.words:  # its node is lost, and PBS would wait for it
            log.warning("qdel %s: %s; it is deleted by force", job, answer.words)
            answer = run(["qdel", "-W", "force", job])
        if answer.code in OF_ONE_JOB:
            return True
        if answer.code == TIMED_OUT or re.search(AWAY, answer.words):
            raise SchedulerUnreachable(answer.words)
        log.warning("qdel %s: %s", job, answer.words)
        return "invalid for state of job" in answer.words  # it is being ended already


def _directives(site: Site, pool: PoolSpec) -> list[str]:
    """The directives after those of Parsl's template. The site file's come last.

    Ours that the site file gives too are left out: of two equal directives not every PBS uses the last.
    """
    own = {
        "-r": "n",  # a job that ran again would hold nodes that are no longer needed
        "-q": pool.queue,
        "-A": site.account,
        # Without it PBS may place several chunks on one node.
        "-l place=": "scatter" if pool.nodes_per_block > 1 and not gives(pool.options, "-l select=") else "",
    }
    lines = [f"#PBS {what}{'' if what.endswith('=') else ' '}{value}" for what, value in own.items()
             if value and not gives(pool.options, what)]  # fmt: skip
    return [*lines, *pool.options]


def _chunk(pool: PoolSpec) -> str:
    """What a chunk of ``select=`` requests beside cores."""
    tiles = pool.gpu_type == "intel"  # PBS counts whole GPUs, which have several tiles
    parts = [f"ngpus={pool.gpus_per_node}"] if pool.gpus_per_node and not tiles else []
    parts += [f"mem={pool.memory_per_node // 2**20}mb"] if pool.memory_per_node else []
    return "".join(f":{part}" for part in parts)


def gives(options: Sequence[str], what: str) -> bool:
    """Whether a line of the site file's ``options`` gives the option ``what``, as in ``-q`` or ``-l select=``."""
    letter, _, resource = what.partition(" ")
    pattern = rf"#PBS\s(.*\s)?{letter}\s*" + (rf"(\S+,)?{resource}" if resource else "")
    return any(re.match(pattern, line) for line in options)


def clock(seconds: int) -> str:
    """Seconds as HH:MM:SS, with days as hours.

    >>> clock(90_061)
    '25:01:01'
    """
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def sequence(job: str) -> str:
    """A job id without the server's name, which some commands abbreviate."""
    return job.strip().partition(".")[0]


def _is_about(line: str, job: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(sequence(job))}(?!\w)", line) is not None


def read_dsv(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Each job's number and attributes from the output of ``qstat -f -F dsv``.

    >>> list(read_dsv("Job Id: 7.server|job_state=R|comment=started"))
    [('7', {'job_state': 'R', 'comment': 'started'})]
    """
    for line in text.splitlines():
        head, *fields = (field.replace(r"\|", "|") for field in re.split(r"(?<!\\)\|", line))
        label, _, job = head.partition(":")
        if label.strip() == "Job Id":
            pairs = (field.partition("=") for field in fields)
            yield sequence(job), {name.strip(): value.strip() for name, _, value in pairs}


def read_job(job: str, record: Mapping[str, str]) -> Job:
    """A job from its attributes, as :func:`read_dsv` gives them."""
    letter, comment = record.get("job_state", ""), record.get("comment", "")
    phase, word = STATES.get(letter, (Phase.QUEUED, f"in the state {letter or 'unknown'}"))
    if phase == Phase.ENDED:
        return _ended(job, record, comment)
    meaning = next((meaning for pattern, meaning in NEVER.items() if re.search(pattern, comment)), "")
    reason = "" if phase == Phase.RUNNING else ": ".join(filter(None, (word, comment, meaning)))
    starts = read_time(record.get("estimated.start_time", "")) if phase == Phase.QUEUED else None
    return Job(job, phase, reason=reason, starts=starts)


def read_time(text: str) -> float | None:
    """A time as qstat prints it, in Unix seconds; None for anything else.

    >>> read_time("1700000000"), read_time("soon")
    (1700000000.0, None)
    >>> read_time("Tue Feb 14 02:10:11 2023") - read_time("Tue Feb 14 02:10:01 2023")
    10.0
    """
    if re.fullmatch(r"[0-9]{9,11}", text):
        return float(text)
    try:
        return time.mktime(time.strptime(text, "%a %b %d %H:%M:%S %Y"))
    except (ValueError, OverflowError):
        return None


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
