"""Which queued jobs start, and on which nodes: first come, first served; a job that fits starts past one that waits."""

from __future__ import annotations

from typing import Any

from .state import HOLDING, Job, State

Free = dict[str, tuple[int, list[int]]]
"""Cores and GPU numbers by node."""


def allowed(state: State, job: Job, now: float) -> bool:
    """Whether the job might start now, as far as its queue, its holds and limits on running jobs are concerned."""
    queue = state.queues[job.queue]
    if job.phase != "queued" or job.held or not queue.get("started", True) or state.config["server_down"]:
        return False
    if now < max(job.eligible, job.submitted + state.config["queue_wait"]):
        return False
    limit = queue.get("max_user_run")
    running = [other for other in state.jobs.values() if other.phase in HOLDING and other.queue == job.queue]
    return limit is None or sum(other.user == job.user for other in running) < limit


def everything(state: State) -> Free:
    """All that the machine has, in service or not."""
    return {name: (node["cores"], list(range(node["gpus"]))) for name, node in state.nodes.items()}


def free(state: State) -> Free:
    """What is free on every node in service; nothing on a node that a job has for itself."""
    left = {name: own for name, own in everything(state).items() if state.nodes[name]["state"] == "free"}
    for job in state.jobs.values():
        if job.phase not in HOLDING or job.suspended:
            continue
        for name, cores, gpus in job.places:
            if name in left:
                have, numbers = left[name]
                remaining = [number for number in numbers if number not in gpus]
                left[name] = (0, []) if job.exclusive else (have - cores, remaining)
    return left


def place(state: State, job: Job, left: Free) -> list[list[Any]] | None:
    """A node, cores and GPU numbers for each of the job's chunks; None when they do not fit."""
    left = dict(left)
    places: list[list[Any]] = []
    for cores, gpus in job.chunks:
        for name, (have, numbers) in left.items():
            mine = any(name == other[0] for other in places)
            whole = mine or have == state.nodes[name]["cores"]
            if have >= cores and len(numbers) >= gpus and not (mine and job.spread) and (whole or not job.exclusive):
                left[name] = (have - cores, numbers[gpus:])
                places.append([name, cores, numbers[:gpus]])
                break
        else:
            return None
    return places


def met(state: State, condition: str, number: int) -> bool | None:
    """Whether a condition on another job is met; None as long as that is open."""
    other = state.jobs.get(number)
    if condition == "after" and other is not None and other.runs:
        return True
    if number not in state.statuses:
        return None if other is not None else False
    succeeded = state.statuses[number] == 0
    return {"afterok": succeeded, "afternotok": not succeeded}.get(condition, True)


def release(state: State) -> None:
    """Let go of jobs that have waited for others."""
    for job in state.jobs.values():
        if job.held == "dep":
            verdicts = [met(state, *condition) for condition in job.depend]
            if all(verdicts):
                job.held = ""
            elif False in verdicts:
                job.held = "fail"


def start_jobs(state: State, now: float) -> list[Job]:
    """Give nodes to all queued jobs that fit; returns those."""
    chosen = []
    release(state)
    for job in sorted(state.jobs.values(), key=lambda job: job.number):
        places = place(state, job, free(state)) if allowed(state, job, now) else None
        if places is not None:
            job.places, job.phase, job.began, job.runs = places, "starting", now, job.runs + 1
            job.status, job.why, job.order = None, "", None
            chosen.append(job)
    return chosen
