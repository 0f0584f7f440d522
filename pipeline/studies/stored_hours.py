"""What a study has cost by its database, where the last status of its campaign may be older."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ...errors import PilotuneError

if TYPE_CHECKING:
    from .campaign_status import ObservedCampaign


def with_stored_hours(campaign: ObservedCampaign, storage: str) -> ObservedCampaign:
    """The campaign with the hours in the study's database, if it does not run.

    A driver that was killed could not write what its blocks cost in the end: ``pilotune clean`` and the next driver do.
    A campaign that runs, and one whose database cannot be read, is returned as it is.

    Args:
        campaign: The campaign.
        storage: URL of the study's database.
    """
    from ..analysis import read_study
    from ..analysis.costs import study_ledgers
    from ..driver.hours_status import budget_of
    from ..hours import Account
    from ..record.hours import hours_by_pool

    status = campaign.status
    if campaign.alive or not status.hours:
        return campaign
    try:
        found = study_ledgers(read_study(storage, status.study, parts=()))
    except PilotuneError:
        return campaign
    hours = [dataclasses.asdict(each) for each in hours_by_pool(found).values()]
    budgets = [
        budget_of(Account(each["unit"], each["hours"], each["pool"]), found, each["block"])
        for each in status.hour_budgets
    ]
    status = dataclasses.replace(status, hours=hours, hour_budgets=[dataclasses.asdict(each) for each in budgets])
    return dataclasses.replace(campaign, status=status) if found else campaign
