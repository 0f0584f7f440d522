"""``pilotune status``: campaigns on this or another login node."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ....errors import PilotuneError
from ....filesystems import size_in_words
from ....grammar import count
from ...studies.formatting import ago, duration, named_values, number, on_front, pairs, table
from ..options import json_option, name_argument, storage_option
from ..stdout import echo_json, terminal_width

if TYPE_CHECKING:
    from ...driver.status import Status
    from ...studies.campaign_status import ObservedCampaign
    from ...studies.resolve import StudyLocation


@click.command("status")
@name_argument(required=False)
@storage_option
@json_option
def status_command(name: str | None, storage: str | None, as_json: bool) -> None:
    """Show all studies that you have run here with their latest campaign, or the study NAME in detail."""
    if name is None and storage is None:
        overview(as_json)
    else:
        detail(name, storage, as_json)


def overview(as_json: bool) -> None:
    """Print one line for each study."""
    from ...record import known_studies
    from ...studies.campaign_status import list_campaigns, study_json
    from ...studies.resolve import from_entry

    studies = [(study, list_campaigns(study.runs, study.name)) for study in map(from_entry, known_studies.all())]
    if as_json:
        echo_json([study_json(study, campaigns[:1]) for study, campaigns in studies])
    elif not studies:
        click.echo("no study has been run yet: pilotune init, then pilotune run STUDY", err=True)
    else:
        head = ["study", "state", "trials", "complete", "pruned", "failed", "running", "best", "rate/min", "updated"]
        lines = [overview_line(study, campaigns) for study, campaigns in studies]
        click.echo(table(head, lines, right=[*head[2:9]], width=terminal_width()))


def overview_line(study: StudyLocation, campaigns: Sequence[ObservedCampaign]) -> list[str]:
    """The study's line: its latest campaign, or the job that its driver waits for."""
    from ...studies.driver_jobs import unfinished_chains
    from ...studies.harmless import harmless_status
    from ...studies.progress import front_text

    queued = any(chain.state == "waiting" for chain in unfinished_chains(study.folder))
    if not campaigns:
        return [study.name, *(["queued", *["-"] * 8] if queued else counts_line(study))]
    campaign = campaigns[0]
    status = harmless_status(campaign.status)
    of = f"/{status.budget}" if status.budget else ""
    done = status.complete + status.pruned + status.failed
    best = front_text(status) or named_values(status.metrics, status.best_values or []) or "-"
    rate = f"{status.rate:.1f}" if campaign.alive else "-"
    counts = [str(each) for each in (status.complete, status.pruned, status.failed)]
    running = str(status.running if campaign.alive else 0)
    state = "queued" if queued and not campaign.alive else campaign.word
    if campaign.alive and status.waiting and not status.workers:
        state = "waiting"  # `pilotune status NAME` says what for
    return [study.name, state, f"{done}{of}", *counts, running, best, rate, ago(status.updated)]


def counts_line(study: StudyLocation) -> list[str]:
    """The study's line after its name where there is no run directory: ``idle``, with what its database has.

    ``gone`` where the database cannot be read either.
    """
    from ...analysis import read_study, summarize

    try:
        summary = summarize(read_study(study.storage, study.name))
    except PilotuneError:
        return ["gone", *["-"] * 8]
    done = summary.complete + summary.pruned + summary.failed
    best = "-"
    if len(summary.best) > 1:
        best = on_front(len(summary.best))
    elif summary.best:
        values = summary.best[0].values
        names = [] if list(values) == ["value"] else list(values)  # "value" is no name of the user's
        best = named_values(names, [value for value in values.values() if value is not None])
    counts = [str(each) for each in (done, summary.complete, summary.pruned, summary.failed, 0)]
    return ["idle", *counts, best, "-", "-"]


def detail(name: str | None, storage: str | None, as_json: bool) -> None:
    """Print one study: its latest campaign, others that run, and the jobs of its driver."""
    from ...studies.campaign_status import list_campaigns, study_json
    from ...studies.driver_jobs import active_chains, describe_chain
    from ...studies.resolve import resolve_study
    from ...studies.stored_hours import with_stored_hours

    study = resolve_study(name, storage)
    campaigns = list_campaigns(study.runs, study.name)
    if campaigns:
        campaigns = [with_stored_hours(campaigns[0], study.storage), *campaigns[1:]]
    if as_json:
        echo_json(study_json(study, campaigns))
        return
    jobs = [describe_chain(chain) for chain in active_chains(study.folder)]
    if not campaigns and jobs:
        lines = [("study", study.name), *(("driver", job) for job in jobs), ("storage", study.storage)]
        click.echo(pairs(lines))
        return
    if not campaigns:
        print_counts(study)
        return
    click.echo(campaign_details(study, campaigns[0], jobs, campaigns[1:]))
    others = [campaign for campaign in campaigns[1:] if campaign.alive]
    for campaign in others:
        click.echo(f"\n{campaign_details(study, campaign)}")
    if earlier := len(campaigns) - 1 - len(others):
        click.echo(f"\n{count(earlier, 'earlier campaign')} under {campaigns[0].folder.parent}")


def print_counts(study: StudyLocation) -> None:
    """Print the counts in the database of a study that has no campaign here."""
    from ...analysis import read_study, rows, summarize
    from ...studies.failures import kind_in_words
    from ..summary import best_lines, trial_counts

    data = read_study(study.storage, study.name)
    summary = summarize(data)
    lines = [("study", summary.study), ("trials", trial_counts(summary)), *best_lines(summary)]
    if failed := rows(data, states=["failed"]):
        last = failed[-1]
        lines.append(("failed last", f"trial {last.number} failed: {last.reason or kind_in_words(last.exit)}"))
    click.echo(pairs([*lines, ("storage", study.storage)]))


