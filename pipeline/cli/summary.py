"""The summary of a study that is printed when a campaign ends."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from ...errors import PilotuneError
from ...exit_codes import SITE, STOPPED
from ...grammar import count
from ..hours import MOST_HOURS, rounded_up
from ..studies.block_table import quarantine_lines
from ..studies.failures import failure_line, kinds_in_words
from ..studies.formatting import duration, number, on_front, pairs, parameter, plus_minus
from ..studies.node_hours import budget_texts, usage_text
from .results import alike_text
from .stdout import echo_json

if TYPE_CHECKING:
    from ..analysis import Summary
    from ..driver.status import Status


def print_summary(status: Status, as_json: bool) -> None:
    """Print the summary of the study after a campaign; that of the campaign alone if the database cannot be read."""
    from ..analysis import read_study, summarize

    try:
        summary = summarize(read_study(status.storage, status.study))
    except PilotuneError:
        if status.code != SITE:
            raise
        summary = None
    if as_json:
        echo_json({"campaign": dataclasses.asdict(status), "summary": summary.as_dict() if summary else None})
    else:
        click.echo(render(summary, status) if summary else render_without_counts(status))


def render(summary: Summary, status: Status) -> str:
    """The summary as text: counts, pruned and failed trials, the best one, where the files are, what to do next."""
    from ..studies.progress import room_text

    lines = [
        ("study", summary.study),
        (end_word(status), f"{status.reason or 'done'} (after {duration(status.updated - status.started)})"),
        ("trials", trial_counts(summary)),
    ]
    if summary.rungs:
        at = ", ".join(f"{amount} at step {step}" for step, amount in summary.rungs.items())
        lines.append(("pruned", at))
    if summary.failures:
        lines.append(("failed", kinds_in_words(summary.failures)))
        lines += [("", f"the last: {failure_line(status.last_failure, status.host)}")] if status.last_failure else []
    if status.workers or status.utilization:
        slots = room_text(status) if status.sized and status.workers else str(status.workers)
        lines.append(("workers", f"{slots}, utilization {100 * status.utilization:.0f}%"))
    lines += [("hours", each) for each in [usage_text(status), *budget_texts(status)] if each]
    lines += [("quarantine", sentence) for sentence in quarantine_lines(status)]
    lines += [("warning", sentence) for sentence in status.warnings]
    lines += best_lines(summary)
    lines += [("storage", status.storage), ("files", status.run_dir), ("more", next_commands(summary, status))]
    return pairs(lines)


def render_without_counts(status: Status) -> str:
    """The summary of a campaign whose database cannot be read now."""
    lines = [("study", status.study), (end_word(status), status.reason)]
    lines += [("hours", each) for each in [usage_text(status), *budget_texts(status)] if each]
    lines += [("storage", status.storage), ("files", status.run_dir), ("more", f"pilotune resume {status.study}")]
    return pairs(lines)


def end_word(status: Status) -> str:
    """``stopped`` for a campaign that did not come to its own end, and can be resumed; else ``ended``."""
    return "stopped" if status.code in (SITE, STOPPED) else "ended"


def trial_counts(summary: Summary) -> str:
    """``36: 20 complete, 12 pruned, 2 failed, 2 interrupted``."""
    parts = [f"{summary.complete:,} complete", f"{summary.pruned:,} pruned", f"{summary.failed:,} failed"]
    unfinished = (
        ("running", summary.running),
        ("interrupted", summary.interrupted),
        ("paused", summary.paused),
        ("waiting", summary.waiting),
    )
    parts += [f"{amount:,} {word}" for word, amount in unfinished if amount]
    return f"{summary.total:,}: " + ", ".join(parts)


def best_lines(summary: Summary) -> list[tuple[str, str]]:
    """The best trial with its parameters, or the size of the Pareto front, as names and values."""
    if not summary.best:
        return [("best", "no trial completed")]
    if len(summary.best) > 1:
        return [("best", f"{on_front(len(summary.best))}: pilotune best {summary.study}")]
    row = summary.best[0]
    shown = ", ".join(f"{name} {number(value)}" for name, value in row.values.items())
    found = summary.certainty
    sure = plus_minus(None if found is None else (found.low, found.high))
    runs = f", {count(len(row.repetitions), 'run')}" if row.repetitions else ""
    return [
        ("best", f"{shown}{sure} (trial {row.number}{runs})"),
        *([("", alike)] if (alike := alike_text(summary.certainty)) else []),
        *((f"  {name}", parameter(value)) for name, value in row.params.items()),
    ]


def next_commands(summary: Summary, status: Status) -> str:
    """Commands that the user may want next."""
    name = summary.study
    commands = [f"pilotune trials {name}"]
    if summary.best:
        commands.append(f"pilotune export {name} --best")
    if status.last_failure and not status.last_failure["again"]:
        commands.append(f"pilotune trials {name} --traceback {status.last_failure['number']}")
    if status.code in (SITE, STOPPED) or summary.interrupted or summary.paused or summary.waiting:
        commands.insert(0, f"pilotune resume {name}")
    elif status.patience is not None and (status.unimproved or 0) >= status.patience:
        commands.append(f"pilotune resume {name} --set budget.patience={2 * status.patience}")
    elif status.budget is not None and status.total >= status.budget and status.code == 0 and not status.exhausted:
        commands.append(f"pilotune resume {name} --trials {2 * max(1, summary.total)}")
    elif status.time_used_up:
        commands.insert(0, f"pilotune resume {name}")
    if "pays for no further block" in status.reason:
        commands.insert(0, f"pilotune resume {name}{larger_budget(status)}")
    return ", ".join(commands)


def larger_budget(status: Status) -> str:
    """The options that raise each budget in hours which cannot pay another block, so that it can; empty without any.

    Each is doubled, or more where that would not be enough.
    """
    options = ""
    for each in status.hour_budgets:
        if each["left"] < each["block"] * (1 - 1e-9):
            enough = rounded_up(each["used"] + each["reserved"] + each["block"])
            hours = min(max(2 * each["hours"], enough), MOST_HOURS)
            options += f" --set budget.{each['unit']}{'.' if each['pool'] else ''}{each['pool']}={hours:.10g}"
    return options
