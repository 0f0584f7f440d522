"""What the hosts of several sites are called in one campaign: two sites may have hosts of the same name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ...pipeline.campaign.events import Capacity, Ended, Event, Lost, Quarantine, Submit
from ...pipeline.trial.protocol import Started


class HostNames:
    """Tells hosts of the same name at two sites apart, so that a quarantine is of one of them.

    The campaign calls a host as its site does, and the second site's host of that name ``HOST@SITE``.

    >>> names = HostNames()
    >>> names.here("theta", "n1"), names.here("polaris", "n1"), names.here("theta", "n1")
    ('n1', 'n1@polaris', 'n1')
    >>> names.at("polaris", "n1@polaris"), names.at("polaris", "n1"), names.at("polaris", "n9")
    ('n1', None, 'n9')
    """

    def __init__(self) -> None:
        self._here: dict[tuple[str, str], str] = {}  # site and host -> the name in the campaign
        self._whose: dict[str, tuple[str, str]] = {}  # the other way round

    def here(self, site: str, host: str) -> str:
        """The campaign's name of a site's host; empty where no host is known."""
        key = (site, host)
        if host and key not in self._here:
            name = host if host not in self._whose else f"{host}@{site}"
            self._here[key], self._whose[name] = name, key
        return self._here.get(key, "")

    def at(self, site: str, name: str) -> str | None:
        """The host at a site that the campaign calls so; None for another site's. One not seen yet is at any."""
        whose, host = self._whose.get(name, (site, name))
        return host if whose == site else None

    def event(self, site: str, event: Event) -> Event:
        """An event of a site as the campaign gets it."""
        if isinstance(event, Capacity):
            pools = tuple(replace(pool, hosts=self._all(site, pool.hosts)) for pool in event.pools)
            return replace(event, hosts=self._all(site, event.hosts), pools=pools)
        if isinstance(event, Lost | Started):
            return replace(event, host=self.here(site, event.host))
        if isinstance(event, Ended):
            return Ended(replace(event.outcome, host=self.here(site, event.outcome.host)))
        return event

    def submit(self, site: str, action: Submit) -> Submit:
        """The submission of an attempt as the site gets it: of the hosts to avoid only its own."""
        avoid = [host for name in action.spec.avoid if (host := self.at(site, name)) is not None]
        return replace(action, spec=replace(action.spec, avoid=avoid))

    def quarantine(self, site: str, action: Quarantine) -> list[Quarantine]:
        """A quarantine as the site gets it; nothing where the host is another site's."""
        host = self.at(site, action.host)
        return [] if host is None else [replace(action, host=host)]

    def _all(self, site: str, hosts: Iterable[str]) -> frozenset[str]:
        return frozenset(self.here(site, host) for host in hosts)
