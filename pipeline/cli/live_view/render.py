"""A campaign's status as text and table rows that fit a terminal's width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ....grammar import count
from ...studies.block_table import STATES, block_row
from ...studies.formatting import cut, duration, number
from .reports import KEPT, spark_line

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ...driver.status import Status
    from ...studies.campaign_status import ObservedCampaign

SILENT = 15.0
"""Seconds without news from the driver after which the view says so; the driver writes every 5 s at least."""

HOST_WIDTH, WIDE_HOST_WIDTH = 16, 40
"""Most characters of a host's name that are shown, on a narrow terminal and on one of at least WIDE columns."""

WIDE = 120

LEAST_SPARK = 8
"""Fewest values of a spark line; where there is no space for these, the column is left out."""


def header(campaign: ObservedCampaign, now: float) -> RenderableType:
    """The lines at the top: state, counts, the best trial, speed, blocks, rungs, and what the user should know.

    Args:
        campaign: The campaign, its status harmless.
        now: Unix seconds.
    """
    from rich.console import Group
    from rich.text import Text

    from ...studies.node_hours import usage_text
    from ...studies.progress import render_status

    status = campaign.status
    lines: list[RenderableType] = [render_status(status)]
    if status.rungs:
        pruned = ", ".join(f"{amount:,} at step {step}" for step, amount in status.rungs.items())
        lines.append(Text(f"pruned {pruned}", no_wrap=True, overflow="ellipsis"))
    if used := usage_text(status):
        lines.append(Text(used, no_wrap=True, overflow="ellipsis"))
    silence = now - status.updated
    if campaign.alive and silence > SILENT:
        lines.append(Text(f"no news from the driver on {status.host} for {duration(silence)}", "yellow"))
    return Group(*lines)


def trials_title(status: Status) -> str:
    """How many trials run on how many workers, and how many of them are not listed."""
    from ...studies.progress import room_text

    running = f"{count(status.running, 'trial')}{', ' if status.sized else ' on '}{room_text(status)}"
    hidden = status.running - len(status.running_trials)
    return f"running: {running}{f', and {hidden:,} more than are listed' if hidden > 0 else ''}"


def trial_table(
    status: Status, reports: Mapping[int, Sequence[float]], width: int
) -> tuple[list[str], dict[str, list[str]]]:
    """The running trials.

    Args:
        status: The status, harmless.
        reports: Their last values, by number.
        width: Columns of the terminal.

    Returns:
        The names of the columns, and the row of each trial by its number as text.
    """
    trials = status.running_trials
    repeats = any(trial.get("repeat") for trial in trials)
    metric = cut((status.metrics or ["value"])[0], 12)
    head = ["trial", "attempt", *(["repetition"] if repeats else []), "host", "for", "step", metric, "reports"]
    host_width = WIDE_HOST_WIDTH if width >= WIDE else HOST_WIDTH
    rows = {
        str(trial["number"]): [
            str(trial["number"]),
            str(trial["attempt"]),
            *([str(trial.get("repeat", 0) + 1)] if repeats else []),
            cut(trial["host"], host_width),
            duration(trial["seconds"]),
            number(trial.get("step")),
            number(trial.get("value")),
        ]
        for trial in trials
    }
    used = sum(
        2 + max(len(name), *(len(row[i]) for row in rows.values())) if rows else 0 for i, name in enumerate(head[:-1])
    )
    space = min(KEPT, width - used - 4)
    if space < LEAST_SPARK:
        return head[:-1], rows
    return head, {key: [*row, spark_line(reports.get(int(key), ()), space)] for key, row in rows.items()}


def blocks_title(status: Status) -> str:
    """How many blocks there are."""
    living = sum(block["state"] in STATES for block in status.blocks)
    return f"blocks: {living} of {count(len(status.blocks), 'block')}" if living < len(status.blocks) else "blocks"


def block_rows(status: Status) -> dict[str, list[str]]:
    """The rows of the blocks that have not ended, then of those that ended lately, by block."""
    order = {state: place for place, state in enumerate(STATES)}
    blocks = sorted(status.blocks, key=lambda block: order.get(block["state"], len(order)))
    return {f"{block['pool']} {block['block']} {block['job']}": block_row(block, status.updated) for block in blocks}
