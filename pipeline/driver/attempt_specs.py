"""What a worker needs to run an attempt, from the study file and from what the campaign knows of the trial."""

from __future__ import annotations

import logging
from pathlib import Path

from ..attributes import DIRECTORY, PARENT, STEP
from ..campaign.campaign import Campaign
from ..campaign.flight import Flight, seed_of
from ..fidelity import Origin
from ..studyfile import StudyFile
from ..trial.files import TrialFiles
from ..trial.protocol import AttemptSpec, ChannelAddress
from ..trial.report_log import as_ranges
from .checkpoints import copy_parent, inherit

log = logging.getLogger(__name__)

INHERIT = "inherit"
"""Argument of a sampler whose children start from their parents' checkpoints."""


def attempt_spec(file: StudyFile, campaign: Campaign, flight: Flight, channel: ChannelAddress) -> AttemptSpec:
    """The description of the flight's attempt. Its folder is settled.

    A trial that starts from the checkpoint of another has got it afterwards.
    """
    if flight.origin is not None:
        _inherit(campaign, flight, flight.origin)
    options, space = file.options_for(flight.params), file.space
    return AttemptSpec(
        token=flight.token,
        study=file.name,
        number=flight.number,
        attempt=flight.attempt,
        params=space.for_objective(flight.params) if space else flight.params,
        defines_space=space is None,
        directory=flight.directory,
        seed=seed_of(file.seed, file.name, flight.number, flight.repeat),
        repeat=flight.repeat,
        since=flight.since,
        n_values=len(file.directions),
        directions=list(file.directions),
        has_attrs=campaign.study.has_attrs(flight.trial),
        reported=as_ranges(campaign.study.reported(flight.trial)) if flight.attempt > 1 else [],
        metrics=list(file.metrics),
        space_names=space.names if space else [],
        isolate=options.isolate,
        preload=options.preload,
        cores=options.cores,
        gpus=options.gpus,
        nodes=options.nodes,
        ranks=options.rank_counts.ranks,
        ranks_per_node=options.rank_counts.per_node,
        launcher=options.launcher or "",
        rank_timeout=options.rank_timeout,
        ranked=options.ranked and not file.objective.command,
        expected=_expected(campaign, flight),
        yield_before=options.yield_before,
        avoid=sorted(flight.avoid),
        pools=list(file.pools.of(flight.params)) if file.pools else [],
        parent_checkpoint=_parent_checkpoint(campaign, flight) if file.sampler.args.get(INHERIT) else "",
        objective=file.objective,
        limits=options.limits,
        channel=channel,
    )


def _parent_checkpoint(campaign: Campaign, flight: Flight) -> str:
    """A copy of the checkpoint of the trial that this one is a child of; empty where there is none."""
    storage = campaign.study.storage
    parent = storage.get_trial(flight.trial_id).system_attrs.get(PARENT)
    if parent is None:
        return ""
    folder = storage.get_trial(campaign.study.trial_id(parent)).user_attrs.get(DIRECTORY)
    return copy_parent(TrialFiles(Path(flight.directory)), Path(folder)) if folder else ""


def _inherit(campaign: Campaign, flight: Flight, origin: Origin) -> None:
    """Give a trial the checkpoint that it starts from, and correct the step where another one was found."""
    try:
        step = inherit(TrialFiles(Path(flight.directory)), origin)
    except OSError as error:
        log.warning("trial %d starts from nothing: its checkpoint cannot be copied: %s", flight.number, error)
        step = 0
    if step not in (None, origin.step):
        campaign.study.attributes.annotate(flight.trial, {}, {STEP: step})


def _expected(campaign: Campaign, flight: Flight) -> float | None:
    """Seconds that the attempt is expected to run, to the trial's end or the next rung; None while unknown.

    Less than a whole trial where an earlier attempt has left a checkpoint.
    """
    ran = flight.stage_seconds
    kept = ran > 0.0 and TrialFiles(Path(flight.directory)).holds_checkpoint()
    return campaign.outcomes.durations.left(ran if kept else 0.0)
