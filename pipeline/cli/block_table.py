"""A campaign's blocks, for people: in one line, and as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .formatting import duration, table

if TYPE_CHECKING:
    from ..driver.status import Status

STATES = ("running", "starting", "queued", "ending")


def blocks_line(status: Status) -> str:
    """``2 running (the first ends in 1h 12m), 1 queued (Priority)``; empty where there is nothing to tell."""
    living = [block for block in status.blocks if block["state"] in STATES and status.state != "ended"]
    ends = [block["ends"] for block in living if block["state"] == "running" and block["ends"]]
    if [block["state"] for block in living] in ([], ["running"]) and not ends:
        return ""  # this machine itself, say: one block, and no end to it
    parts = []
    for state in STATES:
        those = [block for block in living if block["state"] == state]
        if those:
            parts.append(f"{len(those)} {state}{_remark(state, those, ends, status.updated)}")
    return ", ".join(parts)


def _remark(state: str, blocks: list[dict[str, Any]], ends: list[float], now: float) -> str:
    if state == "running" and ends:
        which = "ends" if len(blocks) == 1 else "the first ends"
        return f" ({which} in {duration(max(0.0, min(ends) - now))})"
    words = list(dict.fromkeys(reason(block) for block in blocks if reason(block))) if state == "queued" else []
    return f" ({', '.join(words)})" if words else ""


def reason(block: dict[str, Any]) -> str:
    """The scheduler's words without the brackets that some put around them."""
    words = str(block["reason"]).strip()
    return words[1:-1] if words[:1] + words[-1:] == "()" else words


def quarantines(status: Status) -> list[str]:
    """The hosts that get no more trials, a sentence each."""
    told = [f"host {each['host']} gets no more trials: {each['reason']}" for each in status.quarantined]
    return [*told, status.spared] if status.spared else told


def blocks_table(status: Status, width: int | None = None) -> str:
    """All blocks that live, and those that ended lately."""
    rows = [
        [
            f"{block['pool']} {block['block']}",
            str(block["job"]),
            str(block["state"]),
            duration(max(0.0, status.updated - block["since"])),
            str(block["workers"]),
            duration(max(0.0, block["ends"] - status.updated)) if block["ends"] and block["state"] != "ended" else "-",
            reason(block),
        ]
        for block in status.blocks
    ]
    head = ["block", "job", "state", "for", "workers", "ends in", "why"]
    return table(head, rows, right=["for", "workers", "ends in"], width=width)
