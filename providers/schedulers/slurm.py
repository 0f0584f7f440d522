"""Blocks as Slurm jobs: Parsl's provider, with one query that says why jobs wait and how they ended.

``squeue`` says both, from submission until some minutes after a job's end (``MinJobAge``). Only for jobs that it has
forgotten ``sacct`` is asked, if the site keeps accounts: its data arrive later, and it leaves out jobs that are held.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from string import Template
from typing import ClassVar, Self

from parsl.providers.slurm.slurm import SlurmProvider
from parsl.providers.slurm.template import template_string

from ...errors import SiteError
from ..site import PoolSpec, Site
from .batch import BatchBlocks, BlockFiles, write_script
from .commands import TIMED_OUT, Answer, run
from .jobs import End, Job, Phase, SchedulerUnreachable
from .launchers import BlockLauncher

log = logging.getLogger(__name__)

STATES: Mapping[str, tuple[Phase, End | None, str]] = {
    "PENDING": (Phase.QUEUED, None, ""),
    "REQUEUED": (Phase.QUEUED, None, "back in the queue"),
    "REQUEUE_FED": (Phase.QUEUED, None, "back in the queue of another cluster"),
    "REQUEUE_HOLD": (Phase.QUEUED, None, "back in the queue, and held; scontrol release starts it again"),
    "RESV_DEL_HOLD": (Phase.QUEUED, None, "held, since its reservation was deleted"),
    "SPECIAL_EXIT": (Phase.QUEUED, None, "back in the queue, and held by the site because of how it ended"),
    "CONFIGURING": (Phase.QUEUED, None, "its nodes are being prepared"),
    "POWER_UP_NODE": (Phase.QUEUED, None, "its nodes are being switched on"),
    "SUSPENDED": (Phase.SUSPENDED, None, "suspended"),
    "STOPPED": (Phase.SUSPENDED, None, "stopped; it keeps its nodes"),
    "RUNNING": (Phase.RUNNING, None, ""),
    "RESIZING": (Phase.RUNNING, None, ""),
    "SIGNALING": (Phase.RUNNING, None, ""),
    "COMPLETING": (Phase.ENDING, None, ""),
    "STAGE_OUT": (Phase.ENDING, None, "its files are being copied"),
    "UPDATE_DB": (Phase.ENDING, None, ""),
    "COMPLETED": (Phase.ENDED, End.FINISHED, ""),
    "TIMEOUT": (Phase.ENDED, End.WALLTIME, ""),
    "DEADLINE": (Phase.ENDED, End.WALLTIME, ""),
    "PREEMPTED": (Phase.ENDED, End.PREEMPTED, ""),
    "NODE_FAIL": (Phase.ENDED, End.NODE_FAILURE, ""),
    "BOOT_FAIL": (Phase.ENDED, End.NODE_FAILURE, "its nodes did not boot"),
    "LAUNCH_FAILED": (Phase.ENDED, End.NODE_FAILURE, "its nodes could not start it"),
    "RECONFIG_FAIL": (Phase.ENDED, End.NODE_FAILURE, "its nodes could not be configured"),
    "CANCELLED": (Phase.ENDED, End.CANCELLED, ""),
    "REVOKED": (Phase.ENDED, End.CANCELLED, "it runs on another cluster of the federation"),
    "OUT_OF_MEMORY": (Phase.ENDED, End.OUT_OF_MEMORY, ""),
    "FAILED": (Phase.ENDED, End.FAILED, ""),
}
"""State, in full as ``squeue`` and ``sacct`` write it -> phase, end, and what it means if its name does not say."""

REFUSED_LATE = ("BadConstraints", "InvalidAccount", "InvalidQOS", "AccountNotAllowed", "QOSNotAllowed")
"""Reasons of a job that failed before it began: Slurm usually refuses such jobs at submission."""

_LIMITS = "see nodes_per_block, cores_per_node, gpus_per_node and memory_per_node in the site file"

REASONS: Mapping[str, str] = {
    r"Resources": "waits for free nodes",
    r"Priority": "other jobs come first",
    r"BeginTime": "waits for its start time; after a requeue that is two minutes",
    r"Dependency": "waits for another job",
    r"DependencyNeverSatisfied": "it will never start: a job that it depends on has failed",
    r"JobHeldUser": "held by its owner; scontrol release starts it",
    r"JobHeldAdmin": "held by an administrator, who alone can release it",
    r"JobHoldMaxRequeue": "held because it was put back into the queue too often",
    r"Licenses": "waits for a licence",
    r"Reservation": "waits for its reservation to begin",
    r"ReservationDeleted": "it will never start: its reservation was deleted",
    r"ReqNodeNotAvail.*": "nodes that it could use are down, drained or reserved, often for a maintenance that begins "
    "before the block would end: a shorter walltime may fit before it",
    r"PartitionTimeLimit": "it will never start: the walltime is longer than the partition allows; see walltime and "
    "queue in the site file",
    r"PartitionConfig|PartitionNodeLimit|PartitionMinNodes|PartitionMaxNodes": "it will never start: the partition "
    "does not allow what the block asks for; see nodes_per_block, walltime and queue in the site file",
    r"PartitionDown|PartitionInactive": "the partition is closed for now",
    r"BadConstraints": f"it will never start: no nodes have what the pool asks for; {_LIMITS}, and options",
    r"(Assoc|QOS)(Max|Grp)WallDurationPerJobLimit|(Association|QOS)TimeLimit|QOSGrpWallLimit": "the walltime is longer "
    "than the account or its QOS allows now",
    r"(Assoc|QOS)\w*(Minutes|MinutesLimit|MinutesPerJob\w*)": "the account or its QOS has used up its allocation, or "
    "its running jobs will",
    r"(Assoc|QOS)(Max|Grp)Jobs\w*|MaxJobsPerAccount|(Association|QOS)JobLimit": "as many jobs run as the account or "
    "its QOS allows; it starts when one of them ends",
    r"(Assoc|QOS)(Max|Grp)SubmitJob\w*": "as many jobs are queued as the account or its QOS allows",
    r"(Assoc|QOS)Max\w+Per(Job|Node)\w*": f"it will never start: it is larger than the account or its QOS allows; "
    f"{_LIMITS}",
    r"QOSMin\w+": f"it will never start: it is smaller than its QOS takes; {_LIMITS}",
    r"(Assoc|QOS)(Grp|Max)\w+|Max\w+PerAccount|(Association|QOS)ResourceLimit": "running jobs use all that the "
    "account or its QOS may have at once; it starts when one of them ends",
    r"QOSUsageThreshold": "the QOS has used more than its share",
    r"InvalidAccount|AccountNotAllowed": "it will never start: the account may not use this partition; see account and "
    "queue in the site file",
    r"InvalidQOS|QOSNotAllowed": "it will never start: the QOS is not for this account or partition",
    r"JobLaunchFailure|SystemFailure": "it ended by a signal, or its node could not start it",
    r"launch failed requeued held": "held because its node could not start it; scontrol release starts it again",
}
"""Pattern of the ``Reason`` of a job that waits or failed -> what it means. The first full match counts."""

AWAY = (
    r"Unable to contact slurm controller|Socket timed out|Connection (refused|timed out|reset)|did not answer"
    r"|Zero Bytes were transmitted|temporarily (un)?able|Resource temporarily unavailable|DNS SRV lookup failed"
    r"|Protocol authentication error|Munge encode failed|No route to host|Unable to resolve"
    r"|Transport endpoint is not connected"
    r"|Could not establish a configuration source|controller not responding|in standby mode"
)
"""Pattern of what Slurm's commands say when the controller does not answer."""

