"""``status``, ``watch`` and ``stop``: campaigns on this or another login node."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import click

from ...errors import PilotuneError, UserError
from .options import json_option, name_argument, storage_option
from .output import count, duration, echo_json, number, pairs, table, terminal_width

if TYPE_CHECKING:
    from .finding import Found
    from .live import Live

POLL = 0.5
"""Seconds between looks at a campaign's status file."""


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
    from ..record import registry
    from .finding import of_entry
    from .live import campaigns

    studies = [(found, campaigns(found.runs, found.name)) for found in map(of_entry, registry.all())]
    if as_json:
        echo_json([entry(found, lives[:1]) for found, lives in studies])
    elif not studies:
        click.echo("no study has been run yet: pilotune init, then pilotune run STUDY", err=True)
    else:
        head = ["study", "state", "trials", "complete", "pruned", "failed", "running", "best", "rate/min", "updated"]
        lines = [overview_line(found, lives) for found, lives in studies]
        click.echo(table(head, lines, right=[*head[2:9]], width=terminal_width()))


def overview_line(found: Found, lives: list[Live]) -> list[str]:
    if not lives:
        return [found.name, "gone", *["-"] * 8]
    live = lives[0]
    status = live.status
    of = f"/{status.budget}" if status.budget else ""
    done = status.complete + status.pruned + status.failed
    best = ", ".join(number(value) for value in status.best_values or []) or "-"
    rate = f"{status.rate:.1f}" if live.alive else "-"
    counts = [str(each) for each in (status.complete, status.pruned, status.failed)]
    running = str(status.running if live.alive else 0)
    return [found.name, live.state, f"{done}{of}", *counts, running, best, rate, ago(status.updated)]


def ago(moment: float) -> str:
    return f"{duration(max(0.0, time.time() - moment))} ago"


def entry(found: Found, lives: list[Live]) -> dict[str, Any]:
    """A study and its campaigns, with stable keys."""
    return {
        "study": found.name,
        "storage": found.storage,
        "study_file": str(found.study_file) if found.study_file else None,
        "runs": str(found.runs) if found.runs else None,
        "site": found.site,
        "campaigns": [{**dataclasses.asdict(live.status), "state": live.state, "alive": live.alive} for live in lives],
    }


def detail(name: str | None, storage: str | None, as_json: bool) -> None:
    from .finding import find
    from .live import campaigns

    found = find(name, storage)
    lives = campaigns(found.runs, found.name)
    if as_json:
        echo_json(entry(found, lives))
        return
    if not lives:
        counts_only(found)
        return
    click.echo(describe(found, lives[0]))
    others = [live for live in lives[1:] if live.alive]
    for live in others:
        click.echo(f"\n{describe(found, live)}")
    if len(lives) - 1 - len(others):
        click.echo(f"\n{count(len(lives) - 1 - len(others), 'earlier campaign')} under {lives[0].folder.parent}")


def counts_only(found: Found) -> None:
    """A study that was not run from here: what its database says."""
    from ..analysis import read_study, summarize
    from .summary import best, counts

    summary = summarize(read_study(found.storage, found.name))
    lines = [("study", summary.study), ("trials", counts(summary)), *best(summary), ("storage", found.storage)]
    click.echo(pairs(lines))


