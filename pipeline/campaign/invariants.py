"""What must hold of a campaign after every step and every release.

Each sentence that :func:`check_campaign` may raise names one invariant. They are checked in tests and simulations only,
see :data:`.flight_states.VALIDATE`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .flight_states import State, require

if TYPE_CHECKING:
    from .campaign import Campaign


def check_campaign(campaign: Campaign) -> None:
    """Check a campaign and all its flights.

    Raises:
        BrokenInvariant: With a sentence that says what does not hold.
    """
    campaign.flights.validate()
    campaign.backoff.validate()
    if campaign.promotion:
        campaign.promotion.validate()
    for flight in campaign._prepared:
        require(flight.state is State.PREPARED, f"trial {flight.number} ({flight.state.name}) is to be submitted")
        flight.validate()
    _check_homes(campaign)
    _check_end(campaign)
    _check_clock(campaign)


def _check_homes(campaign: Campaign) -> None:
    """A trial is in one place."""
    paused = campaign.promotion.paused.values() if campaign.promotion else ()
    homes = (campaign.flights.values(), campaign.backoff, campaign._prepared, paused)
    ids = [flight.trial_id for home in homes for flight in home]
    twice = sorted({trial_id for trial_id in ids if ids.count(trial_id) > 1}) if len(set(ids)) < len(ids) else []
    require(not twice, f"the campaign has these trials (by id) in two places: {twice}")


def _check_end(campaign: Campaign) -> None:
    """A campaign that is ending starts nothing, and one that has finished has nothing in flight."""
    if campaign.ending:
        count = len(campaign._prepared) + len(campaign.backoff)
        require(not count, f"the campaign is ending, and {count} trials are still to be submitted")
    if campaign.finished and campaign.ending:
        require(not campaign.flights, f"the campaign has finished with {len(campaign.flights)} attempts in flight")


def _check_clock(campaign: Campaign) -> None:
    began, last, now = campaign.began, campaign.last_progress, campaign.now
    require(began <= last <= now, f"the last progress was at {last}, outside of the campaign's {began} to {now}")
    busy, total = campaign.busy_seconds, campaign.worker_seconds
    require(busy <= total + 1e-6, f"workers were busy for {busy} s of {total} s")
