"""The workers of several sites as one pool: each has Parsl, a scheduler, a network and a report channel of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import zmq

from ...pipeline.campaign.events import (
    Action,
    BlocksSeen,
    BlockView,
    Capacity,
    Charged,
    Ended,
    Event,
    Lost,
    PoolCapacity,
    PoolCharge,
    PoolFailed,
    PoolNote,
    Quarantine,
    Reply,
    Scale,
    StopAttempt,
    Submit,
)
from ...pipeline.campaign.pool import Pool
from ...pipeline.trial.protocol import ChannelAddress
from ..blocks.demand import SharedDemand
from ..blocks.orphaned_jobs import OrphanedJob
from ..site import PoolSpec
from .host_names import HostNames

log = logging.getLogger(__name__)


class SitePool(Pool, Protocol):
    """What the driver asks of the workers of its site or sites, beyond ``Pool``.

    Attributes:
        specs: The pools that are used.
        cleaned: What became of the jobs that dead drivers left; None before that is known.
        left: After ``close``, the ids of jobs that the scheduler did not end.
        given_up: Site -> why the campaign goes on without it, as a sentence.
    """

    specs: tuple[PoolSpec, ...]
    left: list[str]

    @property
    def cleaned(self) -> list[OrphanedJob] | None: ...

    @property
    def given_up(self) -> Mapping[str, str]: ...

    @property
    def address(self) -> ChannelAddress:
        """Where the workers reach the driver."""

    def charges(self) -> dict[str, PoolCharge]:
        """For how long each pool's blocks have held their nodes."""

    def views(self, now: float) -> tuple[BlockView, ...]:
        """The blocks as the user sees them at this moment (Unix seconds)."""

    def serves(self, workers: int) -> int:
        """How many of so many workers the blocks serve, or will."""

    def watch(self, poller: zmq.Poller) -> None:
        """Register with a poller what ends a ``wait``."""

    def wake(self) -> None:
        """End the current ``wait``; from any thread."""

    def start(self, dead: Sequence[Path] = ()) -> None:
        """Submit the first blocks, after ending the jobs of dead drivers, whose records these are."""

    def clean_up(self, dead: Sequence[Path]) -> list[OrphanedJob] | None:
        """End the jobs of dead drivers; submits nothing."""