UNKNOWN = "Invalid job id"
GONE = ("already completing or completed", "already finished", UNKNOWN)
"""What scancel says about a job that has ended."""

NO_ACCOUNTS = "accounting storage is disabled"

TEST_LIMIT = 15.0
"""Seconds that ``sbatch --test-only`` may take."""

FIELDS = ("JobID", "State", "exit_code", "Reason", "StartTime", "EndTime")

EXCLUDE = r"(?<!\S)(?:--exclude[= ]|-x ?)(\S+)"
"""Excluded nodes in a line of the site file's ``options``."""

OWN_OPTIONS: Mapping[str, str] = {
    "--no-requeue": r"--requeue",
    "--partition": r"--partition|-p",
    "--account": r"--account|-A",
    "--exclusive": r"--exclusive|--oversubscribe|-s\b",
    "--cpus-per-task": r"--cpus-per-(task|gpu)|-c",
    "--mem": r"--mem(-per-(node|cpu|gpu))?\b(?!-)",
    "--gpus-per-node": r"--gpus|-G|--gres[= ]\S*gpu",
}
"""Our directive -> pattern of the site file's directives that replace it: Slurm adds some up, or refuses both."""

VARIABLES = (
    r"SLURM_(?!CONF$)\w+|S(QUEUE|ACCT|CANCEL)_\w+"
    r"|SBATCH_(TIMELIMIT|JOB_NAME|OUTPUT|ERROR|INPUT|NO_REQUEUE|REQUEUE|EXCLUSIVE|ARRAY_INX|EXPORT|WAIT)"
)
"""Environment variables to hide from Slurm's commands: those that override the batch script or our queries, and those
of the job in which the driver itself may run, which would reach its blocks."""


