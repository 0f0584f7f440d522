"""Which queued jobs start, and on which nodes: first come, first served; a job that fits starts past one that waits."""

from __future__ import annotations

from typing import Any

from .state import HOLDING, Job, State


def eligible(state: State, job: Job, now: float) -> bool:
    """Whether the job might start now, as far as its queue and its holds are concerned."""
    queue = state.queues[job.queue]
    if job.phase != "queued" or job.held or not queue.get("started", True) or state.config["server_down"]:
        return False
    if now < max(job.eligible, job.submitted + state.config["queue_wait"]):
        return False
    limit = queue.get("max_user_run")
    running = [other for other in state.jobs.values() if other.phase in HOLDING and other.queue == job.queue]
    return limit is None or sum(other.user == job.user for other in running) < limit


def free(state: State) -> dict[str, tuple[int, list[int]]]:
    """Cores and GPU numbers that are free on every node in service; none on a node that a job has for itself."""
    left = {
        name: (node["cores"], list(range(node["gpus"])))
        for name, node in state.nodes.items()
        if node["state"] == "free"
    }
    for job in state.jobs.values():
        if job.phase not in HOLDING or job.suspended:
            continue
        for name, cores, gpus in job.places:
            if name in left:
                have, numbers = left[name]
                have = 0 if job.exclusive else have - cores
                left[name] = (have, [] if job.exclusive else [number for number in numbers if number not in gpus])
    return left


def place(job: Job, left: dict[str, tuple[int, list[int]]], state: State) -> list[list[Any]] | None:
    """A node, cores and GPU numbers for each of the job's chunks; None when they do not fit."""
    left, places = dict(left), []
    for cores, gpus in job.chunks:
        for name, (have, numbers) in left.items():
            whole = have == state.nodes[name]["cores"] or any(name == other[0] for other in places)
            taken = job.spread and any(name == other[0] for other in places)
            if have >= cores and len(numbers) >= gpus and not taken and (whole or not job.exclusive):
                left[name] = (have - cores, numbers[gpus:])
                places.append([name, cores, numbers[:gpus]])
                break
        else:
            return None
    return places


def possible(state: State, job: Job) -> bool:
    """Whether the job would fit on the machine if nothing else ran and every node were in service."""
    return (
        place(job, {name: (node["cores"], list(range(node["gpus"]))) for name, node in state.nodes.items()}, state)
        is not None
    )


def start_jobs(state: State, now: float) -> list[Job]:
    """Give nodes to all queued jobs that fit; returns those."""
    chosen = []
    for job in sorted(state.jobs.values(), key=lambda job: job.number):
        if eligible(state, job, now):
            places = place(job, free(state), state)
            if places is not None:
                job.places, job.phase, job.began, job.runs = places, "starting", now, job.runs + 1
                job.status, job.why, job.order = None, "", None
                chosen.append(job)
    return chosen
