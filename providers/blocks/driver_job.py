"""Runs the driver in a batch job of one node, for ``pilotune run --in-job``."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..schedulers.batch import BatchBlocks
from ..schedulers.network import own_addresses
from ..schedulers.registry import provider_class
from ..site import Network, PoolSpec, Site
from .batch_scripts import worker_init

log = logging.getLogger(__name__)

POOL = "driver"
"""Takes the place of the pool's name in file and job names."""

SCRIPT = "PILOTUNE_DRIVER_SCRIPT"
"""Environment variable that is set in such a job: the path of its script, from which the driver knows its job."""

PASSED_ON = (
    *("PATH", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "PILOTUNE_SITES", "PILOTUNE_RUNS"),
    *("PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSFILE", "PGSERVICE", "PGSERVICEFILE"),
    *("PGSSLMODE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY"),
)
"""Environment variables that the job's script sets, if they are set here: not every scheduler passes the environment
on. PGPASSWORD is left out, since a password must not be written into a script."""


def passed_on() -> dict[str, str]:
    """The variables of PASSED_ON that are set here."""
    return {name: os.environ[name] for name in PASSED_ON if os.environ.get(name)}


def driver_blocks(site: Site, folder: Path, label: str, environment: Mapping[str, str]) -> BatchBlocks:
    """The provider that submits driver jobs at a site.

    Args:
        site: A site with a scheduler. Its ``driver`` gives the job's resources.
        folder: Where the job's script and output go.
        label: The first part of the job's name.
        environment: Variables that the job sets before it loads the site's modules.
    """
    job = site.driver
    pool = PoolSpec(
        POOL,
        queue=job.queue,
        walltime=job.walltime,
        cores_per_node=job.cores,
        memory_per_node=job.memory,
        options=job.options,
        exclusive=False,
    )
    exports = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    provider = provider_class(site.scheduler).for_pool(site, pool, "\n".join([*exports, worker_init(site, pool)]))
    provider.place(folder, label)
    return provider


def driver_command(provider: BatchBlocks, generation: int, words: Sequence[str]) -> str:
    """The command that the job runs: the command line ``words`` with SCRIPT set.

    Args:
        provider: From :func:`driver_blocks`.
        generation: Number of the job in the chain of jobs that one driver runs in.
        words: The command line.
    """
    return shlex.join(["env", f"{SCRIPT}={provider.files(str(generation)).script}", *words])


def driver_script(provider: BatchBlocks, generation: int, words: Sequence[str]) -> str:
    """The batch script of a driver job as it would be submitted. Arguments as for :func:`driver_command`."""
    return provider.render(str(generation), driver_command(provider, generation, words), provider.worker_init)  # type: ignore[attr-defined]


def submit_driver(provider: BatchBlocks, generation: int, words: Sequence[str]) -> str:
    """Submit a driver job and return its id. Raises SubmitRefused with the scheduler's words."""
    return provider.submit(driver_command(provider, generation, words), 1, str(generation))


def site_on_compute_node(site: Site) -> Site:
    """The site for a driver that runs on a compute node.

    A network address or interface of the login node does not exist there. It is dropped, so that workers try all
    addresses of the driver's node.
    """
    own, network = own_addresses(), site.network
    if network.address and network.address not in own.values():
        log.info(
            "this node does not have the address %s of the site file; workers try all of its addresses", network.address
        )
        return replace(site, network=Network())
    if network.interface and not set(network.interface.split()) & own.keys():
        log.info("this node has no interface %s of the site file; workers try all of its addresses", network.interface)
        return replace(site, network=Network())
    return site