class SlurmBlocks(BatchBlocks, SlurmProvider):  # type: ignore[misc]
    """Submits blocks as Slurm jobs.

    Attributes:
        accounts: Whether ``sacct`` can be asked; False once it has said that the site keeps no accounts.
    """

    end_time: ClassVar[str] = "${{SLURM_JOB_END_TIME:-{reckoned}}}"
    away: ClassVar[str] = AWAY
    transient: ClassVar[tuple[str, ...]] = (
        r"MaxSubmitJob|GrpSubmitJobs",
        r"Requested (partition configuration|nodes|node configuration) (is|are )?(not available now|busy)",
        r"Required (node|partition) not available",
    )

    excludes = True
    accounts: bool

    @classmethod
    def for_pool(cls, site: Site, pool: PoolSpec, worker_init: str) -> Self:
        provider = cls(
            nodes_per_block=pool.nodes_per_block,
            init_blocks=0,
            min_blocks=0,
            max_blocks=max(1, pool.blocks.max),
            worker_init=worker_init,
            exclusive=False,  # ours is among the directives below
            launcher=BlockLauncher(pool),
        )
        provider.site, provider.pool, provider.accounts = site, pool, True
        own = [name for name, value in (("ACCOUNT", site.account), ("PARTITION", pool.queue)) if value]
        provider.not_inherited = "|".join([VARIABLES, *(f"SBATCH_{name}" for name in own)])
        provider.scheduler_options = "\n".join(_directives(site, pool))
        return provider

    def execute_wait(self, cmd: str, timeout: int | None = None) -> tuple[int, str, str]:
        """Answer Parsl's constructor, which tests whether sacct works, so that rendering needs no Slurm."""
        return 1, "", f"not run: {cmd}"

    # -- submission ---------------------------------------------------------------------------------------------------

    def script(self, files: BlockFiles, body: str) -> str:
        return Template(template_string).substitute(
            jobname=files.job_name,
            job_stdout_path=_literal(files.stdout),
            job_stderr_path=_literal(files.stderr),
            nodes=self.nodes_per_block,
            walltime=self.walltime_seconds // 60,
            tasks_per_node=1,
            scheduler_options=self.scheduler_options,
            worker_init="",
            user_script=body,
        )

    def submit_command(self, script: Path) -> list[str]:
        return ["sbatch", "--parsable", *self._exclude(), str(script)]

    def _exclude(self) -> list[str]:
        """The option that keeps the job away from nodes. On the command line it replaces the one in the script."""
        if not self.excluded:
            return []
        own = [found for line in self.pool.options for found in re.findall(EXCLUDE, line)]
        return [f"--exclude={','.join([*own, *(host.partition('.')[0] for host in self.excluded)])}"]

    def read_job_id(self, answer: Answer) -> str | None:
        """The last line that is an id (``7``, ``7;cluster``): a site's filters may print something before it."""
        ids = re.findall(r"^(?:Submitted batch job )?(\d+)(?:;\S+)?\s*$", answer.out, re.MULTILINE)
        return str(ids[-1]) if ids else None

    def starts(self, command: str, block: str) -> float | None:
        """See :meth:`BatchBlocks.starts`. ``sbatch --test-only`` says it on stderr, and submits nothing."""
        files = self.files(block)
        write_script(files.script, self.render(block, command, self.worker_init))
        argv = ["sbatch", "--test-only", *self._exclude(), str(files.script)]
        answer = run(argv, TEST_LIMIT, folder=self.folder, without=self.not_inherited)
        found = re.search(r"to start at (\S+)", answer.err) if answer.code == 0 else None
        return read_time(found[1]) if found else None

    # -- queries ------------------------------------------------------------------------------------------------------

    def query(self, ids: Sequence[str]) -> dict[str, Job]:
        if not ids:
            return {}
        fields = ",".join(f"{name}:|" for name in FIELDS)
        answer = ask(["squeue", "--noheader", "--states=all", f"--jobs={','.join(ids)}", f"--Format={fields}"])
        if answer.code and UNKNOWN not in answer.words:  # it says so when the only requested job is unknown
            raise SchedulerUnreachable(answer.words or f"squeue exited with {answer.code}")
        found = read_jobs(answer.out, ids)
        forgotten = [job for job in ids if job not in found]
        return {**found, **self._accounted(forgotten)} if forgotten and self.accounts else found

    def _accounted(self, ids: Sequence[str]) -> dict[str, Job]:
        """What ``sacct`` says about jobs that the controller has forgotten.

        A job that lives according to ``sacct`` only is gone, so it is left out.
        """
        command = ["sacct", "-X", "--noheader", "--parsable2", f"--jobs={','.join(ids)}"]
        try:
            answer = ask([*command, "--format=JobID,State,ExitCode,Reason,Start,End"])
        except SiteError:
            self.accounts = False
            return {}
        if answer.code:
            log.info("sacct: %s", answer.words)
            self.accounts = NO_ACCOUNTS not in answer.words
            return {}
        return {name: job for name, job in read_jobs(answer.out, ids).items() if job.phase == Phase.ENDED}

    def names(self, ids: Sequence[str]) -> dict[str, str]:
        answer = ask(["squeue", "--noheader", f"--jobs={','.join(ids)}", "--Format=JobID:|,Name:|"])
        if answer.code and UNKNOWN not in answer.words:
            raise SchedulerUnreachable(answer.words or f"squeue exited with {answer.code}")
        return dict(re.findall(r"^\s*(\d+)\s*\|(.*?)\s*\|$", answer.out, re.MULTILINE))

    def cancel_one(self, job: str) -> bool:
        answer = ask(["scancel", job])
        if answer.code == 0 or any(words in answer.words for words in GONE):
            return True
        if answer.code == TIMED_OUT or re.search(AWAY, answer.words):
            raise SchedulerUnreachable(answer.words)
        log.warning("scancel %s: %s", job, answer.words)
        return False


