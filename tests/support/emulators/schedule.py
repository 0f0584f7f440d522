"""Decides which queued jobs start and on which nodes: first come, first served, but a job that fits may pass others."""

from __future__ import annotations

from typing import Any

from .state import HOLDING, Job, State

Free = dict[str, tuple[int, list[int]]]
"""Cores and GPU numbers by node."""


def allowed(state: State, job: Job, now: float) -> bool:
    """Whether queue, holds and limits on running jobs let a job start now."""
    queue = state.queues[job.queue]
    if job.phase != "queued" or job.held or not queue.get("started", True) or state.config["server_down"]:
        return False
    if now < max(job.eligible, job.submitted + state.config["queue_wait"]):
        return False
    limit = queue.get("max_user_run")
    running = [other for other in state.jobs.values() if other.phase in HOLDING and other.queue == job.queue]
    return limit is None or sum(other.user == job.user for other in running) < limit


def everything(state: State) -> Free:
    """Everything that the machine has, in service or not."""
    return {name: (node["cores"], list(range(node["gpus"]))) for name, node in state.nodes.items()}


def free(state: State) -> Free:
    """What is free on each node in service; nothing where a job has the node exclusively."""
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
    """Node, cores and GPU numbers for each chunk of a job; None if they do not fit."""
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
    """Whether a condition on another job is met; None while that is undecided."""
    other = state.jobs.get(number)
    if condition == "after" and other is not None and other.runs:
        return True
    if number not in state.statuses:
        return None if other is not None else False
    succeeded = state.statuses[number] == 0
    return {"afterok": succeeded, "afternotok": not succeeded}.get(condition, True)


def release(state: State) -> None:
    """Release jobs whose conditions on other jobs are met."""
    for job in state.jobs.values():
        if job.held == "dep":
            verdicts = [met(state, *condition) for condition in job.depend]
            if all(verdicts):
                job.held = ""
            elif False in verdicts:
                job.held = "fail"


def start_jobs(state: State, now: float) -> list[Job]:
    """Assign nodes to all queued jobs that fit; return these jobs."""
    chosen = []
    release(state)
    for job in sorted(state.jobs.values(), key=lambda job: job.number):
        places = place(state, job, free(state)) if allowed(state, job, now) else None
        if places is not None:
            job.places, job.phase, job.began, job.runs = places, "starting", now, job.runs + 1
            job.status, job.why, job.order = None, "", None
            chosen.append(job)
    return chosen
