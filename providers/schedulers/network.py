"""Chooses the addresses on which the driver listens, and those that workers try."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

import psutil

from ...errors import SiteError
from ..site import Site


@dataclass(frozen=True)
class Addresses:
    """Where workers find the driver.

    Attributes:
        bind: The address that the driver listens on; None for all of this host's.
        listed: The addresses that workers try, at least one. They use one that answers.
    """

    bind: str | None
    listed: tuple[str, ...]

    @property
    def interface(self) -> str:
        """The address in the form that ZeroMQ binds."""
        return self.bind or "*"


def driver_addresses(site: Site) -> Addresses:
    """The driver's addresses at a site, without asking a name server.

    They come from the site file's ``network``. By default the driver listens on all IPv4 addresses of this host, and
    workers try those that are not loopback addresses; on a local site both use 127.0.0.1.

    Raises:
        SiteError: The site file names an interface that this host does not have. The message lists those it has.
    """
    if site.scheduler == "local":
        return Addresses("127.0.0.1", ("127.0.0.1",))
    own = own_addresses()
    if site.network.address:
        address = site.network.address
        return Addresses(address if address in own.values() else None, (address,))
    if site.network.interface:
        found = next((own[name] for name in site.network.interface.split() if name in own), None)
        if found is None:
            has = ", ".join(f"{name} ({address})" for name, address in own.items())
            raise SiteError(f"site {site.name}: this host has no interface {site.network.interface!r}; it has {has}")
        return Addresses(found, (found,))
    outward = [address for address in own.values() if not ipaddress.ip_address(address).is_loopback]
    return Addresses(None, tuple(outward) or ("127.0.0.1",))


def own_addresses() -> dict[str, str]:
    """The interfaces of this host that are up: name -> first IPv4 address."""
    up = {name for name, state in psutil.net_if_stats().items() if state.isup}
    found = {}
    for name, addresses in psutil.net_if_addrs().items():
        ipv4 = [each.address for each in addresses if each.family == socket.AF_INET]
        if name in up and ipv4:
            found[name] = ipv4[0]
    return found
