"""Several sites as one pool: whose events, attempts, demand and end are whose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import zmq

from pilotune.pipeline.campaign.cost_learner import CostLearner
from pilotune.pipeline.campaign.events import (
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
from pilotune.pipeline.campaign.placed_pool import GIVEN_UP, PlacedPool
from pilotune.pipeline.placement import Costs, Placement
from pilotune.pipeline.trial.protocol import AttemptSpec, ChannelAddress, Outcome, Started, Verdict
from pilotune.providers.blocks.orphaned_jobs import OrphanedJob
from pilotune.providers.blocks.shapes import PATIENCE
from pilotune.providers.htex.sites import SitesPool
from pilotune.providers.site import PoolSpec


class Part:
    """The workers of one site, whose events the test makes. Its blocks serve so many workers at most."""

    def __init__(self, *pools: str, most: int = 100):
        self.specs = tuple(PoolSpec(name, walltime=60.0) for name in pools)
        self.address = ChannelAddress(url=f"tcp://{pools[0]}")
        self.most, self.events, self.done = most, list[Event](), list[Action]()
        self.cleaned: list[OrphanedJob] | None = None
        self.left: list[str] = []
        self.given_up: dict[str, str] = {}
        self.dead: Sequence[Path] | None = None
        self.closed, self.trouble = 0, ""
        self.wakes, self.clock = 0, 0.0

    def wait(self, timeout: float) -> list[Event]:
        assert timeout == 0.0, "one site must not wait while another has events"
        events, self.events = self.events, []
        return events

    def perform(self, actions: Sequence[Action]) -> None:
        self.done += actions

    def now(self) -> float:
        return self.clock

    def pause(self, seconds: float) -> None: ...

    def watch(self, poller: zmq.Poller) -> None: ...

    def wake(self) -> None:
        self.wakes += 1

    def start(self, dead: Sequence[Path] = ()) -> None:
        self.dead = dead

    def clean_up(self, dead: Sequence[Path]) -> list[OrphanedJob] | None:
        return None

    def charges(self) -> dict[str, PoolCharge]:
        return {spec.name: PoolCharge(submitted=1) for spec in self.specs}

    def serves(self, workers: int) -> int:
        return min(workers, self.most)

    def close(self) -> None:
        self.closed += 1
        if self.trouble:
            raise RuntimeError(self.trouble)

    def take(self) -> list[Action]:
        done, self.done = self.done, []
        return done


def spec(number: int, **changes: object) -> AttemptSpec:
    fixed = {"study": "s", "attempt": 1, "directory": "", "seed": 0, "n_values": 1, "params": {}}
    return AttemptSpec(f"{number}.1.c", **{"number": number, "defines_space": False, **fixed, **changes})  # type: ignore[arg-type]


def ended(number: int) -> Ended:
    return Ended(Outcome(f"{number}.1.c", number, 1, "complete", [1.0]))


@pytest.fixture
def parts() -> dict[str, Part]:
    return {"theta": Part("knl", most=8), "polaris": Part("cpu", "gpu", most=4)}


@pytest.fixture
def pool(parts: dict[str, Part]) -> SitesPool:
    return SitesPool(parts)


def test_all_pools_are_known_before_any_site_has_workers(pool, parts):
    assert [each.name for each in pool.specs] == ["knl", "cpu", "gpu"]
    (capacity,) = pool.wait(0.0)
    assert capacity.pools == (PoolCapacity("knl", 0), PoolCapacity("cpu", 0), PoolCapacity("gpu", 0))
    parts["theta"].events = [Capacity(8, 0.1, frozenset({"n1"}), in_flight=9, busy=2.0)]
    (capacity,) = pool.wait(0.0)
    both = PoolCapacity("cpu", 1, frozenset({"m1"})), PoolCapacity("gpu", 2, frozenset({"m2"}))
    parts["polaris"].events = [Capacity(3, 0.3, frozenset({"m1", "m2"}), pools=both)]
    (capacity,) = pool.wait(0.0)
    knl = PoolCapacity("knl", 8, frozenset({"n1"}), 9)
    assert capacity == Capacity(11, 0.3, frozenset({"n1", "m1", "m2"}), 9, 2.0, (knl, *both))
    assert pool.wait(0.0) == []


def test_each_attempt_has_the_channel_of_its_site_and_its_answers_go_there(pool, parts):
    pool.perform([Submit(spec(1), "gpu"), Submit(spec(2), "knl"), Quarantine("n7", "it fails trials")])
    (sent, quarantine) = parts["polaris"].take()
    assert sent == Submit(replace(spec(1), channel=parts["polaris"].address), "gpu")
    assert parts["theta"].take()[0].spec.channel.url == "tcp://knl"
    assert quarantine == Quarantine("n7", "it fails trials")
    pool.perform([StopAttempt("2.1.c", "yield"), Reply(Verdict("1.1.c", 1, "continue"))])
    assert [type(each) for each in parts["theta"].take()] == [StopAttempt]
    assert [type(each) for each in parts["polaris"].take()] == [Reply]
    parts["theta"].events = [Started("2.1.c", "n1", 1, "0", "0"), ended(2)]
    assert [type(each) for each in pool.wait(0.0)] == [Started, Ended, Capacity]


def test_hosts_of_the_same_name_at_two_sites_are_told_apart(pool, parts):
    parts["theta"].events = [Capacity(1, hosts=frozenset({"n1"}))]
    parts["polaris"].events = [Capacity(2, hosts=frozenset({"n1", "m1"}))]
    (capacity,) = pool.wait(0.0)
    assert capacity.hosts == {"n1", "n1@polaris", "m1"}
    assert [each.hosts for each in capacity.pools] == [{"n1"}, {"n1@polaris", "m1"}, {"n1@polaris", "m1"}]
    pool.perform([Submit(spec(1), "gpu"), Submit(spec(2), "knl")])
    parts["polaris"].events = [
        Started("1.1.c", "n1", 1, "0", "0"), Ended(replace(ended(1).outcome, host="n1")), Lost("2.1.c", "", host="m1")
    ]  # fmt: skip
    started, over, lost = (each for each in pool.wait(0.0) if not isinstance(each, Capacity))
    assert (started.host, over.outcome.host, lost.host) == ("n1@polaris", "n1@polaris", "m1")
    for part in parts.values():
        part.take()
    pool.perform([Quarantine("n1@polaris", "it fails trials"), Submit(spec(3, avoid=["n1@polaris", "n9"]), "knl")])
    assert parts["polaris"].take() == [Quarantine("n1", "it fails trials")]
    (sent,) = parts["theta"].take()
    assert sent.spec.avoid == ["n9"], "its own n1 may run the trial"


def test_blocks_charges_and_notes_of_all_sites_are_told_together(pool, parts):
    pool.wait(0.0)
    one, other = BlockView("knl", "0", "j1", "queued"), BlockView("gpu", "0", "j2", "running")
    parts["theta"].events = [BlocksSeen((one,)), Charged({"knl": PoolCharge(1)}), PoolNote("no answer")]
    parts["polaris"].events = [BlocksSeen((other,)), Charged({"cpu": PoolCharge(2), "gpu": PoolCharge(3)})]
    found = pool.wait(0.0)
    assert found[-2:] == [
        BlocksSeen((one, other)),
        Charged({"knl": PoolCharge(1), "cpu": PoolCharge(2), "gpu": PoolCharge(3)}),
    ]
    assert PoolNote("site theta: no answer") in found
    assert set(pool.charges()) == {"knl", "cpu", "gpu"}


def demands(part: Part) -> list[int]:
    return [each.workers for each in part.take() if isinstance(each, Scale)]


def test_the_next_site_serves_what_the_first_does_not(pool, parts):
    pool.perform([Scale(20, 5.0)])
    assert (demands(parts["theta"]), demands(parts["polaris"])) == ([20], [12])
    pool.wait(0.0)
    assert (demands(parts["theta"]), demands(parts["polaris"])) == ([], []), "nothing has changed"
    parts["theta"].most = 0  # its scheduler is away
    pool.wait(0.0)
    assert (demands(parts["theta"]), demands(parts["polaris"])) == ([], [20])
    pool.perform([Scale(3, 5.0)])
    parts["theta"].most = 8
    pool.wait(0.0)
    assert (demands(parts["theta"]), demands(parts["polaris"])) == ([3], [3, 0])


def test_workers_that_a_site_has_are_used_before_another_site_gets_more_blocks(pool, parts):
    parts["theta"].events, parts["polaris"].events = [Capacity(4)], [Capacity(2)]
    pool.wait(0.0)
    pool.perform([Scale(6, 5.0)])
    assert (demands(parts["theta"]), demands(parts["polaris"])) == ([4], [2])


def test_work_goes_to_the_site_whose_blocks_do_not_wait(pool, parts):
    pool.perform([Scale(4, 5.0)])
    assert (demands(parts["theta"]), demands(parts["polaris"])) == ([4], [0])
    parts["theta"].events = [BlocksSeen((BlockView("knl", "0", "j1", "queued", since=-PATIENCE),))]
    pool.wait(0.0)
    assert (demands(parts["theta"]), demands(parts["polaris"])) == ([], []), "not yet"
    parts["theta"].clock = 1.0
    pool.wait(0.0)
    assert (demands(parts["polaris"]), demands(parts["theta"])) == ([4], [0])
    parts["theta"].events = [BlocksSeen(())]
    pool.wait(0.0)
    assert (demands(parts["theta"]), demands(parts["polaris"])) == ([], []), "one that was withdrawn has waited, too"


def test_idle_workers_that_nothing_needs_leave_their_demand_to_the_other_site(pool, parts):
    parts["polaris"].events = [Capacity(4)]
    pool.wait(0.0)
    pool.perform([Scale(4, 5.0)])
    assert (demands(parts["theta"]), demands(parts["polaris"])) == ([0], [4])
    pool.perform([Scale(4, 5.0, most={"cpu": 1, "gpu": 0})])
    assert (demands(parts["theta"]), demands(parts["polaris"])) == ([3], [1])
    pool.perform([Scale(4, 5.0, most={"cpu": 1})])
    assert (demands(parts["theta"]), demands(parts["polaris"])) == ([0], [4]), "its other pool could have all"


def test_a_site_that_fails_is_closed_and_the_campaign_goes_on(pool, parts):
    pool.perform([Scale(20, None), Submit(spec(1), "knl"), Submit(spec(2), "gpu")])
    parts["theta"].events = [Capacity(8)]
    pool.wait(0.0)
    parts["theta"].events = [PoolFailed("site theta, pool knl: the scheduler refused the block")]
    events = pool.wait(0.0)
    assert Lost("1.1.c", "site theta was given up") in events
    assert [each.name for each in events[-1].pools] == ["cpu", "gpu"]  # type: ignore[union-attr]
    parts["theta"].events = [ended(1)]
    assert [each for each in pool.wait(0.0) if not isinstance(each, Charged)] == [], "nobody listens to it any more"
    assert demands(parts["polaris"]) == [12, 20]
    pool.perform([Submit(spec(3), "knl"), Submit(spec(4), "cpu")])
    lost = [each for each in pool.wait(0.0) if not isinstance(each, Charged)]
    assert lost == [Lost("3.1.c", "pool knl was given up before the attempt could begin")]
    pool.wake()
    assert (parts["theta"].wakes, parts["polaris"].wakes) == (0, 1)
    assert pool.given_up == {"theta": "site theta is given up: pool knl: the scheduler refused the block"}
    parts["polaris"].events = [PoolFailed("site polaris, pool cpu: no such queue")]
    (failure,) = [each for each in pool.wait(0.0) if not isinstance(each, Charged)]
    assert failure == PoolFailed(
        "site theta is given up: pool knl: the scheduler refused the block; "
        "site polaris is given up: pool cpu: no such queue"
    )
    pool.close()
    assert (parts["theta"].closed, parts["polaris"].closed) == (1, 1)


def test_blocks_of_a_site_that_was_given_up_cost_nothing_more_once_they_have_ended(pool, parts):
    begun = PoolCharge(submitted=1, living=((0.0, 5.0),))
    parts["theta"].events = [Charged({"knl": begun})]
    parts["polaris"].events = [Charged({"cpu": begun, "gpu": begun})]
    pool.wait(0.0)
    parts["theta"].events = [PoolFailed("site theta, pool knl: gone")]
    told: list[Charged] = []
    while not told:
        told = [event for event in pool.wait(0.01) if isinstance(event, Charged)]
    assert told == [Charged({"knl": PoolCharge(submitted=1), "cpu": begun, "gpu": begun})]
    assert not [event for event in pool.wait(0.0) if isinstance(event, Charged)], "once"


def test_what_only_the_failed_site_could_run_is_lost_and_no_attempt_before_its_workers_come(pool, parts):
    costs = Costs(["knl", "cpu", "gpu"])
    placed = PlacedPool(pool, Placement("learned", costs), CostLearner(costs))
    parts["polaris"].events = [Capacity(1, pools=(PoolCapacity("cpu", 1), PoolCapacity("gpu", 0)))]
    placed.wait(0.0)
    placed.perform([Submit(spec(1, pools=("knl",))), Submit(spec(2, pools=("cpu",)))])
    assert [each.spec.number for each in parts["polaris"].take() if isinstance(each, Submit)] == [2]
    assert not [each for each in placed.wait(0.0) if isinstance(each, Lost)]
    parts["theta"].events = [PoolFailed("site theta, pool knl: gone")]
    assert not [each for each in placed.wait(0.0) if isinstance(each, Lost)]
    assert [each for each in placed.wait(0.0) if not isinstance(each, Charged)] == [Lost("1.1.c", GIVEN_UP)]


def test_all_sites_are_closed_even_where_one_cannot_be(pool, parts):
    parts["theta"].trouble, parts["polaris"].left = "no answer", ["j7"]
    with pytest.raises(RuntimeError, match="no answer"):
        pool.close()
    assert parts["polaris"].closed == 1
    assert pool.left == ["j7"]
    pool.close()


def test_jobs_of_dead_drivers_are_ended_once_by_the_site_that_is_told_to(parts):
    pool, records = SitesPool(parts, cleaner="polaris"), [Path("jobs.jsonl")]
    pool.start(records)
    assert (list(parts["theta"].dead), list(parts["polaris"].dead)) == ([], records)  # type: ignore[arg-type]
    parts["polaris"].cleaned = []
    assert pool.cleaned == []
