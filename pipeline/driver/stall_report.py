"""Says in one sentence what a campaign without progress waits for: its blocks, their workers, or its trials."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from ...fields import format_duration
from ...grammar import count
from ..campaign.events import BlockState, BlockView

if TYPE_CHECKING:
    from ..campaign.campaign import Campaign

BRIEF, NO_BLOCK = 5.0, 30.0
"""Seconds before it is reported that a block is queued, and that there is no block at all."""

SET_UP = 60.0
"""Seconds that the workers of a running block have to connect, and to begin waiting trials, before it is reported."""

NEAR_END = 60.0
"""Seconds before the end of a block from which on its workers are not expected to begin a trial."""

SLOW = 5
"""Time without any trial's end or report before it is reported, as a multiple of a trial's usual duration."""

SLOW_AT_LEAST, SLOW_AT_FIRST = 60.0, 1800.0
"""The same in seconds: at least, and while the usual duration is unknown."""


def waiting(campaign: Campaign) -> str:
    """What the campaign waits for, as a sentence for the user; empty while it makes progress.

    The pool's own note comes first. Times are times of day, not durations, so that the sentence stays the same until
    something changes: it is logged whenever it does.
    """
    if campaign.finished or (campaign.ending and not campaign.in_flight):
        return ""
    stopped = {block.state for block in campaign.blocks} - {"ending", "ended"} == {"suspended"}
    works = (campaign.workers or campaign.running) and not stopped
    sentence = _on_trials(campaign) if works else _on_blocks(campaign)
    return "; ".join(part for part in (campaign.pool_note, sentence) if part)


# -- blocks -----------------------------------------------------------------------------------------------------------


def _on_blocks(campaign: Campaign) -> str:
    """No worker accepts a trial."""
    now = campaign.now
    groups: dict[str, list[BlockView]] = {state: [] for state in get_args(BlockState) if state != "ended"}
    for block in campaign.blocks:
        if block.state in groups:
            groups[block.state].append(block)
    if not any(groups.values()):
        return _no_blocks(campaign)
    parts = [_starting(groups["starting"], now), _no_time_left(campaign, groups["running"])]
    parts += [_since(groups["suspended"], "suspended", now), _since(groups["disconnected"], "without workers", now)]
    for reason in dict.fromkeys(block.reason for block in groups["queued"]):
        parts.append(_since([block for block in groups["queued"] if block.reason == reason], "queued", now))
    return ", and ".join(part for part in parts if part)


def _no_blocks(campaign: Campaign) -> str:
    """There is no block. Where the pool has a note, that says why."""
    last = max(campaign.blocks, key=lambda block: block.since, default=None)
    if campaign.pool_note or campaign.now - (last.since if last else campaign.began) < NO_BLOCK:
        return ""
    if last is None:
        return "no block is queued or running"
    return (
        f"no block is queued or running; the last one ended at {_clock(last.since, campaign.now)}{_in_brackets(last)}"
    )


def _since(blocks: Sequence[BlockView], state: str, now: float) -> str:
    first = min((block.since for block in blocks), default=now)
    if now - first < BRIEF:
        return ""
    return f"{_count(blocks)} {state} since {_clock(first, now)}{_in_brackets(blocks[0])}"


def _starting(blocks: Sequence[BlockView], now: float) -> str:
    late = [block for block in blocks if now - block.since >= SET_UP]
    if not late:
        return ""
    first = min(late, key=lambda block: block.since)
    return (
        f"{_count(late)} running since {_clock(first.since, now)} and no worker has reached the driver: the set-up "
        "hangs or has failed, or the driver's address cannot be reached from the nodes; what it printed is in blocks/ "
        f"of the run directory{_in_brackets(first)}"
    )


def _no_time_left(campaign: Campaign, blocks: Sequence[BlockView]) -> str:
    """These blocks have workers, but none of them may begin a trial."""
    if not blocks or campaign.now - campaign.last_progress < SET_UP:
        return ""
    return f"{_count(blocks)} running and {_too_short(campaign)}"


def _too_short(campaign: Campaign) -> str:
    expected = campaign.outcomes.durations.expected
    runs = f", which is expected to run {format_duration(expected)}" if expected else ""
    return f"what is left of their time is too short for a trial{runs}"


def _count(blocks: Sequence[BlockView]) -> str:
    """Such as ``2 blocks of pool knl are``."""
    pools = ", ".join(dict.fromkeys(block.pool for block in blocks))
    return f"1 block of pool {pools} is" if len(blocks) == 1 else f"{len(blocks)} blocks of pool {pools} are"


def _in_brackets(block: BlockView) -> str:
    """The block's reason in brackets; some schedulers write them themselves."""
    reason = block.reason.strip()
    return f" {reason}" if reason[:1] + reason[-1:] == "()" else f" ({reason})" if reason else ""


# -- trials -----------------------------------------------------------------------------------------------------------


def _on_trials(campaign: Campaign) -> str:
    """There are workers. Any trial's end or report counts as progress."""
    now, silence = campaign.now, campaign.now - campaign.last_progress
    oldest = campaign.flights.oldest
    if oldest is None:
        return _none_begun(campaign) if campaign.in_flight and silence >= SET_UP else ""
    usual = campaign.outcomes.durations.usual
    limit = SLOW_AT_FIRST if usual is None else max(SLOW_AT_LEAST, SLOW * usual)
    if silence < limit:
        return ""
    since = _clock(oldest.started or 0.0, now)
    runs = f"trial {oldest.number} has been running since {since} on {oldest.host or 'a worker'}"
    if usual is None:
        return f"no trial has ended or reported anything yet: {runs}"
    times = f"{SLOW} times as long as a trial usually runs ({format_duration(round(usual, 1))})"
    quiet = f"no trial has ended or reported anything since {_clock(campaign.last_progress, now)}"
    return f"{quiet}, more than {times}: {runs}"


def _none_begun(campaign: Campaign) -> str:
    """Trials are submitted, and no worker has begun one."""
    declined = [flight for flight in (*campaign.flights.values(), *campaign.backoff) if flight.declines]
    if declined and all(flight.doubts for flight in declined):
        hosts = ", ".join(sorted({doubt.host for flight in declined for doubt in flight.doubts}))
        return f"the trials that wait failed on {hosts}, and are to be tried on another host"
    if declined:
        return f"workers decline the trials that wait: {_too_short(campaign)}"
    running = [block for block in campaign.blocks if block.state == "running"]
    if running and all(block.ends is not None and block.ends <= campaign.now + NEAR_END for block in running):
        return f"{_count(running)} at the end of {'its' if len(running) == 1 else 'their'} time"
    workers = "1 worker is connected" if campaign.workers == 1 else f"{campaign.workers or 'no'} workers are connected"
    if campaign.workers and campaign.capacity.in_flight is not None:  # there are no workers of one size
        workers = f"there is room for {count(campaign.workers, 'typical trial')}"
    since = _clock(campaign.last_progress, campaign.now)
    return f"{workers}, and none has begun a trial since {since}: is it still importing the objective?"


def _clock(moment: float, now: float) -> str:
    """The time of day, with the date if it was on another day."""
    then, today = time.localtime(moment), time.localtime(now)
    return time.strftime("%H:%M" if then[:3] == today[:3] else "%Y-%m-%d %H:%M", then)
