"""``status``: campaigns on this or another login node."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..formatting import count, duration, echo_json, number, pairs, table, terminal_width
from ..options import json_option, name_argument, storage_option

if TYPE_CHECKING:
    from ..campaign_status import Live
    from ..resolve import Found


@click.command("status")
@name_argument(required=False)
@storage_option
@json_option
def status_command(name: str | None, storage: str | None, as_json: bool) -> None:
    """Show all studies that you have run from here with their latest campaign, or one study NAME in detail."""
    if name is None and storage is None:
        overview(as_json)
    else:
        detail(name, storage, as_json)


def overview(as_json: bool) -> None:
    from ...record import known_studies
    from ..campaign_status import campaigns
    from ..resolve import of_entry

    studies = [(found, campaigns(found.runs, found.name)) for found in map(of_entry, known_studies.all())]
    if as_json:
        echo_json([entry(found, lives[:1]) for found, lives in studies])
    elif not studies:
        click.echo("no study has been run yet: pilotune init, then pilotune run STUDY", err=True)
    else:
        head = ["study", "state", "trials", "complete", "pruned", "failed", "running", "best", "rate/min", "updated"]
        lines = [overview_line(found, lives) for found, lives in studies]
        click.echo(table(head, lines, right=[*head[2:9]], width=terminal_width()))


def overview_line(found: Found, lives: list[Live]) -> list[str]:
    from ..driver_jobs import unfinished

    queued = any(chain.state == "waiting" for chain in unfinished(folder_of(found)))
    if not lives:
        return [found.name, "queued" if queued else "gone", *["-"] * 8]
    live = lives[0]
    status = live.status
    of = f"/{status.budget}" if status.budget else ""
    done = status.complete + status.pruned + status.failed
    best = ", ".join(number(value) for value in status.best_values or []) or "-"
    rate = f"{status.rate:.1f}" if live.alive else "-"
    counts = [str(each) for each in (status.complete, status.pruned, status.failed)]
    running = str(status.running if live.alive else 0)
    the_state = "queued" if queued and not live.alive else live.state
    if live.alive and status.waiting and not status.workers:
        the_state = "waiting"  # pilotune status NAME says for what
    return [found.name, the_state, f"{done}{of}", *counts, running, best, rate, ago(status.updated)]


def folder_of(found: Found) -> Path | None:
    """Where the run directories of a study are."""
    return found.runs / found.name if found.runs else None


def ago(moment: float) -> str:
    return f"{duration(max(0.0, time.time() - moment))} ago"


def entry(found: Found, lives: list[Live]) -> dict[str, Any]:
    """A study and its campaigns, with stable keys. ``driver_jobs``: of ``--in-job``, those that have not ended."""
    from ..driver_jobs import as_data, unfinished

    return {
        "study": found.name,
        "storage": found.storage,
        "study_file": str(found.study_file) if found.study_file else None,
        "runs": str(found.runs) if found.runs else None,
        "site": found.site,
        "campaigns": [{**dataclasses.asdict(live.status), "state": live.state, "alive": live.alive} for live in lives],
        "driver_jobs": [as_data(chain) for chain in unfinished(folder_of(found))],
    }


def detail(name: str | None, storage: str | None, as_json: bool) -> None:
    from ..campaign_status import campaigns
    from ..driver_jobs import describe as describe_job
    from ..driver_jobs import going_on
    from ..resolve import find

    found = find(name, storage)
    lives = campaigns(found.runs, found.name)
    if as_json:
        echo_json(entry(found, lives))
        return
    jobs = [describe_job(job) for job in going_on(folder_of(found))]
    if not lives and jobs:
        lines = [("study", found.name), *(("driver", job) for job in jobs), ("storage", found.storage)]
        click.echo(pairs(lines))
        return
    if not lives:
        counts_only(found)
        return
    click.echo(describe(found, lives[0], jobs))
    others = [live for live in lives[1:] if live.alive]
    for live in others:
        click.echo(f"\n{describe(found, live)}")
    if len(lives) - 1 - len(others):
        click.echo(f"\n{count(len(lives) - 1 - len(others), 'earlier campaign')} under {lives[0].folder.parent}")


def counts_only(found: Found) -> None:
    """A study that was not run from here: what its database says."""
    from ...analysis import read_study, summarize
    from ..summary import best, counts

    summary = summarize(read_study(found.storage, found.name))
    lines = [("study", summary.study), ("trials", counts(summary)), *best(summary), ("storage", found.storage)]
    click.echo(pairs(lines))


def describe(found: Found, live: Live, jobs: Sequence[str] = ()) -> str:
    """A campaign in detail. ``jobs``: where the jobs of its study's driver are, in words."""
    from ..block_table import blocks_line, blocks_table, quarantines
    from ..progress import paused, speeds, values

    status = live.status
    lines = [("study", status.study), ("campaign", f"{status.campaign}, {state(live)}")]
    if status.reason:
        lines.append(("reason", status.reason))
    of = f" of {status.budget}" if status.budget else ""
    done = status.complete + status.pruned + status.failed
    counts = f"{status.complete} complete, {status.pruned} pruned, {status.failed} failed"
    running = f", {status.running} running" if live.alive else ""
    lines.append(("trials", f"{done}{of}: {counts}{running}{paused(status)}"))
    if status.rungs:
        lines.append(("pruned", ", ".join(f"{amount} at step {step}" for step, amount in status.rungs.items())))
    if status.best_number is not None:
        lines.append(("best", f"{values(status)} (trial {status.best_number})"))
    if live.alive:
        lines.append(("workers", ", ".join(part for part in (str(status.workers), speeds(status)) if part)))
        lines += [("blocks", blocks_line(status))] if blocks_line(status) else []
        lines += [("waiting", status.waiting)] if status.waiting else []
        lines += [("message", status.message)] if status.message else []
    lines += [("quarantine", sentence) for sentence in quarantines(status)]
    lines += [
        ("driver", f"process {status.pid} on {status.host}"),
        *(("", job) for job in jobs),
        ("storage", found.storage),
        ("files", status.run_dir),
    ]
    text = pairs(lines)
    if live.alive and blocks_line(status):
        text += "\n\n" + blocks_table(status, terminal_width())
    if live.alive and status.running_trials:
        rows = [
            [str(t["number"]), str(t["attempt"]), str(t["host"]), duration(t["seconds"])] for t in status.running_trials
        ]
        text += "\n\n" + table(["running", "attempt", "host", "for"], rows, right=["running", "attempt", "for"])
    return text


def state(live: Live) -> str:
    """The campaign's state in words, with what to do about one that died."""
    status = live.status
    if live.alive:
        return f"{status.state} since {clock(status.started)}"
    if status.state == "ended":
        return f"ended at {clock(status.updated)}"
    return f"died at {clock(status.updated)} – pilotune resume {status.study}"


def clock(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
