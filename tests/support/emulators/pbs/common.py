"""Shared by PBS's commands: settings, error codes and messages, job identifiers and the connection to the server."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

from ..state import Job, State

DEFAULTS: dict[str, Any] = {
    "server": "pbshead",
    "version": "23.06.06",
    "history": False,  # job_history_enable
    "json_first_only": False,  # the bug of OpenPBS's master: -F json prints the first of several jobs only
    "starting": 0.2,
    "estimates": False,  # whether it estimates when queued jobs begin (pbs_est)
    "late": 7.0,  # the walltime is looked at every now and then only
    "kill_delay": 10.0,
    "exiting": 4.0,
    "node_fail_requeue": 310.0,
    "sister_timeout": 60.0,
    "requeue_wait": 0.0,  # a requeued job starts so long after at the earliest
    "export_all": False,  # whether -V delivers what the submitter has exported
    "gpu_variables": False,  # whether CUDA_VISIBLE_DEVICES is set, as PBS's cgroups hook does
    "job_path": "/usr/local/bin:/usr/bin:/bin",
    "mom_path": "/bin:/usr/bin",
    "account_words": "Request rejected.  Reason:  No active allocation found for project {account}",
}

UNKNOWN_JOB, SYSTEM, BAD_VALUE, BAD_STATE, UNKNOWN_QUEUE = 15001, 15010, 15014, 15016, 15018
QUEUE_DISABLED, UNKNOWN_NODE, UNKNOWN_RESOURCE, OVER_LIMITS, HOOK = 15021, 15062, 15035, 15036, 15136
NOT_RERUNNABLE, FINISHED, NO_HISTORY, PER_USER, BAD_SELECT = 15038, 15139, 15140, 15142, 15108
NO_PERMISSION, NO_MOM = 15007, 15070

TEXTS = {
    UNKNOWN_JOB: "Unknown Job Id",
    BAD_STATE: "Request invalid for state of job",
    UNKNOWN_QUEUE: "Unknown queue",
    QUEUE_DISABLED: "Queue is not enabled",
    OVER_LIMITS: "Job violates queue and/or server resource limits",
    FINISHED: "Job has finished",
    NO_HISTORY: "PBS is not configured to maintain job history",
    NOT_RERUNNABLE: "job is not rerunnable",
    NO_PERMISSION: "Unauthorized Request ",
    UNKNOWN_NODE: "Unknown node ",
    NO_MOM: "Server could not connect to MOM",
}


class Refused(Exception):
    """The server's error ``code``; a command exits with its last eight bits."""

    def __init__(self, code: int, text: str = ""):
        super().__init__(text or TEXTS[code])
        self.code = code


def complain(text: str) -> None:
    print(text, file=sys.stderr)


def leave(code: int) -> NoReturn:
    """Exit as a C program does: with the last eight bits."""
    sys.stdout.flush()
    sys.exit(code & 255)


def connect(command: str, state: State, code: int) -> None:
    """Exit with ``code`` unless the server answers."""
    if state.config["server_down"]:
        complain("Connection refused")
        complain(f"{command}: cannot connect to server {state.config['server']} (errno={SYSTEM})")
        leave(code)


def identifier(state: State, job: Job) -> str:
    return f"{job.number}.{state.config['server']}"


def find(state: State, text: str, *, history: bool = False) -> Job:
    """The job that an identifier names (the server's name may be left out); raises Refused."""
    number, _, server = text.partition(".")
    job = state.jobs.get(int(number)) if number.isdigit() and server in ("", state.config["server"]) else None
    if history and not state.config["history"]:
        raise Refused(NO_HISTORY)
    if job is None or (job.phase == "ended" and not state.config["history"]):
        raise Refused(UNKNOWN_JOB)
    if job.phase == "ended" and not history:
        raise Refused(FINISHED)
    return job


def full_identifier(state: State, text: str) -> str:
    return text if "." in text else f"{text}.{state.config['server']}"


def is_identifier(text: str) -> bool:
    return text[:1].isdigit()


def clock(seconds: float) -> str:
    """``HH:MM:SS``."""
    whole = int(seconds)
    return f"{whole // 3600:02}:{whole % 3600 // 60:02}:{whole % 60:02}"


def where(job: Job) -> str:
    """``(node1:ncpus=2)+(node2:ncpus=2:ngpus=1)``."""
    return "+".join(
        f"({node}:ncpus={cores}" + (f":ngpus={len(gpus)}" if gpus else "") + ")" for node, cores, gpus in job.places
    )
