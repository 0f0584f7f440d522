"""Attempts that have not ended, as the drivers last wrote them to the ``status.json`` of their run directories.

The database learns when an attempt ran once it has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...attributes import ATTEMPT, LEASE, OWNER, RUNS
from ..reading import StudyData
from ..trial_facts import INTERRUPTED, number_attribute, state_of
from .timing import Attempt, earlier_attempts


def unfinished_attempts(data: StudyData) -> list[Attempt]:
    """The attempts that run, and those that ran when their driver died, by trial.

    Each lasts up to the last status of its driver. Those that no status lists, or whose run directory cannot be read
    from here, are left out: nobody knows when they began.
    """
    states = [(trial, state_of(trial, data.live)) for trial in data.trials]
    open_trials = [(trial, state) for trial, state in states if state in ("running", INTERRUPTED)]
    campaigns = {str(trial.system_attrs.get(OWNER)) for trial, _ in open_trials}
    listed = {key: value for campaign in sorted(campaigns) for key, value in _listed(data, campaign).items()}
    found = []
    for trial, state in open_trials:
        attrs = trial.system_attrs
        attempt = number_attribute(attrs, ATTEMPT, (int,), 0)
        key = str(attrs.get(OWNER)), trial.number, attempt
        if trial.datetime_start is None or key not in listed:
            continue
        asked = trial.datetime_start.timestamp()
        earlier = earlier_attempts(trial.number, asked, attrs.get(RUNS))
        asked = earlier[-1].ended if earlier else asked
        began, ended, *place = listed[key]
        found.append(Attempt(trial.number, attempt, min(asked, began), began, ended, state, *place))
    return found


def _listed(data: StudyData, campaign: str) -> dict[tuple[str, int, int], tuple[float, float, str, str, str, str]]:
    """The running trials in a campaign's last status, as begin, end, host, pool, block and worker.

    The keys are campaign, number and attempt.
    """
    from ...record.running_trials import read_running_trials

    lease = data.system_attrs.get(LEASE + campaign)
    run = lease.get("run") if isinstance(lease, Mapping) else None
    status = read_running_trials(Path(run), campaign) if isinstance(run, str) and run else None
    if status is None:
        return {}
    found = {}
    for each in status.running_trials:
        began = status.updated - each.seconds if each.began is None else each.began
        place = (each.host, each.pool, each.block, each.worker)
        found[campaign, each.number, each.attempt] = (began, max(began, status.updated), *place)
    return found
