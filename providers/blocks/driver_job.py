"""The driver as a batch job of one node: what is submitted by ``pilotune run --in-job``."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..htex.executors import worker_init
from ..schedulers.batch import BatchBlocks
from ..schedulers.network import own_addresses
from ..schedulers.registry import provider_class
from ..site import Network, PoolSpec, Site

log = logging.getLogger(__name__)

POOL = "driver"
"""Stands for the pool's name in file and job names."""

SCRIPT = "PILOTUNE_DRIVER_SCRIPT"
"""Environment variable by which a driver knows that it runs in such a job, and in which."""

PASSED_ON = (
    *("PATH", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "PILOTUNE_SITES", "PILOTUNE_RUNS"),
    *("PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSFILE", "PGSERVICE", "PGSERVICEFILE"),
    *("PGSSLMODE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY"),
)
"""Environment variables that the job gets, where they are set. Not every scheduler hands on the environment, and a
password is nothing for a script."""


def passed_on() -> dict[str, str]:
    """Those that are set here."""
    return {name: os.environ[name] for name in PASSED_ON if os.environ.get(name)}


def driver_blocks(site: Site, folder: Path, label: str, environment: Mapping[str, str]) -> BatchBlocks:
    """The provider of driver jobs at a site.

    Args:
        site: A site with a scheduler; its ``driver`` says what the job gets.
        folder: Where scripts and output go.
        label: Part of the job names.
        environment: Variables that are set in the job, before the site's modules are loaded.
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
    """What the job runs: the command line ``words``, which is told of the job that it is in."""
    return shlex.join(["env", f"{SCRIPT}={provider.files(str(generation)).script}", *words])


def driver_script(provider: BatchBlocks, generation: int, words: Sequence[str]) -> str:
    """The batch script of a driver job, as it would be submitted."""
    return provider.render(str(generation), driver_command(provider, generation, words), provider.worker_init)  # type: ignore[attr-defined]


def submit_driver(provider: BatchBlocks, generation: int, words: Sequence[str]) -> str:
    """Submit a driver job; returns its id. Raises SubmitRefused with the scheduler's words."""
    return provider.submit(driver_command(provider, generation, words), 1, str(generation))


def where_it_runs(site: Site) -> Site:
    """The site as a driver on a compute node sees it: an address or an interface of the login node is none of its own.

    Without them workers try all addresses of the driver's node.
    """
    own, network = own_addresses(), site.network
    if network.address and network.address not in own.values():
        log.info(
            "this node does not have the address %s of the site file; workers try all that it has", network.address
        )
        return replace(site, network=Network())
    if network.interface and not set(network.interface.split()) & own.keys():
        log.info("this node has no interface %s of the site file; workers try all that it has", network.interface)
        return replace(site, network=Network())
    return site
