"""Cobalt's ``qstat``."""

from __future__ import annotations

import getopt
import os
import time
from collections.abc import Callable
from typing import NoReturn

from ..state import HOLDING, Job, Machine, State
from .common import complain, connect, elapsed, leave, location, moment, tabular, vertical

DEFAULT = ["JobID", "User", "WallTime", "Nodes", "State", "Location"]
FULL = [
    *("JobID", "JobName", "User", "WallTime", "QueuedTime", "RunTime", "TimeRemaining", "Nodes", "State"),
    *("Location", "Mode", "Procs", "Preemptable", "Queue", "StartTime", "Index"),
]
LONG = [
    *("JobID", "JobName", "User", "WallTime", "QueuedTime", "RunTime", "TimeRemaining", "Nodes", "State"),
    *("Location", "Mode", "Procs", "Preemptable", "User_Hold", "Admin_Hold", "Queue", "StartTime", "Index"),
    *("SubmitTime", "Path", "OutputDir", "ErrorPath", "OutputPath", "Envs", "Command", "Args", "Kernel"),
    *("KernelOptions", "ION_Kernel", "ION_KernelOptions", "Project", "Dependencies", "short_state", "Notify"),
    *("Score", "Maxtasktime", "attrs", "dep_frac", "user_list", "Geometry", "Est_Start_Time"),
]
QUEUES = [
    *("Name", "Users", "Groups", "MinTime", "MaxTime", "MaxRunning", "MaxQueued", "MaxUserNodes", "MaxNodeHours"),
    *("TotalNodes", "State"),
]
SHORT = {"queued": "Q", "starting": "R", "running": "R", "killing": "K", "exiting": "E", "preempted": "P"}
USAGE = "Usage: qstat [options] <jobid|queue>\n"


def hold_of(state: State, job: Job) -> str:
    """Why a queued job does not start: a hold, other jobs, or the limit of its user's running jobs; otherwise ""."""
    if job.phase != "queued":
        return ""
    if job.held:
        return "dep_fail" if job.held == "fail" else f"{job.held}_hold"
    limit = state.queues[job.queue].get("max_user_run")
    others = [other for other in state.jobs.values() if other.phase in HOLDING and other.user == job.user]
    reached = limit is not None and sum(other.queue == job.queue for other in others) >= limit
    return "maxrun_hold" if reached else ""


def began(job: Job) -> float | None:
    return job.began if job.phase != "queued" else None


def run_time(job: Job) -> str:
    start = began(job)
    return "N/A" if start is None else elapsed(time.time() - start)


def remaining(state: State, job: Job) -> str:
    start = began(job)
    if start is None:
        return "N/A"
    # In the job's own minutes, which tests may make shorter.
    return elapsed(((job.walltime or 0) - (time.time() - start)) * 60 / state.config["minute"])


def score(job: Job) -> str:
    return f"{max(0.1, (time.time() - job.submitted) / 60):5.1f}  "


FIELDS: dict[str, Callable[[State, Job], object]] = {
    "jobid": lambda state, job: job.number,
    "jobname": lambda state, job: job.name or "N/A",
    "user": lambda state, job: job.user,
    "walltime": lambda state, job: f"{job.details['minutes'] // 60:02}:{job.details['minutes'] % 60:02}:00",
    "queuedtime": lambda state, job: elapsed((began(job) or time.time()) - job.submitted),
    "runtime": lambda state, job: run_time(job),
    "timeremaining": remaining,
    "nodes": lambda state, job: len(job.chunks),
    "state": lambda state, job: hold_of(state, job) or job.phase,
    "location": location,
    "mode": lambda state, job: job.details["mode"],
    "procs": lambda state, job: job.details["procs"],
    "preemptable": lambda state, job: False,
    "user_hold": lambda state, job: job.held == "user",
    "admin_hold": lambda state, job: job.held == "admin",
    "queue": lambda state, job: job.queue,
    "starttime": lambda state, job: "N/A" if began(job) is None else moment(job.began or 0),
    "index": lambda state, job: None,
    "submittime": lambda state, job: moment(job.submitted),
    "path": lambda state, job: job.details["path"],
    "outputdir": lambda state, job: job.cwd,
    "errorpath": lambda state, job: job.err,
    "outputpath": lambda state, job: job.out,
    "envs": lambda state, job: " ".join(f"{name}={value}" for name, value in job.environment.items()),
    "command": lambda state, job: job.script,
    "args": lambda state, job: " ".join(job.arguments),
    "kernel": lambda state, job: job.details["kernel"],
    "kerneloptions": lambda state, job: None,
    "ion_kernel": lambda state, job: "default",
    "ion_kerneloptions": lambda state, job: None,
    "project": lambda state, job: job.account or None,
    "dependencies": lambda state, job: job.details["dependencies"],
    "short_state": lambda state, job: "H" if hold_of(state, job) else SHORT[job.phase],
    "notify": lambda state, job: job.details["notify"] or None,
    "score": lambda state, job: score(job),
    "maxtasktime": lambda state, job: None,
    "attrs": lambda state, job: job.details["attrs"],
    "dep_frac": lambda state, job: None,
    "user_list": lambda state, job: job.user,
    "geometry": lambda state, job: "Any",
    "est_start_time": lambda state, job: "-",
}