def ask(argv: Sequence[str]) -> Answer:
    """Run one of Slurm's commands. Raises SiteError when it is not there."""
    return run(argv, without=VARIABLES)


def _literal(path: Path) -> str:
    """A path quoted for a directive, in which ``%`` begins a pattern, a blank ends the path, and quotes are removed."""
    text = str(path).replace("%", "%%").replace('"', '\\"')
    return f'"{text}"' if re.search(r"[^\w@%+=:,./-]", text) else text


def _directives(site: Site, pool: PoolSpec) -> list[str]:
    """The directives after those of Parsl's template. The site file's come last, since of two the last counts."""
    values = {
        "--no-requeue": True,  # a job that ran again would hold nodes that are no longer needed
        "--partition": pool.queue,
        "--account": site.account,
        "--exclusive": pool.exclusive,
        "--cpus-per-task": pool.cores_per_node,
        "--mem": f"{pool.memory_per_node // 2**20}M" if pool.memory_per_node else "",
        "--gpus-per-node": pool.gpus_per_node,
    }
    own = [name if value is True else f"{name}={value}" for name, value in values.items()
           if value and not gives(pool.options, OWN_OPTIONS[name])]  # fmt: skip
    return [*(f"#SBATCH {option}" for option in own), *pool.options]


def gives(options: Sequence[str], pattern: str) -> bool:
    """Whether a line of the site file's ``options`` has an option whose beginning matches ``pattern``."""
    return any(re.match(rf"#SBATCH\s(.*\s)?({pattern})", line) for line in options)


