"""How demand is shared among several sites, or pools of one site."""

from __future__ import annotations

import random

from pilotune.pipeline.campaign.events import BlockView
from pilotune.providers.blocks.demand import SharedDemand
from pilotune.providers.blocks.shapes import PATIENCE


class Pools:
    """Pools that serve so many workers each; keeps what each was told, in its order."""

    def __init__(self, **served: int):
        self.served, self.told = served, dict[str, int]()
        self.demand = SharedDemand(served)

    def share(self, workers: int, most: dict[str, int] | None = None, now: float = 0.0, **here: int) -> int:
        self.told = {}
        return self.demand.share(workers, {name: here.get(name, 0) for name in self.served}, self._serve, now, most)

    def _serve(self, name: str, workers: int) -> int:
        self.told[name] = workers
        return self.served[name]


def test_each_gets_what_those_before_it_do_not_serve() -> None:
    pools = Pools(a=8, b=4, c=10)
    assert pools.share(20) == 20
    assert pools.told == {"a": 20, "b": 12, "c": 8}
    assert pools.share(40) == 22


def test_workers_that_there_are_go_on_and_those_that_are_not_wanted_there_count_for_nothing() -> None:
    pools = Pools(a=8, b=4)
    pools.share(6, a=1, b=4)
    assert pools.told == {"a": 2, "b": 4}
    pools.share(6, {"b": 1}, a=1, b=4)
    assert pools.told == {"a": 5, "b": 1}, "three workers of b are idle and run nothing that is left"
    pools.share(6, {"a": 2})
    assert pools.told == {"a": 2, "b": 4}


def test_the_one_whose_blocks_do_not_wait_goes_first() -> None:
    pools = Pools(a=8, b=4)
    pools.demand.see("a", [BlockView("a", "0", "j1", "queued", since=0.0)], 0.0)
    pools.share(6, now=PATIENCE)
    assert list(pools.told.items()) == [("a", 6), ("b", 0)]
    pools.share(6, now=PATIENCE + 1.0)
    assert list(pools.told.items()) == [("b", 6), ("a", 2)]
    assert pools.demand.order == ("b", "a")


def test_nobody_is_told_more_than_there_is_and_all_is_served_where_that_is_possible() -> None:
    draw = random.Random(1)
    for _ in range(500):
        served = {name: draw.randint(0, 9) for name in "abc"}
        here = {name: draw.randint(0, served[name]) for name in "abc"}
        most = {name: draw.randint(0, 12) for name in "abc" if draw.random() < 0.5}
        pools, workers = Pools(**served), draw.randint(0, 30)
        found = pools.share(workers, most, **here)
        assert all(part <= min(workers, most.get(name, workers)) for name, part in pools.told.items())
        assert found == min(workers, sum(min(count, most.get(name, count)) for name, count in served.items()))