class SitesPool:
    """Several sites as one; implements :class:`SitePool`.

    Events of all sites are taken in turn, and one poller waits for all of them, so that none delays another. A site
    that fails for good is closed in the background, while the campaign goes on with the pools of the others. Demand
    goes to the workers that there are, and then to the site whose blocks begin soonest, as far as it can serve it.

    Args:
        parts: The sites' pools by the site's name. Pools of all sites have different names.
        cleaner: The site whose thread ends the jobs of dead drivers, at all schedulers; by default the first.

    Attributes:
        parts: Those that have not been given up.

    ::

        pool = SitesPool({"theta": ParslPool(theta, ...), "polaris": ParslPool(polaris, ...)})
        pool.start()
        pool.perform([Scale(workers=8, expected=None), Submit(spec, pool="knl")])
    """

    def __init__(self, parts: Mapping[str, SitePool], cleaner: str = ""):
        self.parts = dict(parts)
        self._all = dict(parts)
        self._first = next(iter(parts.values()))
        self._cleaner = parts.get(cleaner, self._first)
        self.specs = tuple(spec for part in parts.values() for spec in part.specs)
        self.left: list[str] = []
        self.given_up: dict[str, str] = {}
        self._sites = {spec.name: name for name, part in parts.items() for spec in part.specs}
        self._homes: dict[str, str] = {}  # token -> site
        self._hosts = HostNames()
        self._demand = SharedDemand(parts)
        self._capacities = {
            name: Capacity(0, pools=tuple(PoolCapacity(spec.name, 0) for spec in part.specs))
            for name, part in parts.items()
        }
        self._changed = True  # whether the campaign is to get another capacity
        self._views: dict[str, tuple[BlockView, ...]] = {}
        self._charges: dict[str, PoolCharge] = {}
        self._notes: dict[str, str] = {}
        self._scale: Scale | None = None
        self._shares: dict[str, int] = {}  # site -> the demand that it was told
        self._lost: list[Event] = []
        self._closing: dict[str, threading.Thread] = {}  # by site
        self._failures: list[BaseException] = []
        self._watch_all()

    def _watch_all(self) -> None:
        self._poller = zmq.Poller()
        for part in self.parts.values():
            part.watch(self._poller)

    # -- SitePool -----------------------------------------------------------------------------------------------------

    @property
    def address(self) -> ChannelAddress:
        """The first site's; an attempt gets that of the site that it is submitted to."""
        return self._first.address

    @property
    def cleaned(self) -> list[OrphanedJob] | None:
        return self._cleaner.cleaned

    def charges(self) -> dict[str, PoolCharge]:
        return {name: charge for part in self._all.values() for name, charge in part.charges().items()}

    def views(self, now: float) -> tuple[BlockView, ...]:
        return tuple(view for part in self._all.values() for view in part.views(now))

    def serves(self, workers: int) -> int:
        return min(workers, sum(part.serves(workers) for part in self.parts.values()))

    def watch(self, poller: zmq.Poller) -> None:
        for part in self.parts.values():
            part.watch(poller)

    def wake(self) -> None:
        for part in tuple(self.parts.values())[:1]:
            part.wake()

    def start(self, dead: Sequence[Path] = ()) -> None:
        for part in self.parts.values():
            part.start(dead if part is self._cleaner else ())

    def clean_up(self, dead: Sequence[Path]) -> list[OrphanedJob] | None:
        return self._cleaner.clean_up(dead)

    # -- Pool ---------------------------------------------------------------------------------------------------------

    def now(self) -> float:
        return self._first.now()

    def pause(self, seconds: float) -> None:
        self._first.pause(seconds)

    def wait(self, timeout: float) -> list[Event]:
        self._share()
        events = self._collect()
        if not events:
            self._poller.poll(int(1000 * max(0.0, timeout)))
            events = self._collect()
        return events

    def perform(self, actions: Sequence[Action]) -> None:
        batches: dict[str, list[Action]] = {name: [] for name in self.parts}
        for action in actions:
            if isinstance(action, Submit):
                self._submit(action, batches)
            elif isinstance(action, Scale):
                self._scale, self._shares = action, {}
            elif isinstance(action, Quarantine):
                for name, batch in batches.items():
                    batch += self._hosts.quarantine(name, action)
            elif isinstance(action, Reply | StopAttempt):
                token = action.message.token if isinstance(action, Reply) else action.token
                home = self._homes.get(token)
                for name in batches if home is None else [home]:
                    batches[name].append(action)
            else:
                for batch in batches.values():
                    batch.append(action)
        for name, batch in batches.items():
            if batch:
                self.parts[name].perform(batch)
        self._share()

    def close(self) -> None:
        """End all blocks of all sites, side by side. Raises what one of them raised, once all are closed."""
        for name in list(self.parts):
            self._close(name)
        for thread in self._closing.values():
            thread.join()
        self._closing = {}
        self.left = [job for part in self._all.values() for job in part.left]
        if self._failures:
            raise self._failures.pop()

    # -- demand -------------------------------------------------------------------------------------------------------

    def _share(self) -> None:
        """Tell each site its part of the demand, where that has changed."""
        if self._scale is not None:
            here = {name: self._capacities[name].workers for name in self.parts}
            self._demand.share(self._scale.workers, here, self._serve, self.now(), self._most(self._scale))

    def _serve(self, name: str, workers: int) -> int:
        """Tell a site its part of the demand; returns how much of it the site serves."""
        if self._scale is not None and self._shares.get(name) != workers:
            self._shares[name] = workers
            self.parts[name].perform([replace(self._scale, workers=workers)])
        return self.parts[name].serves(workers)

    def _most(self, scale: Scale) -> dict[str, int]:
        """How many workers could be kept busy at each site at most; without those that could have all."""
        pools = {name: [spec.name for spec in part.specs] for name, part in self.parts.items()}
        return {
            name: sum(scale.most[pool] for pool in of) for name, of in pools.items() if all(p in scale.most for p in of)
        }

    # -- attempts -----------------------------------------------------------------------------------------------------

    def _submit(self, action: Submit, batches: Mapping[str, list[Action]]) -> None:
        token, site = action.spec.token, self._sites.get(action.pool, "")
        if site not in self.parts:
            self._lost.append(Lost(token, f"pool {action.pool} was given up before the attempt could begin"))
            return
        self._homes[token] = site
        own = self._hosts.submit(site, action)
        batches[site].append(replace(own, spec=replace(own.spec, channel=self.parts[site].address)))

    # -- events -------------------------------------------------------------------------------------------------------

    def _collect(self) -> list[Event]:
        """What has happened at all sites."""
        events, self._lost = self._lost, []
        for name, part in list(self.parts.items()):
            for event in part.wait(0.0):
                self._take(name, self._hosts.event(name, event), events)
        self._see_closed(events)
        if self._changed:
            self._changed = False
            events.append(self._whole())
        return events

    def _take(self, name: str, event: Event, events: list[Event]) -> None:
        """Take over an event of a site; one that comes with the site's failure is of no use."""
        if name not in self.parts:
            return
        if isinstance(event, Capacity):
            self._capacities[name], self._changed = self._by_pool(name, event), True
        elif isinstance(event, BlocksSeen):
            self._views[name] = event.blocks
            self._demand.see(name, event.blocks, self.now())
            events.append(BlocksSeen(tuple(view for views in self._views.values() for view in views)))
        elif isinstance(event, Charged):
            self._charges |= event.pools
            events.append(Charged(dict(self._charges)))
        elif isinstance(event, PoolNote):
            self._notes[name] = event.text
            events.append(self._note())
        elif isinstance(event, PoolFailed):
            self._give_up(name, event.reason, events)
        elif isinstance(event, Ended | Lost):
            token = event.outcome.token if isinstance(event, Ended) else event.token
            if self._homes.pop(token, None) is not None:  # else it was lost with its site
                events.append(event)
        else:
            events.append(event)

    def _note(self) -> PoolNote:
        notes = [f"site {name}: {text}" for name, text in self._notes.items() if text]
        return PoolNote("; ".join(notes))

    def _by_pool(self, name: str, capacity: Capacity) -> Capacity:
        """The capacity of a site, where one with a single pool does not say what that can run."""
        if capacity.pools:
            return capacity
        pools = [
            PoolCapacity(spec.name, capacity.workers, capacity.hosts, capacity.in_flight)
            for spec in self.parts[name].specs
        ]
        return replace(capacity, pools=tuple(pools))

    def _whole(self) -> Capacity:
        known = self._capacities.values()
        wanted = [each.in_flight for each in known if each.in_flight is not None]
        busy = [each.busy for each in known if each.busy is not None]
        return Capacity(
            workers=sum(each.workers for each in known),
            latency=max((each.latency for each in known), default=0.0),
            hosts=frozenset().union(*(each.hosts for each in known)),
            in_flight=sum(wanted) if wanted else None,
            busy=sum(busy) if busy else None,
            pools=tuple(pool for each in known for pool in each.pools),
        )

    # -- sites that fail ----------------------------------------------------------------------------------------------

    def _give_up(self, name: str, reason: str, events: list[Event]) -> None:
        """Go on without a site: what it ran is lost. Without any site the campaign ends."""
        self.given_up[name] = f"site {name} is given up: {reason.removeprefix(f'site {name}, ')}"
        if len(self.parts) == 1:
            events.append(PoolFailed("; ".join(self.given_up.values())))
            return
        log.error("%s", self.given_up[name])
        self._close(name)
        self._watch_all()
        self._capacities.pop(name)
        self._changed = True
        self._notes.pop(name, None)
        self._views.pop(name, None)
        lost = [token for token, home in self._homes.items() if home == name]
        for token in lost:
            del self._homes[token]
        events += [Lost(token, f"site {name} was given up") for token in lost]
        events += [BlocksSeen(tuple(view for views in self._views.values() for view in views)), self._note()]

    def _close(self, name: str) -> None:
        """Close the pool of a site in the background: its scheduler may take minutes to answer."""
        part = self.parts.pop(name)
        thread = threading.Thread(target=self._guarded, args=(part.close,), name=f"close {name}")
        self._closing[name] = thread
        thread.start()

    def _see_closed(self, events: list[Event]) -> None:
        """Take over what the blocks of sites that were given up have cost, once they have ended."""
        closed = [name for name, thread in self._closing.items() if not thread.is_alive()]
        for name in closed:
            del self._closing[name]
            self._charges |= self._all[name].charges()
        if closed:
            events.append(Charged(dict(self._charges)))

    def _guarded(self, close: Callable[[], None]) -> None:
        try:
            close()
        except BaseException as error:  # raised again by close(), which waits for this thread
            self._failures.append(error)
