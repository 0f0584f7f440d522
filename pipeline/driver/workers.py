"""Boots the workers of a campaign: one pool for its site, or one for each of its sites, joined."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Collection
from typing import TYPE_CHECKING

from ..record import RunDirectory
from .settings import RunSettings, label_of, needs_of

if TYPE_CHECKING:
    from ...providers.htex.sites import SitePool


def boot_workers(
    settings: RunSettings,
    run: RunDirectory,
    campaign_id: str,
    interchange: subprocess.Popen[bytes] | None,
    metered: Collection[str],
) -> SitePool:
    """Boot the pools of the campaign's site or sites; nothing is submitted to a scheduler before their start.

    A site of which the study uses no pool is left out.

    Args:
        settings: What to run and where.
        run: The campaign's run directory.
        campaign_id: The campaign's id.
        interchange: From ``interchange_ahead``, for the first site.
        metered: Pools whose blocks a budget in node-hours limits.

    Raises:
        SiteError: A site's pool cannot be booted.
    """
    # Imported here because it loads Parsl.
    from ...providers.blocks.resources import usable_pools
    from ...providers.htex.pool import ParslPool, PoolFiles
    from ...providers.htex.sites import SitesPool

    needs, label = needs_of(settings.study_file), label_of(settings.study_file, campaign_id)
    files = PoolFiles(run.parsl, run.blocks, run.jobs, run.channel_key)
    if not settings.site.parts:
        return ParslPool(settings.site, files, needs, label, interchange=interchange, metered=metered)
    used = usable_pools(settings.site, needs)
    booted: dict[str, SitePool] = {}
    with contextlib.ExitStack() as stack:
        for site in settings.site.parts:
            pools = [pool for pool in used if settings.site.home(pool.name) is site]
            if pools:
                if booted:
                    files = PoolFiles(run.parsl_of(site.name), run.blocks, run.jobs, run.channel_key_of(site.name))
                pool = ParslPool(site, files, needs, label, pools, None if booted else interchange, metered)
                booted[site.name] = stack.enter_context(contextlib.closing(pool))
        stack.pop_all()
    clusters = [site.name for site in settings.site.parts if site.name in booted and site.scheduler != "local"]
    return SitesPool(booted, cleaner=next(iter(clusters), ""))