def fail(text: str) -> NoReturn:
    complain(text)
    leave(1)


def header(state: State, options: dict[str, str]) -> list[str]:
    """The columns: from ``--header``, the environment, or the site."""
    custom, full = state.config["qstat_header"], state.config["qstat_header_full"]
    custom = os.environ.get("CQSTAT_HEADER", os.environ.get("QSTAT_HEADER", custom))
    full = os.environ.get("CQSTAT_HEADER_FULL", os.environ.get("QSTAT_HEADER_FULL", full))
    custom = options.get("--header", custom)
    if "-f" in options and "-l" in options:
        return list(LONG)
    if "-f" in options:
        return full.split(":") if full else list(FULL)
    return custom.split(":") if custom else list(DEFAULT)


def queue_rows(state: State, names: list[str]) -> list[list[str]]:
    rows = []
    for name, rules in state.queues.items():
        if names and name not in names:
            continue
        longest, shortest = (
            None if rules.get(key) is None else f"{rules[key] // 60:02}:{rules[key] % 60:02}:00"
            for key in ("max_time", "min_time")
        )
        running = rules.get("state", "running" if rules.get("started", True) else "stopped")
        users = ":".join(rules["users"]) if rules.get("users") else None
        values = [name, users, None, shortest, longest, None, rules.get("max_user"), None, None, None, running]
        rows.append([str(value) for value in values])
    return rows


def wanted(state: State, operands: list[str], user: str | None) -> list[Job]:
    """The jobs that were asked for, by number or queue."""
    numbers, queues = set(), set()
    for operand in operands:
        if operand in state.queues:
            queues.add(operand)
        elif operand.lstrip("-").isdigit():
            numbers.add(int(operand))
        else:
            fail(f"{operand} is not a valid jobid or queue name")
    return [
        job
        for job in state.jobs.values()
        if (not operands or job.number in numbers or job.queue in queues) and user in (None, job.user)
    ]


def sort_key(columns: list[str], chosen: list[str]) -> Callable[[list[str]], list[tuple[int, float, str]]]:
    """Sort by the chosen columns, numerically if they are numbers."""
    lower = [column.lower() for column in columns]
    places = [lower.index(name.lower()) for name in chosen if name.lower() in lower] or [0]

    def key(row: list[str]) -> list[tuple[int, float, str]]:
        found = []
        for place in places:
            try:
                found.append((0, float(row[place]), ""))
            except ValueError:
                found.append((1, 0.0, row[place]))
        return found

    return key


def main(words: list[str]) -> None:
    machine = Machine.here()
    long_names = ["debug", "full", "long", "reverse", "header=", "sort=", "user=", "help", "version"]
    try:
        found, operands = getopt.gnu_getopt(words, "dflQu:h", long_names)
    except getopt.GetoptError as error:
        complain(f"{USAGE}\nqstat: error: no such option: -{'-' if len(error.opt) > 1 else ''}{error.opt}")
        leave(2)
    short = {"--full": "-f", "--long": "-l", "--user": "-u", "--help": "-h"}
    options = {short.get(name, name): value for name, value in found}
    if "-h" in options:
        print(USAGE)
        leave(0)
    state = machine.read()
    connect(state, "queue-manager")
    if "-Q" in options:
        columns, rows = list(QUEUES), queue_rows(state, operands)
        if operands and not rows:
            leave(1)
    else:
        columns = header(state, options)
        jobs = wanted(state, operands, options.get("-u"))
        if operands and not jobs:
            leave(1)
        width = max((len(str(job.number)) for job in jobs), default=0)
        rows = []
        for job in jobs:
            cells = [FIELDS[name.lower()](state, job) if name.lower() in FIELDS else "-" for name in columns]
            titles = [name.lower() for name in columns]
            rows.append(
                [
                    f"{cell:>{width}}" if title == "jobid" else str(cell)
                    for title, cell in zip(titles, cells, strict=True)
                ]
            )
    rows.sort(key=sort_key(columns, options["--sort"].split(":") if "--sort" in options else ["score"]))
    if "--reverse" in options:
        rows.reverse()
    titles = ["S" if name.lower() == "short_state" else name for name in columns]
    print((vertical if "-l" in options else tabular)([titles, *rows]), end="")
