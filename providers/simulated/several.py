"""Several simulated pools on one clock, as one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

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
    Reply,
    Scale,
    StopAttempt,
    Submit,
    pool_of_key,
)
from ..blocks.demand import SharedDemand
from .blocks import NAME
from .pool import SimulatedPool


class SimulatedPools:
    """The pools of one or several simulated sites; implements :class:`~pilotune.pipeline.campaign.pool.Pool`.

    Demand is shared by the rule of real sites.

    Args:
        pools: By name, on the same clock.

    Attributes:
        demand: Shares the demand.

    ::

        time = VirtualTime()
        pools = SimulatedPools({"cpu": SimulatedPool(8, slow, time=time), "gpu": SimulatedPool(2, fast, time=time)})
        pools.perform([Submit(spec, "gpu")])
    """

    def __init__(self, pools: Mapping[str, SimulatedPool]):
        self.pools = dict(pools)
        self.time = next(iter(self.pools.values())).time
        self._homes: dict[str, str] = {}  # token -> pool
        self._capacities = {name: Capacity(0) for name in self.pools}
        self._views: dict[str, tuple[BlockView, ...]] = {}
        self._charges: dict[str, PoolCharge] = {}
        self._events: list[Event] = []
        self.demand = SharedDemand(self.pools)
        self._scale: Scale | None = None
        self._shares: dict[str, int] = {}  # pool -> the demand that it was told

    # -- Pool ---------------------------------------------------------------------------------------------------------

    def now(self) -> float:
        return self.time.now

    def pause(self, seconds: float) -> None:
        self.time.advance(seconds)

    def wait(self, timeout: float) -> list[Event]:
        end = self.time.now + timeout
        self._share()
        self._collect()
        while not self._events and self.time.step(end):
            self._collect()
        events, self._events = self._events, []
        return events

    def perform(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Submit):
                self._submit(action)
            elif isinstance(action, Scale):
                self._scale, self._shares = action, {}
                self._share()
            elif isinstance(action, Reply | StopAttempt):
                token = action.message.token if isinstance(action, Reply) else action.token
                home = self._homes.get(token)
                for name, pool in self._each():
                    if home in (None, name):
                        pool.perform([action])
            else:
                for _, pool in self._each():
                    pool.perform([action])

    def close(self) -> None:
        for pool in self.pools.values():
            pool.close()

    # -- pools --------------------------------------------------------------------------------------------------------

    def _each(self) -> Iterator[tuple[str, SimulatedPool]]:
        """The pools by name. What one of them is told takes time, in which another may be given up."""
        for name in list(self.pools):
            if name in self.pools:
                yield name, self.pools[name]

    def vanish(self, name: str) -> None:
        """A pool is given up: what it runs is lost, and it does not come back. The last pool stays."""
        if name not in self.pools or len(self.pools) == 1:
            return
        self._collect()
        gone = self.pools.pop(name)
        gone.close()
        for event in gone.take_events():
            if isinstance(event, Charged):
                self._take_charges(name, event)
        self._capacities.pop(name, None)
        self._views.pop(name, None)
        lost = [token for token, home in self._homes.items() if home == name]
        for token in lost:
            del self._homes[token]
        self._events += [Lost(token, f"pool {name} was given up") for token in lost]
        self._tell_capacity()

    def _take_charges(self, name: str, event: Charged) -> None:
        self._charges |= {key.replace(NAME, name, 1): charge for key, charge in event.pools.items()}
        self._events.append(Charged(dict(self._charges)))

    def _submit(self, action: Submit) -> None:
        if action.pool not in self.pools:
            self._events.append(Lost(action.spec.token, f"pool {action.pool} was given up"))
            return
        self._homes[action.spec.token] = action.pool
        self.pools[action.pool].perform([Submit(action.spec)])

    def _share(self) -> None:
        """Tell each pool its part of the demand, where that has changed."""
        if self._scale is not None:
            here = {name: capacity.workers for name, capacity in self._capacities.items()}
            self.demand.share(self._scale.workers, here, self._serve, self.now(), self._scale.most)

    def _serve(self, name: str, workers: int) -> int:
        """Tell a pool its part of the demand; returns how much of it the pool serves, or will."""
        scale, pool = self._scale, self.pools.get(name)
        if scale is None or pool is None:  # given up while another one was told
            return 0
        if self._shares.get(name) != workers:
            self._shares[name] = workers
            blocks = None if scale.blocks is None else _of_pool(name, scale.blocks)
            spent = frozenset(_of_pool(name, scale.spent))
            pool.perform([replace(scale, workers=workers, blocks=blocks, spent=spent)])
        return pool.serves(workers)

    def _collect(self) -> None:
        """Take over what has happened in the pools."""
        for name, pool in self._each():
            for event in pool.take_events():
                if isinstance(event, Capacity):
                    self._capacities[name] = event
                    self._tell_capacity()
                elif isinstance(event, BlocksSeen):
                    self._views[name] = tuple(replace(view, pool=name) for view in event.blocks)
                    self.demand.see(name, self._views[name], self.now())
                    self._events.append(BlocksSeen(tuple(view for views in self._views.values() for view in views)))
                elif isinstance(event, Charged):
                    self._take_charges(name, event)
                else:
                    self._events.append(self._of_pool(event, name))

    def _of_pool(self, event: Event, name: str) -> Event:
        if isinstance(event, Ended):
            self._homes.pop(event.outcome.token, None)
            return Ended(replace(event.outcome, pool=name))
        if isinstance(event, Lost):
            self._homes.pop(event.token, None)
        return event

    def _tell_capacity(self) -> None:
        known = self._capacities
        wanted = [each.in_flight for each in known.values() if each.in_flight is not None]
        busy = [each.busy for each in known.values() if each.busy is not None]
        self._events.append(
            Capacity(
                workers=sum(each.workers for each in known.values()),
                latency=max(each.latency for each in known.values()),
                hosts=frozenset().union(*(each.hosts for each in known.values())),
                in_flight=sum(wanted) if wanted else None,
                busy=sum(busy) if busy else None,
                pools=tuple(PoolCapacity(name, c.workers, c.hosts, c.in_flight) for name, c in known.items()),
            )
        )


def _of_pool(name: str, found: Mapping[str, int] | Collection[str]) -> dict[str, int]:
    """What concerns one of the pools, by the name that it has for itself; the values where there are some."""
    of = found if isinstance(found, Mapping) else dict.fromkeys(found, 0)
    return {key.replace(name, NAME, 1): value for key, value in of.items() if pool_of_key(key) == name}
