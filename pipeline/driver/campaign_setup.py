"""Keeps with what a campaign runs, study file, site and versions: for its study's record and in its run directory."""

from __future__ import annotations

import platform
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...errors import SiteError
from ...filesystems import why_not
from ...version import __version__
from ..record import RunDirectory, known_studies
from ..trial.files import write_atomically
from .placing import memory_by_pool
from .settings import RunSettings, needs_of

if TYPE_CHECKING:
    from ...providers.site import Site

LONGEST_STUDY = 100_000
"""Characters of a study file that are kept."""


def campaign_setup(settings: RunSettings) -> dict[str, Any]:
    """The value of the attribute SETUP. Only versions of what is imported anyway are in it."""
    import numpy
    import optuna

    from ...providers.blocks.resources import pool_uses

    needs = needs_of(settings.study_file)
    parts = settings.site.parts
    pools = [use.pool for use in pool_uses(settings.site, needs) if not use.why_not]
    versions = {"pilotune": __version__, "optuna": optuna.__version__, "numpy": numpy.__version__}
    return {
        "site": settings.site.name,
        "scheduler": settings.site.scheduler,
        **(_of_pools(parts) if parts else {}),
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "versions": versions,
        "memory": memory_by_pool(pools, needs),
        "study": settings.study_file.resolved()[:LONGEST_STUDY],
    }


def _of_pools(sites: Sequence[Site]) -> dict[str, Any]:
    """Of several sites, to which of them each pool belongs, and which pools are on this host."""
    pools = {pool.name: site for site in sites for pool in site.pools}
    local = [name for name, site in pools.items() if site.scheduler == "local"]
    return {"pools": {name: site.name for name, site in pools.items()}, "local": local}


def remember(settings: RunSettings, run: RunDirectory) -> None:
    """Keep the study and site files in the run directory, and list the study among this user's.

    Raises:
        SiteError: The run directory cannot be written.
    """
    try:
        write_atomically(run.study_file, settings.study_file.resolved())
        for site in settings.site.each:
            path = run.site_file_of(site.name) if settings.site.parts else run.site_file
            write_atomically(path, site.resolved())
    except OSError as error:
        raise SiteError(f"the run directory cannot be written: {why_not(error, run.path)}") from None
    list_study(settings, run)


def list_study(settings: RunSettings, run: RunDirectory) -> None:
    """List the study among this user's, so that ``pilotune resume`` finds it by its name."""
    known_studies.save(
        name=settings.study_file.name,
        study_file=settings.study_file.path,
        storage=settings.storage_url,
        runs=settings.runs,
        site=settings.site.name,
        run_dir=run.path,
    )
