"""A job's attributes, as ``qstat -f`` lists them: names, order and values of OpenPBS 23.06."""

from __future__ import annotations

import shlex
import time

from ..schedule import allowed, everything, free, place
from ..state import HOLDING, Job, State
from .common import clock, identifier, where

SUBSTATES = {"queued": 10, "starting": 41, "running": 42, "killing": 42, "exiting": 51}

Attributes = list[tuple[str, str, str]]
"""Name, resource ("" for none) and value, in order."""


def letter(job: Job) -> str:
    """The job's state letter."""
    if job.phase == "queued":
        return "H" if job.held else "Q"
    if job.suspended and job.phase == "running":
        return "S"
    return {"exiting": "E", "ended": "F"}.get(job.phase, "R")


def substate(job: Job) -> int:
    if job.phase == "ended":
        return {"deleted": 91, "": 92 if job.status == 0 else 93}.get(job.why, 93)
    if letter(job) in "HS":
        return 20 if job.held else 43
    return SUBSTATES[job.phase]


def comment(state: State, job: Job) -> str:
    """The scheduler's comment on a waiting job; otherwise the comment of its start or end."""
    if job.phase != "queued" or job.held:
        return job.comment
    queue = state.queues[job.queue]
    if not queue.get("started", True):
        return "Not Running: Queue not started."
    if place(state, job, everything(state)) is None:
        return never(state, job)
    if not allowed(state, job, time.time()):
        running = any(other.queue == job.queue and other.phase in HOLDING for other in state.jobs.values())
        return f"Not Running: User has reached queue {job.queue} running job limit." if running else job.comment
    return f"Not Running: {shortage(state, job, ever=False)}"


def never(state: State, job: Job) -> str:
    """The comment on a job that the machine is too small for. The real server says so only if it counts nodes."""
    if job.spread and len(job.chunks) > len(state.nodes):
        return "Can Never Run: Not enough total nodes available"
    for index, name in enumerate(("cores", "gpus")):
        if max(chunk[index] for chunk in job.chunks) > max(node[name] for node in state.nodes.values()):
            return f"Not Running: Insufficient amount of resource: {('ncpus', 'ngpus')[index]} "
    return f"Can Never Run: {shortage(state, job, ever=True)}"


def shortage(state: State, job: Job, *, ever: bool) -> str:
    left = free(state)
    for index, name in enumerate(("ncpus", "ngpus")):
        wanted = sum(chunk[index] for chunk in job.chunks)
        total = sum(node["cores" if name == "ncpus" else "gpus"] for node in state.nodes.values())
        available = sum(cores if name == "ncpus" else len(gpus) for cores, gpus in left.values())
        if wanted > (total if ever else available):
            available = total if ever else available
            return f"Insufficient amount of resource: {name} (R: {wanted} A: {available} T: {total})"
    return "Not enough total nodes available" if ever else "No available resources on nodes"


def hosts(job: Job) -> str:
    """``node1/0*2+node2/0*2``."""
    return "+".join(f"{place[0]}/0" + (f"*{place[1]}" if place[1] != 1 else "") for place in job.places)


def joined(variables: dict[str, str]) -> str:
    """``A=1,B=2`` with the commas of values escaped."""
    return ",".join(f"{name}={value}".replace("\\", "\\\\").replace(",", "\\,") for name, value in variables.items())


def resources(job: Job) -> Attributes:
    totals = {"ncpus": sum(chunk[0] for chunk in job.chunks), "ngpus": sum(chunk[1] for chunk in job.chunks)}
    listed = {
        name: value for name, value in job.details["listed"].items() if name not in ("select", "place", "walltime")
    }
    listed["ncpus"] = str(totals["ncpus"])
    if totals["ngpus"]:
        listed["ngpus"] = str(totals["ngpus"])
    listed.update(nodect=str(len(job.chunks)), place=job.details["place"], select=job.details["select"])
    if job.walltime is not None:
        listed["walltime"] = clock(job.walltime)
    return [("Resource_List", name, value) for name, value in sorted(listed.items())]


def used(job: Job) -> Attributes:
    if job.began is None or not job.places:
        return []
    ran = (job.ended or time.time()) - job.began
    values = {
        "cpupercent": "0",
        "cput": "00:00:00",
        "mem": "0kb",
        "ncpus": str(sum(place[1] for place in job.places)),
        "vmem": "0kb",
        "walltime": clock(ran),
    }
    return [("resources_used", name, value) for name, value in values.items()]


def attributes(state: State, job: Job) -> Attributes:
    """All attributes of a job."""
    host, details, words = state.config["server"], job.details, comment(state, job)
    changed = job.ended or job.began or job.submitted
    ran: Attributes = [("exec_host", "", hosts(job)), ("exec_vnode", "", where(job))] if job.places else []
    session: Attributes = [("session_id", "", str(job.session))] if job.session else []
    return [
        ("Job_Name", "", job.name),
        ("Job_Owner", "", f"{job.user}@{host}"),
        *used(job),
        ("job_state", "", letter(job)),
        ("queue", "", job.queue),
        ("server", "", host),
        *([("Account_Name", "", job.account)] if job.account else []),
        ("Checkpoint", "", "u"),
        ("ctime", "", time.ctime(job.submitted)),
        ("Error_Path", "", f"{host}:{job.err}"),
        *ran,
        ("Hold_Types", "", {"": "n", "user": "u"}.get(job.held, "s")),
        ("Join_Path", "", details["join"]),
        ("Keep_Files", "", details["keep"]),
        ("Mail_Points", "", details["mail"]),
        ("mtime", "", time.ctime(changed)),
        ("Output_Path", "", f"{host}:{job.out}"),
        ("Priority", "", details["priority"]),
        ("qtime", "", time.ctime(job.submitted)),
        ("Rerunable", "", str(details["rerunnable"])),
        *resources(job),
        *([("stime", "", time.ctime(job.began))] if job.began else []),
        *session,
        *([("Shell_Path_List", "", details["shell"])] if details["shell"] else []),
        *([("jobdir", "", details["origin"]["PBS_O_HOME"])] if job.began else []),
        ("substate", "", str(substate(job))),
        ("Variable_List", "", joined({**details["origin"], **job.environment})),
        *([("comment", "", words)] if words else []),
        ("etime", "", time.ctime(job.submitted)),
        *([("run_count", "", str(job.runs))] if job.runs else []),
        *([("Exit_status", "", str(job.status))] if job.status is not None and job.phase != "exiting" else []),
        ("Submit_arguments", "", shlex.join(details["arguments"])),
        *([("history_timestamp", "", str(int(job.ended or 0)))] if job.phase == "ended" else []),
        *estimate(state, job),
        ("project", "", details["project"]),
        ("Submit_Host", "", host),
    ]


def estimate(state: State, job: Job) -> Attributes:
    """When the server expects a queued job to begin, where it estimates that: when those have ended that run."""
    if not state.config["estimates"] or job.phase != "queued" or job.held:
        return []
    ends = [other.began + (other.walltime or 0.0) for other in state.jobs.values() if other.places and other.began]
    return [("estimated", "start_time", time.ctime(max(ends, default=time.time())))]


def listing(state: State, job: Job) -> tuple[str, Attributes]:
    return identifier(state, job), attributes(state, job)