def campaign_details(
    study: StudyLocation,
    campaign: ObservedCampaign,
    jobs: Sequence[str] = (),
    earlier: Sequence[ObservedCampaign] = (),
) -> str:
    """A campaign as text: names and values, then tables of its blocks and running trials.

    Args:
        study: Its study.
        campaign: The campaign.
        jobs: The jobs of the study's driver, a sentence each.
        earlier: The study's earlier campaigns, which may have seen the last failure.
    """
    from ...studies.block_table import blocks_line, blocks_table
    from ...studies.harmless import harmless_status

    campaign = dataclasses.replace(campaign, status=harmless_status(campaign.status))
    status = campaign.status
    text = pairs(detail_lines(study, campaign, jobs, earlier))
    if campaign.alive and blocks_line(status):
        text += "\n\n" + blocks_table(status, terminal_width())
    if campaign.alive and status.running_trials:
        text += "\n\n" + running_table(status)
    return text


def running_table(status: Status) -> str:
    """The running trials, with the last report of each if any of them has made one."""
    trials = status.running_trials
    reports = any(trial.get("step") is not None for trial in trials)
    repeats = any(trial.get("repeat") for trial in trials)
    head = [
        "running",
        "attempt",
        *(["repetition"] if repeats else []),
        "host",
        "for",
        *(["step", (status.metrics or ["value"])[0]] if reports else []),
    ]
    rows = [
        [
            str(trial["number"]),
            str(trial["attempt"]),
            *([str(trial.get("repeat", 0) + 1)] if repeats else []),
            str(trial["host"]),
            duration(trial["seconds"]),
            *([number(trial.get("step")), number(trial.get("value"))] if reports else []),
        ]
        for trial in trials
    ]
    return table(head, rows, right=[name for name in head if name != "host"])


def interrupted_text(campaign: ObservedCampaign) -> str:
    """``, 2 interrupted, 18 waiting``: the trials that another campaign continues or begins; empty without any."""
    status = campaign.status
    ended = status.state == "ended"
    amounts = {"interrupted": status.interrupted if ended else status.running, "waiting": status.not_begun}
    left = ", ".join(f"{amount} {word}" for word, amount in amounts.items() if amount)
    return f", {left} (pilotune resume {status.study} continues them)" if left else ""


def last_failure(campaigns: Sequence[ObservedCampaign]) -> dict[str, Any] | None:
    """The last failed attempt of the first of these campaigns that has one."""
    return next((campaign.status.last_failure for campaign in campaigns if campaign.status.last_failure), None)


def detail_lines(
    study: StudyLocation, campaign: ObservedCampaign, jobs: Sequence[str], earlier: Sequence[ObservedCampaign]
) -> list[tuple[str, str]]:
    """Names and values of a campaign, as far as there is something to say."""
    from ...studies.block_table import blocks_line, quarantine_lines
    from ...studies.failures import failure_line
    from ...studies.node_hours import budget_texts, usage_text
    from ...studies.progress import best_trial, best_values, front_text, paused_text, room_text, speed_text

    status, alive = campaign.status, campaign.alive
    lines = [("study", status.study), ("campaign", f"{status.campaign}, {campaign.state_text}")]
    if status.reason and campaign.word != "stopped":
        lines.append(("reason", status.reason))
    of = f" of {status.budget}" if status.budget else ""
    done = status.complete + status.pruned + status.failed
    counts = f"{status.complete} complete, {status.pruned} pruned, {status.failed} failed"
    running = f", {status.running} running" if alive else interrupted_text(campaign)
    lines.append(("trials", f"{done}{of}: {counts}{running}{paused_text(status)}"))
    if status.rungs:
        lines.append(("pruned", ", ".join(f"{amount} at step {step}" for step, amount in status.rungs.items())))
    if (failure := last_failure([campaign, *earlier])) and failure["reason"] not in status.reason:
        lines.append(("failed last", failure_line(failure, status.host)))
    if status.best_number is not None:
        lines.append(("best", front_text(status) or f"{best_values(status)} ({best_trial(status)})"))
    if status.best_alike:
        lines.append(("", f"{count(status.best_alike, 'other trial')} cannot be told apart from it"))
    if len(status.artifacts) == 2:
        trials, size = status.artifacts
        lines.append(("artifacts", f"of {count(trials, 'trial')}, {size_in_words(size)}"))
    lines += [("hours", each) for each in (usage_text(status), *budget_texts(status)) if each]
    if alive and status.patience is not None:
        lines.append(("patience", f"{status.unimproved} of {count(status.patience, 'trial')} without a better value"))
    if not alive:
        lines += [("warning", sentence) for sentence in status.warnings]
    if alive:
        slots = room_text(status) if status.sized and status.workers else str(status.workers)
        lines.append(("workers", ", ".join(part for part in (slots, speed_text(status)) if part)))
        lines += [("blocks", blocks_line(status))] if blocks_line(status) else []
        lines += [("stopping", status.stopping)] if status.stopping else []
        lines += [("waiting", status.waiting)] if status.waiting else []
        lines += [("message", status.message)] if status.message else []
    lines += [("quarantine", sentence) for sentence in quarantine_lines(status)]
    return [
        *lines,
        ("driver", f"process {status.pid} on {status.host}"),
        *(("", job) for job in jobs),
        ("storage", study.storage),
        ("files", status.run_dir),
    ]
