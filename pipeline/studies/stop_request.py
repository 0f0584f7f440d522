"""Asks the campaigns of a study to stop, and the jobs of their drivers, from any host that sees their files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..driver.job_chain import JobChain
    from .campaign_status import ObservedCampaign


def ask_to_stop(runs: Path | None, name: str, how: str = "finish") -> tuple[list[ObservedCampaign], list[JobChain]]:
    """Ask all campaigns of a study that run to end, and cancel a queued job of its driver.

    Args:
        runs: The folder of all run directories.
        name: The study's name.
        how: What becomes of the running trials: ``finish``, ``yield`` or ``now``.

    Returns:
        The campaigns and the job chains that were asked; none of both where nothing runs.

    Raises:
        OSError: The request cannot be written.
    """
    from ..record import RunDirectory
    from ..trial.files import write_atomically
    from .campaign_status import list_campaigns
    from .driver_jobs import active_chains, stop_chain, unfinished_chains

    folder = runs / name if runs else None
    campaigns = [campaign for campaign in list_campaigns(runs, name) if campaign.alive]
    chains = unfinished_chains(folder) if campaigns else active_chains(folder)
    chains = [stop_chain(chain, how) for chain in chains]  # first, so that no successor begins meanwhile
    for campaign in campaigns:
        write_atomically(RunDirectory(campaign.folder).stop, how)
    return campaigns, chains
