"""Parses the resources that a PBS job asks for (``-l``, select, place) and checks limits of queue and server."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ..state import State
from .common import BAD_VALUE, HOOK, OVER_LIMITS, PER_USER, QUEUE_DISABLED, UNKNOWN_QUEUE, UNKNOWN_RESOURCE, Refused

JOB_WIDE = {
    "walltime",
    "select",
    "place",
    "cput",
    "mem",
    "vmem",
    "pmem",
    "ncpus",
    "ngpus",
    "nodect",
    "mpiprocs",
    "nice",
    "min_walltime",
    "max_walltime",
    "software",
    "file",
}
PER_CHUNK = {"ncpus", "ngpus", "mpiprocs", "ompthreads", "mem", "vmem", "host", "vnode", "arch"}
TIMES = {"walltime", "cput", "min_walltime", "max_walltime"}
SITE = {"filesystems", "system", "place"}
"""Resources that sites commonly define (as at ALCF): accepted, without effect."""


@dataclass
class Request:
    """Resources of a job."""

    chunks: list[list[int]] = field(default_factory=lambda: [[1, 0]])
    select: str = "1:ncpus=1"
    place: str = "pack"
    walltime: float | None = None
    listed: dict[str, str] = field(default_factory=dict)
    processes: int = 1

    @property
    def spread(self) -> bool:
        return "scatter" in self.place.split(":")

    @property
    def exclusive(self) -> bool:
        return bool({"excl", "exclhost"} & set(self.place.split(":")))


def seconds(text: str, name: str) -> float:
    """A PBS duration, ``[[HH:]MM:]SS[.ms]``."""
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d+)?", text):
        raise Refused(BAD_VALUE, f"Illegal attribute or resource value Resource_List.{name}")
    total = 0.0
    for part in text.split(":"):
        total = total * 60 + float(part)
    return total


def parse_list(text: str) -> dict[str, str]:
    """One ``-l`` argument: ``walltime=1:00:00,select=2:ncpus=4``."""
    found = {}
    for item in text.split(","):
        name, equals, value = item.strip().partition("=")
        if not name or not equals or not value:
            raise ValueError(text)
        found[name] = value
    return found


def parse_select(text: str) -> tuple[list[list[int]], int]:
    """Chunks (cores, GPUs) of a select statement, and the MPI processes of a chunk of the first kind."""
    chunks, processes = [], 1
    for kind, part in enumerate(text.split("+")):
        words = part.split(":")
        count = int(words.pop(0)) if words[0].isdigit() else 1
        want = {"ncpus": 1, "ngpus": 0}
        for word in words:
            name, equals, value = word.partition("=")
            if not equals or not value:
                raise Refused(BAD_VALUE, "Illegal attribute or resource value Resource_List.select")
            if name not in PER_CHUNK | SITE:
                raise Refused(UNKNOWN_RESOURCE, f"Unknown resource: {name}")
            if name in ("ncpus", "ngpus", "mpiprocs"):
                if not value.isdigit():
                    raise Refused(BAD_VALUE, f"Illegal attribute or resource value Resource_List.{name}")
                want[name] = int(value)
        if kind == 0:
            processes = want.get("mpiprocs", 1)
        chunks += [[want["ncpus"], want["ngpus"]] for _ in range(count)]
    return chunks, processes


def understand(listed: dict[str, str]) -> Request:
    """Parse all ``-l`` entries into a request. Raises Refused."""
    request = Request(listed=dict(listed))
    for name, value in listed.items():
        if name not in JOB_WIDE | SITE:
            raise Refused(UNKNOWN_RESOURCE, f"Unknown resource Resource_List.{name}")
        if name in TIMES:
            request.walltime = seconds(value, name) if name == "walltime" else request.walltime
        if name in ("ncpus", "ngpus") and not value.isdigit():
            raise Refused(BAD_VALUE, f"Illegal attribute or resource value Resource_List.{name}")
    if "select" in listed:
        request.select, request.place = listed["select"], listed.get("place", "free")
        request.chunks, request.processes = parse_select(listed["select"])
    else:
        cores, gpus = int(listed.get("ncpus", "1")), int(listed.get("ngpus", "0"))
        request.chunks = [[cores, gpus]]
        request.select = f"1:ncpus={cores}" + (f":ngpus={gpus}" if gpus else "")
        request.place = listed.get("place", "pack")
    return request


def admit(state: State, user: str, queue: str, account: str, request: Request) -> None:
    """Raise Refused if the server would refuse the job."""
    if queue not in state.queues:
        raise Refused(UNKNOWN_QUEUE)
    rules, allowed = state.queues[queue], state.config["accounts"]
    if not rules.get("enabled", True):
        raise Refused(QUEUE_DISABLED)
    if allowed is not None and account not in allowed:
        raise Refused(HOOK, state.config["account_words"].format(account=account))
    longest, shortest = rules.get("max_walltime"), rules.get("min_walltime")
    wanted, nodes = request.walltime, rules.get("max_nodes")
    too_long = longest is not None and wanted is not None and wanted > longest
    too_short = shortest is not None and wanted is not None and wanted < shortest
    if too_long or too_short or (nodes is not None and len(request.chunks) > nodes):
        raise Refused(OVER_LIMITS)
    mine = [job for job in state.jobs.values() if job.user == user and job.phase != "ended"]
    here = [job for job in mine if job.queue == queue]
    if rules.get("max_user") is not None and len(here) >= rules["max_user"]:
        raise Refused(PER_USER, f"would exceed queue {queue}'s per-user limit")
    waiting = [job for job in here if job.phase == "queued"]
    if rules.get("max_user_queued") is not None and len(waiting) >= rules["max_user_queued"]:
        raise Refused(PER_USER, f"would exceed queue {queue}'s per-user limit of jobs in 'Q' state")
