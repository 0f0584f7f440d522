"""PBS's commands for existing jobs and nodes: ``qdel``, ``qrerun``, ``qhold``, ``qrls``, ``qsig`` and ``pbsnodes``."""

from __future__ import annotations

import getopt
import os
import pwd
import time
from collections.abc import Callable

from ..state import HOLDING, Job, Machine, State
from .common import (
    BAD_STATE,
    NO_MOM,
    NO_PERMISSION,
    NOT_RERUNNABLE,
    SYSTEM,
    TEXTS,
    UNKNOWN_JOB,
    UNKNOWN_NODE,
    Refused,
    complain,
    connect,
    find,
    full_identifier,
    leave,
)


def me() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def each(command: str, identifiers: list[str], act: Callable[[State, Job], None]) -> int:
    """Act on every job; return the code of the last refusal."""
    code = 0
    with Machine.here().change() as state:
        for text in identifiers:
            try:
                act(state, find(state, text))
            except Refused as refusal:
                # The real qdel repeats an unknown number as it was given.
                bare = command == "qdel" and refusal.code == UNKNOWN_JOB
                complain(f"{command}: {refusal} {text if bare else full_identifier(state, text)}")
                code = refusal.code
    return code


def options(command: str, words: list[str], letters: str, usage: str) -> tuple[dict[str, str], list[str]]:
    try:
        found, rest = getopt.getopt(words, letters)
    except getopt.GetoptError as error:
        complain(f"{command}: invalid option -- '{error.opt}'")
        complain(usage)
        leave(2)
    if not rest:
        complain(usage)
        leave(2)
    return {option[1:]: value for option, value in found}, rest


def qdel(words: list[str]) -> None:
    usage = "usage:\n\tqdel [-W force|suppress_email=X] [-x] job_identifier...\n\tqdel --version"
    given, identifiers = options("qdel", words, "W:x", usage)
    value = given.get("W", "")
    if value and value != "force" and not value.startswith("suppress_email=") and not value.isdigit():
        complain("qdel: illegal -W value")
        complain(usage)
        leave(2)
    state = Machine.here().read()
    if state.config["server_down"]:
        complain("Connection refused")
        complain(f"Couldn't connect to cluster: {state.config['server']}")
        leave(SYSTEM)

    def delete(state: State, job: Job) -> None:
        if job.phase == "queued":
            job.phase, job.ended, job.why = "ended", time.time(), "deleted"
            state.statuses[job.number] = None
            if job.runs:
                job.comment += f" and terminated by {me()}@{state.config['server']}"
            if not state.config["history"]:
                del state.jobs[job.number]
        elif state.nodes[job.nodes[0]]["state"] == "down" and value != "force":
            raise Refused(NO_MOM)
        elif state.nodes[job.nodes[0]]["state"] == "down":  # nobody has to be asked, so it is gone at once
            job.phase, job.ended, job.why, job.status = "ended", time.time(), "deleted", 271
            state.statuses[job.number] = job.status
            if not state.config["history"]:
                del state.jobs[job.number]
        elif job.order is not None and job.order["why"] == "rerun":
            pass  # it is being ended, so the server has nothing to do, and then it is queued again
        else:
            job.order = {"why": "deleted", "by": me(), "force": value == "force"}

    leave(each("qdel", identifiers, delete))


def qrerun(words: list[str]) -> None:
    _, identifiers = options(
        "qrerun", words, "W:", "usage: qrerun [-W force] job_identifier...\n       qrerun --version"
    )
    connect("qrerun", Machine.here().read(), SYSTEM)

    def rerun(state: State, job: Job) -> None:
        if os.geteuid() != 0:
            raise Refused(NO_PERMISSION)
        if job.phase not in HOLDING:
            raise Refused(BAD_STATE)
        if not job.details["rerunnable"]:
            raise Refused(NOT_RERUNNABLE)
        job.order = {"why": "rerun", "by": me(), "force": True}

    leave(each("qrerun", identifiers, rerun))


def qhold(words: list[str]) -> None:
    _, identifiers = options(
        "qhold", words, "h:", "usage: qhold [-h hold_list] job_identifier...\n       qhold --version"
    )
    connect("qhold", Machine.here().read(), SYSTEM)

    def hold(state: State, job: Job) -> None:
        if job.phase != "queued":
            raise Refused(BAD_STATE)
        job.held = "user"
        job.comment = f"Job held by {me()} on {time.ctime()}"

    leave(each("qhold", identifiers, hold))


def qrls(words: list[str]) -> None:
    _, identifiers = options("qrls", words, "h:", "usage: qrls [-h hold_list] job_identifier...\n       qrls --version")
    connect("qrls", Machine.here().read(), SYSTEM)

    def release(state: State, job: Job) -> None:
        job.held, job.comment = "", ""

    leave(each("qrls", identifiers, release))


def qsig(words: list[str]) -> None:
    """Only ``-s suspend`` and ``-s resume``."""
    given, identifiers = options(
        "qsig", words, "s:", "usage: qsig [-s signal] job_identifier...\n       qsig --version"
    )
    connect("qsig", Machine.here().read(), SYSTEM)

    def signal(state: State, job: Job) -> None:
        if job.phase != "running" or given.get("s") not in ("suspend", "resume"):
            raise Refused(BAD_STATE)
        job.suspended = given["s"] == "suspend"

    leave(each("qsig", identifiers, signal))


def pbsnodes(words: list[str]) -> None:
    """``-o`` takes nodes out of service, ``-r`` puts them back, ``-a`` lists all."""
    try:
        found, names = getopt.getopt(words, "aorlvC:")
    except getopt.GetoptError as error:
        complain(f"pbsnodes: invalid option -- '{error.opt}'")
        leave(2)
    letters = {option[1:] for option, _ in found}
    machine, code = Machine.here(), 0
    connect("pbsnodes", machine.read(), SYSTEM)
    with machine.change() as state:
        for name in names or state.nodes:
            node = state.nodes.get(name)
            if node is None:
                complain(f"pbsnodes: {TEXTS[UNKNOWN_NODE]}{name}")
                code = UNKNOWN_NODE
            elif "o" in letters and node["state"] == "free":
                node["state"] = "offline"
            elif "r" in letters and node["state"] == "offline":
                node["state"] = "free"
            elif not letters & {"o", "r"}:
                show(state, name)
    leave(code)


def show(state: State, name: str) -> None:
    node = state.nodes[name]
    jobs = [job for job in state.jobs.values() if job.phase in HOLDING for place in job.places if place[0] == name]
    cores = sum(place[1] for job in jobs for place in job.places if place[0] == name) if jobs else 0
    busy = "job-busy" if node["state"] == "free" and cores >= node["cores"] else node["state"]
    print(name)
    print(f"     Mom = {name}")
    print("     ntype = PBS")
    print(f"     state = {busy}")
    print(f"     pcpus = {node['cores']}")
    if jobs:
        print("     jobs = " + ", ".join(f"{job.number}.{state.config['server']}/0" for job in jobs))
    print(f"     resources_available.host = {name}")
    print(f"     resources_available.ncpus = {node['cores']}")
    if node["gpus"]:
        print(f"     resources_available.ngpus = {node['gpus']}")
    print(f"     resources_available.vnode = {name}")
    print(f"     resources_assigned.ncpus = {cores}")
    print("     resv_enable = True")
    print("     sharing = default_shared")
    print()