# -- parsing ----------------------------------------------------------------------------------------------------------


def read_jobs(text: str, ids: Sequence[str]) -> dict[str, Job]:
    """The jobs ``ids`` from lines of ``JobID|State|exit code|Reason|start|end``."""
    found = {}
    for line in text.splitlines():
        name, *rest = (field.strip() for field in line.split("|"))
        if name in ids and len(rest) >= 3:
            found[name] = _timed(read_job(name, *rest[:3]), *rest[3:5])
    return found


def _timed(job: Job, began: str = "", left: str = "") -> Job:
    """The job with its times: of one that waits or runs, Slurm gives those that it expects too."""
    if job.phase == Phase.QUEUED:
        return replace(job, starts=read_time(began))
    return replace(job, began=read_time(began), left=read_time(left) if job.phase == Phase.ENDED else None)


def read_time(text: str) -> float | None:
    """A time as Slurm's commands print it, in Unix seconds; None for ``Unknown``, ``N/A`` and the like.

    >>> read_time("N/A") is None, read_time("2026-11-30T12:00:10") - read_time("2026-11-30T12:00:00")
    (True, 10.0)
    """
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    except (ValueError, OverflowError):
        return None


def read_job(job: str, state: str, exit_code: str, reason: str) -> Job:
    """One job from its fields.

    Args:
        job: Its id.
        state: Its state. It may have more words (``CANCELLED by 1000``) or be cut off (``CANCELLED+``).
        exit_code: Its exit code, as :func:`read_exit` takes it.
        reason: Why it waits or failed.

    >>> read_job("7", "PENDING", "0:0", "Priority").reason
    'Priority: other jobs come first'
    """
    word = (state.split() or [""])[0].rstrip("+")
    phase, end, meaning = STATES.get(word, (Phase.QUEUED, None, f"in the state {state or 'unknown'}"))
    reason = "" if reason in ("None", "(null)", "N/A") else reason
    if end is not None:
        return _ended(job, end, [state, reason, meaning], exit_code)
    return Job(job, phase, reason=_joined([] if phase == Phase.RUNNING else [reason, meaning_of(reason) or meaning]))


def _ended(job: str, end: End, words: list[str], exit_code: str) -> Job:
    """A job that has ended. The reason in ``words`` may still be the one for which it waited."""
    if end == End.FAILED and words[1] in REFUSED_LATE:
        return Job(job, Phase.ENDED, End.REFUSED, _joined([*words[:2], meaning_of(words[1])]))
    if end == End.FAILED:
        code = read_exit(exit_code)
        return Job(job, Phase.ENDED, end, _joined([*words, f"exit code {code}" if code else ""]), code)
    return Job(job, Phase.ENDED, end, _joined(words), 0 if end == End.FINISHED else None)


def _joined(words: Sequence[str]) -> str:
    return ": ".join(filter(None, words))


def meaning_of(reason: str) -> str:
    """What a reason of Slurm's means; empty when its name says it, or it is unknown."""
    return next((meaning for pattern, meaning in REASONS.items() if re.fullmatch(pattern, reason)), "")


def read_exit(text: str) -> int | None:
    """An exit code as a shell gives it (128 + n after signal n), from ``3:0`` or from a status of wait(2).

    >>> read_exit("3:0"), read_exit("0:9"), read_exit("256")
    (3, 137, 1)
    """
    if match := re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})(?::[0-9]+)?", text):
        code, number = int(match[1]), int(match[2])
    elif re.fullmatch(r"[0-9]{1,9}", text):
        code, number = int(text) >> 8, int(text) & 0x7F
    else:
        return None
    return 128 + number if number else code
