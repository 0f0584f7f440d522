"""Notes on a site file and a study that can run, but perhaps not as its user means it."""

from __future__ import annotations

import socket

from ...grammar import count
from ..site import Site
from .resources import TrialResources, pool_uses, trials_per_node


def site_notes(site: Site) -> list[str]:
    """Notes on the site alone: its name, and its network interface; a sentence each."""
    return [*_name_note(site), *_interface_note(site)]


def shared_notes(site: Site) -> list[str]:
    """Notes on several sites that one campaign uses; a sentence each."""
    if not site.parts:
        return []
    notes = [f"the nodes of all these sites must see {site.runs}; the first site with `runs:` decides where that is"]
    if any(part.scheduler == "local" for part in site.parts):
        notes.append("a part of the trials runs on this host, beside what others do here; --set limits its workers")
    return notes


def study_notes(site: Site, resources: TrialResources) -> list[str]:
    """Notes on what such trials make of the pools that they would use; a sentence each."""
    notes = []
    used = [use.pool for use in pool_uses(site, resources) if not use.why_not]
    for pool in [] if resources.packed else used:  # which counts cores itself
        each, cores = trials_per_node(pool, resources), pool.cores_per_node
        if cores and each * resources.cores > cores:
            notes.append(
                f"pool {pool.name} runs {count(each, 'trial')} at a time on a node, but a node has {_cores(cores)}; "
                f"workers_per_node: {cores} would give each its own"
            )
        elif not cores and resources.cores > 1 and each > 1:
            notes.append(
                f"pool {pool.name} runs {each} trials of {_cores(resources.cores)} at a time on a node, whose cores "
                "are not known; with cores_per_node, only as many run as fit"
            )
    gpus = any(each.gpus for each in resources.sizes or (resources,))
    if site.scheduler != "local" and used and not gpus and all(pool.gpus_per_node for pool in used):
        names = ", ".join(pool.name for pool in used)
        which = f"pool {names} has" if len(used) == 1 else f"pools {names} have"
        notes.append(
            f"the trials use no GPU, but their {which} GPUs; write `trial: {{gpus: 1}}` in the study file if they "
            "should, or switch on a pool without GPUs"
        )
    return notes


def _name_note(site: Site) -> list[str]:
    given = site.source.data.get("name") if site.source else None
    if given is None or site.path is None or site.path.stem == given:
        return []
    says = f"the site file {site.path.name} says `name: {given}`, which messages use"
    return [f"{says}; without `name` it is {site.path.stem}"]


def _interface_note(site: Site) -> list[str]:
    own = [name for _, name in socket.if_nameindex()]
    if not site.network.interface or site.network.interface in own:
        return []
    network = site.source.data.get("network") if site.source else None
    given = network.get("interface") if isinstance(network, dict) else None
    names = " or ".join(given) if isinstance(given, list) else site.network.interface
    return [
        f"this host has no network interface {names} (it has {', '.join(own)}); a driver on this host cannot start "
        "unless network.interface names one of them"
    ]


def _cores(number: int) -> str:
    return f"{number} core{'s' if number > 1 else ''}"
