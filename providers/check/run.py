"""Checks a site: sends a small block of each pool through the real queue and examines it from both ends."""

from __future__ import annotations

import platform
import re
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ...errors import SiteError
from ...filesystems import filesystem_of
from ...pipeline.campaign.events import PoolFailed, Reply
from ...pipeline.trial.protocol import Suggest, Suggested
from ..blocks.resources import TrialResources
from ..htex.pool import ParslPool, PoolFiles
from ..schedulers.commands import run
from ..schedulers.jobs import Job, Phase, SchedulerUnreachable
from ..schedulers.network import own_addresses
from ..site import BlockCounts, PoolSpec, Site
from .diskspace import disk_space_finding
from .facts import Facts, Finding, State
from .findings import findings
from .probe import versions
from .watch import Notify, ProbeLimits, ProbeWatch

COMMANDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "local": ((), ()),
    "slurm": (("sbatch", "squeue", "scancel"), ("sbatch", "--version")),
    "pbs": (("qsub", "qstat", "qdel"), ("qstat", "--version")),
    "cobalt": (("qsub", "qstat", "qdel"), ("qsub", "--version")),
}
"""Scheduler -> the commands that Pilotune needs, and the command that prints its version."""

CANCEL = {"slurm": "scancel", "pbs": "qdel", "cobalt": "qdel", "local": "kill"}
"""Scheduler -> the command that ends a job."""

OWN_SIZE = {
    "slurm": r"#SBATCH\s(.*\s)?(--nodes|-N)\b",
    "pbs": r"#PBS\s(.*\s)?-l\s*(\S+,)?(select|nodes)=",
    "cobalt": r"#COBALT\s(.*\s)?(--nodecount|-n)\b",
}
"""Scheduler -> pattern of lines in ``options`` that set the number of nodes, so that a block cannot be made smaller."""

NODES = 2
"""Nodes of the block of a pool with several: enough to see whether the launcher reaches more than the first."""

VERSION_LIMIT = 20.0
"""Seconds for the scheduler to print its version."""

GONE_LIMIT = 30.0
"""Seconds, in addition to the time between two queries, for the scheduler to end the block."""


def check_site(
    site: Site, pools: Sequence[PoolSpec], files: PoolFiles, label: str, limits: ProbeLimits, notify: Notify
) -> list[Finding]:
    """Send a block to each of ``pools``, and check everything that a campaign needs there.

    No block is left, even if an exception (Ctrl-C) ends this; jobs that the scheduler does not end are reported.

    Args:
        site: The site.
        pools: The pools of it to check.
        files: Where everything is kept; on the file system that campaigns are to use.
        label: The first part of job names.
        limits: How long blocks may run and wait.
        notify: Called with a sentence for each step that takes time.

    Returns:
        The lines of the table: those of the site, then those of each pool.
    """
    found = [scheduler(site), disk_space_finding(files.blocks)]
    if found[0].state == State.FAILED:
        return found
    small = {pool.name: shrink(pool, site.scheduler, limits.walltime) for pool in pools}
    try:
        sent = replace(site, pools=tuple(small.values()))
        pool = ParslPool(sent, files, TrialResources(), label, sent.pools)
    except SiteError as error:
        return [*found, Finding("network", State.FAILED, str(error))]
    marker = files.blocks / f"driver-{secrets.token_hex(8)}"
    watches = [ProbeWatch(pool, _facts(site, each, small[each.name], pool, marker), limits, notify) for each in pools]
    try:
        marker.write_text(marker.name)
        pool.start()
        _watch(pool, watches)
    except BaseException:
        notify(
            f"ending {', '.join(_what(site, watch.facts.job) for watch in watches if watch.facts.job) or 'the check'}"
        )
        raise
    finally:
        pool.close()
        for job in pool.left:
            notify(f"the scheduler did not end job {job}; end it with {CANCEL[site.scheduler]} {job}")
    ends = _ended(site, pool, watches, notify)
    for watch in watches:
        found += [*findings(watch.facts), *ends.get(watch.name, [])]
    return found


def scheduler(site: Site) -> Finding:
    """Whether the scheduler's commands are on PATH, and its version."""
    needed, version = COMMANDS[site.scheduler]
    if not needed:
        return Finding("scheduler", State.OK, "none: blocks are processes of this host")
    missing = [name for name in needed if shutil.which(name) is None]
    if missing:
        why = "jobs cannot be submitted from this host, or a module must be loaded"
        return Finding("scheduler", State.FAILED, f"{', '.join(missing)}: not on PATH; {why}")
    answer = run(version, timeout=VERSION_LIMIT)
    here = f"{', '.join(needed)} are there"
    if answer.code:
        return Finding("scheduler", State.WARNING, f"{here}, and `{' '.join(version)}` says: {answer.words}")
    said = next((line.strip() for line in answer.out.splitlines() if re.search(r"\d\.\d", line)), "of unknown version")
    return Finding("scheduler", State.OK, f"{said}; {here}")


