"""Shows a campaign's blocks: as one line, and as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .formatting import duration, table

if TYPE_CHECKING:
    from ..driver.status import Status

STATES = ("running", "starting", "suspended", "disconnected", "queued", "ending")
"""States of blocks that have not ended, in the order in which they are listed."""


HEAD = ("block", "job", "state", "for", "workers", "ends in", "why")
"""Columns of the table of blocks."""


def blocks_line(status: Status) -> str:
    """``2 running (the first ends in 1h 12m), 1 queued (Priority)``; empty if that says nothing new."""
    living = [block for block in status.blocks if block["state"] in STATES and status.state != "ended"]
    ends = [block["ends"] for block in living if block["state"] == "running" and block["ends"]]
    if [block["state"] for block in living] in ([], ["running"]) and not ends:
        return ""  # a local site: one block without a walltime
    parts = []
    for state in STATES:
        matching = [block for block in living if block["state"] == state]
        if matching:
            parts.append(f"{len(matching)} {state}{_remark(state, matching, ends, status.updated)}")
    return ", ".join(parts)


def _remark(state: str, blocks: list[dict[str, Any]], ends: list[float], now: float) -> str:
    """When the first running block ends, or why queued ones are queued, in brackets."""
    if state == "running" and ends:
        which = "ends" if len(blocks) == 1 else "the first ends"
        return f" ({which} in {duration(max(0.0, min(ends) - now))})"
    reasons = list(dict.fromkeys(map(queue_reason, blocks))) if state == "queued" else []
    words = ", ".join(reason for reason in reasons if reason)
    return f" ({words})" if words else ""


def queue_reason(block: dict[str, Any]) -> str:
    """Why the scheduler does not start a block, without the brackets that some schedulers put around it."""
    words = str(block["reason"]).strip()
    return words[1:-1] if words[:1] + words[-1:] == "()" else words


def quarantine_lines(status: Status) -> list[str]:
    """The hosts that get no more trials, one sentence each."""
    lines = [f"host {each['host']} gets no more trials: {each['reason']}" for each in status.quarantined]
    return [*lines, status.spared] if status.spared else lines


def blocks_table(status: Status, width: int | None = None) -> str:
    """The blocks that have not ended, and those that ended lately, as a table."""
    rows = [block_row(block, status.updated) for block in status.blocks]
    return table(HEAD, rows, right=["for", "workers", "ends in"], width=width)


def block_row(block: dict[str, Any], now: float) -> list[str]:
    """A block's row in the table, at the moment ``now`` (Unix seconds)."""
    return [
        f"{block['pool']} {block['block']}",
        str(block["job"]),
        str(block["state"]),
        duration(max(0.0, now - block["since"])),
        str(block["workers"]),
        duration(max(0.0, block["ends"] - now)) if block["ends"] and block["state"] != "ended" else "-",
        queue_reason(block),
    ]