def describe(found: Found, live: Live) -> str:
    from .blocks import blocks_line, blocks_table
    from .progress import speeds, values

    status = live.status
    lines = [("study", status.study), ("campaign", f"{status.campaign}, {state(live)}")]
    if status.reason:
        lines.append(("reason", status.reason))
    of = f" of {status.budget}" if status.budget else ""
    done = status.complete + status.pruned + status.failed
    counts = f"{status.complete} complete, {status.pruned} pruned, {status.failed} failed"
    lines.append(("trials", f"{done}{of}: {counts}" + (f", {status.running} running" if live.alive else "")))
    if status.rungs:
        lines.append(("pruned", ", ".join(f"{amount} at step {step}" for step, amount in status.rungs.items())))
    if status.best_number is not None:
        lines.append(("best", f"{values(status)} (trial {status.best_number})"))
    if live.alive:
        lines.append(("workers", ", ".join(part for part in (str(status.workers), speeds(status)) if part)))
        lines += [("blocks", blocks_line(status))] if blocks_line(status) else []
        lines += [("waiting", status.waiting)] if status.waiting else []
        lines += [("message", status.message)] if status.message else []
    lines += [
        ("driver", f"process {status.pid} on {status.host}"),
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


@click.command("watch")
@name_argument(required=False)
@click.option("--json", "as_json", is_flag=True, help="Print each new status as a line of JSON on stdout instead.")
def watch_command(name: str | None, as_json: bool) -> int:
    """Follow the campaign of the study NAME until it ends. Ctrl-C leaves it running.

    The exit code is the campaign's.
    """
    live = the_campaign(name)
    if not live.alive:
        click.echo(f"campaign {live.status.campaign} of {live.status.study} {state(live)}", err=True)
        if live.status.state != "ended":
            return 1
        return live.status.code or 0
    try:
        return follow(live, as_json)
    except KeyboardInterrupt:
        click.echo(f"the campaign goes on; end it with pilotune stop {live.status.study}", err=True)
        return 0


def the_campaign(name: str | None) -> Live:
    """The campaign that runs of a study, or its last one. Without a name: the only one that runs."""
    from ..record import registry
    from .finding import find, of_entry
    from .live import campaigns

    if name is None:
        running = [
            live for each in map(of_entry, registry.all()) for live in campaigns(each.runs, each.name) if live.alive
        ]
        if len(running) == 1:
            return running[0]
        names = ", ".join(sorted({live.status.study for live in running}))
        raise UserError(f"which study? running: {names}" if running else "nothing is running; see pilotune status")
    found = find(name)
    lives = campaigns(found.runs, found.name)
    if not lives:
        raise UserError(f"study {found.name!r} has no campaign here: pilotune run STUDY starts one")
    return next((live for live in lives if live.alive), lives[0])


def follow(live: Live, as_json: bool) -> int:
    """Show each new status until the campaign ends or dies; returns its exit code."""
    import json

    from ..analysis import strict
    from .live import look
    from .progress import Progress

    shown = -1.0
    with Progress(quiet=as_json) as progress:
        while True:
            live = look(live.folder) or live
            if live.status.updated > shown:
                shown = live.status.updated
                progress(live.status)
                if as_json:
                    click.echo(json.dumps(strict(dataclasses.asdict(live.status))))
            if not live.alive:
                break
            time.sleep(POLL)
    if live.status.state != "ended":
        raise PilotuneError(f"the driver of {live.status.study} died; go on with pilotune resume {live.status.study}")
    if not as_json:
        click.echo(describe_end(live))
    return live.status.code or 0


def describe_end(live: Live) -> str:
    from .progress import line

    return f"{line(live.status)}; {live.status.reason}"


@click.command("stop")
@name_argument()
@click.option("--yield", "how", flag_value="yield", help="Running trials save what they have and go on at `resume`.")
@click.option("--now", "how", flag_value="now", help="Running trials are ended at once; they start again at `resume`.")
@click.option("--wait/--no-wait", default=True, help="Wait until the campaign has ended (default).")
@json_option
def stop_command(name: str, how: str | None, wait: bool, as_json: bool) -> int:
    """End the campaign of the study NAME, on whichever login node it runs: no new trials, and running ones finish."""
    from ..record import RunDirectory
    from ..trial.files import write_atomically
    from .finding import find
    from .live import campaigns

    found = find(name)
    lives = [live for live in campaigns(found.runs, found.name) if live.alive]
    if not lives:
        raise PilotuneError(f"no campaign of {found.name!r} is running; see pilotune status {found.name}")
    for live in lives:
        write_atomically(RunDirectory(live.folder).stop, how or "finish")
    if wait:
        lives = [wait_for_end(live, how or "finish") for live in lives]
    if as_json:
        echo_json(entry(found, lives))
    else:
        for live in lives:
            click.echo(f"campaign {live.status.campaign} of {found.name}: {told(live, wait)}")
    return 0


def told(live: Live, waited: bool) -> str:
    if live.alive:
        return "still stopping" if waited else "asked to stop"
    return state(live) + (f", {live.status.reason}" if live.status.reason else "")


def wait_for_end(live: Live, how: str) -> Live:
    """Wait until the campaign ended; Ctrl-C stops only the waiting."""
    from .live import look

    if how == "finish" and live.status.running:
        harder = f"pilotune stop {live.status.study} --yield or --now ends them earlier"
        click.echo(f"waiting for {count(live.status.running, 'running trial')}; {harder}", err=True)
    try:
        while live.alive:
            time.sleep(POLL)
            live = look(live.folder) or live
    except KeyboardInterrupt:
        click.echo("the campaign goes on stopping without this command", err=True)
    return live