def shrink(pool: PoolSpec, scheduler: str, walltime: float) -> PoolSpec:
    """The pool with a single small block: one node, or two when the site file's blocks have several."""
    fixed = any(re.match(OWN_SIZE.get(scheduler, "(?!)"), line) for line in pool.options)
    return replace(
        pool,
        blocks=BlockCounts(1, 0, 1),
        walltime=min(pool.walltime or walltime, walltime),
        nodes_per_block=pool.nodes_per_block if fixed else min(NODES, pool.nodes_per_block),
        shapes=(),
    )


def _facts(site: Site, whole: PoolSpec, small: PoolSpec, pool: ParslPool, marker: Path) -> Facts:
    return Facts(
        pool=small,
        whole=whole,
        scheduler=site.scheduler,
        set_up_lines=len(site.modules) + len(site.setup.strip().splitlines()),
        own_addresses=own_addresses(),
        addresses=pool.addresses.listed,
        network=bool(site.network.interface or site.network.address),
        here={"python": platform.python_version(), "packages": versions()},
        mount=filesystem_of(marker.parent),
        folder=str(marker.parent),
        marker=marker.name,
    )


def _watch(pool: ParslPool, watches: Sequence[ProbeWatch]) -> None:
    while not all(watch.over for watch in watches):
        for event in pool.wait(0.5):
            if isinstance(event, Suggest):  # a probe asks for the time
                pool.perform([Reply(Suggested(event.token, event.request, time.time()))])
            elif isinstance(event, PoolFailed):
                for watch in watches:
                    watch.failed(event.reason)
        for watch in watches:
            if not watch.over:
                watch.refresh(time.time())


# -- the end ----------------------------------------------------------------------------------------------------------


def _ended(site: Site, pool: ParslPool, watches: Sequence[ProbeWatch], notify: Notify) -> dict[str, list[Finding]]:
    """Whether the scheduler has ended all jobs: pool -> its line, for each pool that had a job."""
    jobs = {watch.facts.job: watch for watch in watches if watch.facts.job}
    left = _wait_until_gone(site, pool, [job for job in jobs if job not in pool.left], notify)
    left |= {job: Job(job, Phase.RUNNING, reason="the scheduler refused to end it") for job in pool.left}
    return {watch.name: [Finding("end", *_verdict(site, job, left), pool=watch.name)] for job, watch in jobs.items()}


def _verdict(site: Site, job: str, left: Mapping[str, Job | None]) -> tuple[State, str]:
    what = _what(site, job)
    if job not in left:
        return State.OK, f"{what} is gone"
    state = left[job]
    if state is None:
        return State.WARNING, f"{what} was cancelled; the scheduler does not answer whether it is gone"
    if state.phase == Phase.ENDING:
        return State.OK, f"{what} is being ended by the scheduler"
    said = f" ({state.reason})" if state.reason else ""
    return State.FAILED, f"{what} is still {state.phase}{said}; end it with {CANCEL[site.scheduler]} {job}"


def _what(site: Site, job: str) -> str:
    return f"{'process' if site.scheduler == 'local' else 'job'} {job}"


def _wait_until_gone(site: Site, pool: ParslPool, jobs: Sequence[str], notify: Notify) -> dict[str, Job | None]:
    """Wait until jobs are gone, with no more queries than the site file's ``poll`` allows.

    Returns:
        The jobs that are still there: id -> state, None when the scheduler does not answer.
    """
    if not jobs:
        return {}
    period = 0.2 if site.scheduler == "local" else site.poll
    provider = next(iter(pool.monitor.pools.values())).blocks.provider
    until = time.time() + 2 * period + GONE_LIMIT
    at = pool.job_log.last_query + period
    if at > time.time() + 5:
        notify(f"asking the scheduler in {at - time.time():.0f} s whether all jobs are gone")
    left: dict[str, Job | None] = dict.fromkeys(jobs)
    while left:
        time.sleep(max(0.0, at - time.time()))
        at = time.time() + period
        try:
            known = provider.query(list(left))
            left = {job: known[job] for job in left if job in known and known[job].phase != Phase.ENDED}
        except SchedulerUnreachable:
            left = dict.fromkeys(left)
        if at > until or (left and all(state and state.phase == Phase.ENDING for state in left.values())):
            break
    return left
