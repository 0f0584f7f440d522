"""Attempts on several pools: where they wait, when they are given to a pool, and what is learned of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState

from pilotune.pipeline.campaign.cost_learner import CostLearner
from pilotune.pipeline.campaign.events import (
    Action,
    Capacity,
    Ended,
    Event,
    Lost,
    PoolCapacity,
    Reply,
    Scale,
    StopAttempt,
    StopRequested,
    Submit,
)
from pilotune.pipeline.campaign.past_costs import PastCosts
from pilotune.pipeline.campaign.placed_pool import UNASKED, PlacedPool
from pilotune.pipeline.placement import Costs, Placement
from pilotune.pipeline.trial.protocol import AttemptSpec, Outcome, Report, Started, Verdict


class Machines:
    """Pools whose events the test makes."""

    def __init__(self) -> None:
        self.time, self.events, self.done = 0.0, list[Event](), list[Action]()

    def now(self) -> float:
        return self.time

    def wait(self, timeout: float) -> list[Event]:
        events, self.events = self.events, []
        return events

    def perform(self, actions: Sequence[Action]) -> None:
        self.done += actions

    def pause(self, seconds: float) -> None: ...

    def close(self) -> None: ...

    @property
    def submitted(self) -> list[tuple[str, str]]:
        return [(each.spec.token, each.pool) for each in self.done if isinstance(each, Submit)]

    @property
    def scales(self) -> list[Scale]:
        return [each for each in self.done if isinstance(each, Scale)]


class Noted(Costs):
    """Costs that keep what they are told."""

    def __init__(self, pools: Sequence[str]) -> None:
        super().__init__(pools)
        self.notes: list[tuple] = []

    def note(self, params, pool, seconds, **more) -> None:  # type: ignore[no-untyped-def, override]
        self.notes.append((dict(params), pool, seconds, more))
        super().note(params, pool, seconds, **more)

    def failed_by_memory(self, params, pool, limit=None) -> None:  # type: ignore[no-untyped-def]
        self.notes.append((dict(params), pool, "memory", limit))
        super().failed_by_memory(params, pool, limit)


def spec(token: str, **changes: object) -> AttemptSpec:
    fixed = {"study": "s", "number": int(token.split(".")[0]), "attempt": 1, "directory": "", "seed": 0, "n_values": 1}
    return AttemptSpec(token=token, **{"params": {"x": 1.0}, "defines_space": False, **fixed, **changes})  # type: ignore[arg-type]


def capacity(**workers: int) -> Capacity:
    rooms = tuple(PoolCapacity(name, count, frozenset({f"{name}-1"})) for name, count in workers.items())
    return Capacity(sum(workers.values()), 0.0, pools=rooms)


def outcome(token: str, kind: str = "complete", ran: float = 8.0, **more: object) -> Ended:
    return Ended(Outcome(token, int(token[0]), 1, kind, started=100.0, finished=100.0 + ran, **more))  # type: ignore[arg-type]


@pytest.fixture
def machines() -> Machines:
    return Machines()


@pytest.fixture
def costs() -> Noted:
    return Noted(["cpu", "gpu"])


@pytest.fixture
def pool(machines: Machines, costs: Noted) -> PlacedPool:
    return PlacedPool(machines, Placement("fifo", costs), CostLearner(costs))


def learned_pool(machines: Machines, costs: Costs, memory: dict[str, float] | None = None) -> PlacedPool:
    return PlacedPool(machines, Placement("learned", costs), CostLearner(costs), memory)


def idle_for(pool: PlacedPool, machines: Machines, *attempts: AttemptSpec, seconds: float, **workers: int) -> None:
    """These attempts end, none come for so many seconds while there are workers, and then there are none."""
    tell(pool, machines, capacity(**workers))
    pool.perform([*map(Submit, attempts), Scale(4)])
    tell(pool, machines, *(outcome(each.token) for each in attempts))
    machines.time += seconds
    pool.wait(0.0)
    tell(pool, machines, capacity(**dict.fromkeys(workers, 0)))


def tell(pool: PlacedPool, machines: Machines, *events: Event) -> list[Event]:
    machines.events += events
    return pool.wait(0.0)


def test_attempts_wait_until_a_pool_has_a_worker_and_each_pool_gets_as_many_as_it_has(
    pool: PlacedPool, machines: Machines
) -> None:
    pool.perform([Submit(spec(f"{n}.1.c")) for n in range(4)])
    assert machines.submitted == []
    tell(pool, machines, capacity(cpu=2, gpu=1))
    assert sorted(home for _, home in machines.submitted) == ["cpu", "cpu", "gpu"]
    assert [token for token, _ in machines.submitted] == ["0.1.c", "1.1.c", "2.1.c"]


def test_a_worker_that_becomes_free_takes_the_next_attempt_in_the_same_call(
    pool: PlacedPool, machines: Machines
) -> None:
    tell(pool, machines, capacity(cpu=1, gpu=1))
    pool.perform([Submit(spec(f"{n}.1.c")) for n in range(3)])
    home = dict(machines.submitted)["0.1.c"]
    events = tell(pool, machines, Started("0.1.c", "h", 1, "0", "0"), outcome("0.1.c"))
    assert isinstance(events[-1], Ended)
    assert machines.submitted[-1] == ("2.1.c", home)


def test_an_attempt_runs_only_where_it_may(pool: PlacedPool, machines: Machines) -> None:
    tell(pool, machines, capacity(cpu=4, gpu=1))
    pool.perform([Submit(spec(f"{n}.1.c", pools=["gpu"])) for n in range(3)])
    assert machines.submitted == [("0.1.c", "gpu")]


def test_an_attempt_avoids_a_pool_that_has_only_hosts_which_it_avoids(pool: PlacedPool, machines: Machines) -> None:
    tell(pool, machines, capacity(cpu=4, gpu=1))
    pool.perform([Submit(spec("0.1.c", avoid=["cpu-1"])), Submit(spec("1.1.c", avoid=["cpu-1", "gpu-1"]))])
    homes = dict(machines.submitted)
    assert homes == {"0.1.c": "gpu", "1.1.c": "cpu"}, "for the latter there is no other host"


def test_an_attempt_whose_pools_were_all_given_up_is_lost(pool: PlacedPool, machines: Machines) -> None:
    tell(pool, machines, capacity(cpu=0, gpu=0))
    pool.perform([Submit(spec("0.1.c", pools=["gpu"])), Submit(spec("1.1.c"))])
    tell(pool, machines, capacity(cpu=0))
    pool.perform([Submit(spec("2.1.c", pools=["gpu"]))])
    lost = pool.wait(0.0)
    assert [event.token for event in lost if isinstance(event, Lost)] == ["0.1.c", "2.1.c"]
    tell(pool, machines, capacity(cpu=1))
    assert machines.submitted == [("1.1.c", "cpu")]


def test_an_attempt_that_is_stopped_while_it_waits_is_lost_and_others_are_stopped_by_their_pool(
    pool: PlacedPool, machines: Machines
) -> None:
    tell(pool, machines, capacity(cpu=1, gpu=0))
    pool.perform([Submit(spec("0.1.c")), Submit(spec("1.1.c"))])
    pool.perform([StopAttempt("0.1.c", "kill"), StopAttempt("1.1.c", "kill"), Reply(Verdict("0.1.c", 1, ""))])
    assert StopAttempt("0.1.c", "kill") in machines.done
    assert StopAttempt("1.1.c", "kill") not in machines.done
    assert Reply(Verdict("0.1.c", 1, "")) in machines.done
    assert pool.wait(0.0) == [Lost("1.1.c", "it was stopped before it had begun")]


def test_the_campaign_may_ask_for_some_attempts_to_choose_from(machines: Machines, costs: Noted) -> None:
    learned = learned_pool(machines, costs)
    (told,) = tell(learned, machines, capacity(cpu=2, gpu=1))
    assert isinstance(told, Capacity)
    assert 0 < told.choice <= 2 * 2 + 16
    (told,) = tell(learned, machines, capacity(cpu=2))
    assert isinstance(told, Capacity)
    assert told.choice == 0, "one pool has nothing to choose for"


def test_demand_for_a_pool_is_no_more_than_what_may_run_there(pool: PlacedPool, machines: Machines) -> None:
    tell(pool, machines, capacity(cpu=0, gpu=0))
    pool.perform([Submit(spec("0.1.c", pools=["gpu"])), Submit(spec("1.1.c"))])
    pool.perform([Scale(10)])
    assert machines.done == [Scale(10, most={"cpu": 5})], "any of them may run in gpu"


def test_attempts_whose_pools_were_given_up_say_nothing_of_where_the_next_ones_may_run(
    pool: PlacedPool, machines: Machines
) -> None:
    tell(pool, machines, capacity(cpu=0, gpu=0))
    pool.perform([Submit(spec("0.1.c", pools=["gpu"])), Scale(10)])
    assert machines.scales[-1] == Scale(10, most={"cpu": 0}), "the next ones are like it"
    tell(pool, machines, capacity(cpu=0))
    pool.perform([Scale(9)])
    assert machines.scales[-1] == Scale(9), "otherwise no pool would get workers, and no attempt would be asked for"


def test_no_worker_is_kept_for_attempts_that_run_elsewhere_once_no_more_will_come(
    pool: PlacedPool, machines: Machines
) -> None:
    tell(pool, machines, capacity(cpu=2, gpu=2))
    pool.perform([Submit(spec("0.1.c", pools=["cpu"])), Submit(spec("1.1.c")), Submit(spec("2.1.c"))])
    pool.perform([Scale(3)])
    homes = dict(machines.submitted)
    load = {name: list(homes.values()).count(name) for name in ("cpu", "gpu")}
    assert machines.scales[-1] == Scale(3, most=load), "all run, so each pool needs what it has"
    for token in [token for token, home in homes.items() if home == "gpu"]:
        tell(pool, machines, Started(token, "h", 1, "0", "0"), outcome(token))
    pool.perform([Scale(load["cpu"])])
    assert machines.scales[-1] == Scale(load["cpu"], most={"cpu": load["cpu"], "gpu": 0})


def test_a_pool_is_let_go_once_nothing_has_come_for_it_and_wanted_again_with_the_next_attempt(
    pool: PlacedPool, machines: Machines
) -> None:
    tell(pool, machines, capacity(cpu=1, gpu=2))
    pool.perform([Submit(spec("0.1.c", pools=["gpu"])), Scale(100)])
    assert machines.scales[-1] == Scale(100, most={"cpu": 0}), "gpu may have all of them"
    tell(pool, machines, Started("0.1.c", "h", 1, "0", "0"), outcome("0.1.c"))
    pool.perform([Submit(spec(f"{n}.1.c", pools=["cpu"])) for n in (1, 2)])
    machines.time, told = UNASKED - 1.0, len(machines.scales)
    pool.wait(0.0)
    assert len(machines.scales) == told, "the campaign's demand has not changed"
    machines.time = UNASKED
    pool.wait(0.0)
    assert machines.scales[-1] == Scale(100, most={"cpu": 2 + 66, "gpu": 0}), "it is told although it has not changed"
    tell(pool, machines, capacity(cpu=1, gpu=0))
    assert len(machines.scales) == told + 1, "its blocks were ended, and none is begun again"
    pool.perform([Submit(spec("3.1.c", pools=["gpu"]))])
    pool.wait(0.0)
    assert machines.scales[-1] == Scale(100, most={"cpu": 2 + 49, "gpu": 1 + 49})


def test_not_all_pools_are_let_go_while_more_attempts_will_come(pool: PlacedPool, machines: Machines) -> None:
    attempts = spec("0.1.c", pools=["gpu"]), spec("1.1.c", pools=["cpu"])
    idle_for(pool, machines, *attempts, seconds=1000.0, cpu=1, gpu=1)  # the sampler waits, or the driver was suspended
    assert machines.scales[-1] == Scale(4, most={"cpu": 2, "gpu": 2}), "nothing can come before there are workers"


@pytest.mark.parametrize(("pools", "most"), [(["gpu"], {"cpu": 0}), ([], {"gpu": 0})])
def test_a_pool_is_let_go_only_where_another_may_run_the_next_attempts(
    pool: PlacedPool, machines: Machines, pools: list[str], most: dict[str, int]
) -> None:
    idle_for(pool, machines, spec("0.1.c", pools=pools), seconds=2 * UNASKED, cpu=0, gpu=1)
    assert machines.scales[-1] == Scale(4, most=most), "the other one may have all of them"


def test_full_pools_want_more_workers_however_long_their_attempts_run(pool: PlacedPool, machines: Machines) -> None:
    tell(pool, machines, capacity(cpu=1, gpu=0))
    pool.perform([Submit(spec("0.1.c")), Scale(100)])
    assert machines.scales[-1] == Scale(100)
    machines.time = 1000.0
    pool.wait(0.0)
    pool.perform([Scale(100)])
    assert machines.scales[-1] == Scale(100), "both may have all of them"


@pytest.mark.parametrize("first", [0, 1, 7])
def test_a_complete_attempt_says_what_a_trial_costs_and_one_that_was_pruned_what_a_step_costs(
    pool: PlacedPool, machines: Machines, costs: Noted, first: int
) -> None:
    tell(pool, machines, capacity(cpu=1, gpu=0))
    pool.perform([Submit(spec(f"{n}.1.c")) for n in range(3)])
    reports = [Report("0.1.c", step, first + step, 0.5) for step in range(4)]
    tell(pool, machines, Started("0.1.c", "h", 1, "0", "0"), *reports, outcome("0.1.c", memory=700))
    tell(pool, machines, Started("1.1.c", "h", 1, "0", "0"), Report("1.1.c", 1, first, 0.5, [[first + 1, 0.5]]),
         outcome("1.1.c", "pruned", 6.0, memory=500))  # fmt: skip
    tell(pool, machines, Started("2.1.c", "h", 1, "0", "0"),
         outcome("2.1.c", "failed", 1.0, failure="memory", memory=900))  # fmt: skip
    assert costs.notes == [
        ({"x": 1.0}, "cpu", 8.0, {"censored": False, "steps": 4, "of_steps": 4, "memory": 700.0}),
        ({"x": 1.0}, "cpu", 6.0, {"censored": True, "steps": 2, "of_steps": 4, "memory": 500.0}),
        ({"x": 1.0}, "cpu", "memory", 900),
    ]


def test_the_memory_of_an_attempt_that_was_stopped_before_its_first_report_says_nothing(
    pool: PlacedPool, machines: Machines, costs: Noted
) -> None:
    tell(pool, machines, capacity(cpu=1, gpu=0))
    pool.perform([Submit(spec("0.1.c"))])
    tell(pool, machines, Started("0.1.c", "h", 1, "0", "0"), outcome("0.1.c", "stopped", 1.0, memory=700))
    assert costs.notes == [({"x": 1.0}, "cpu", 1.0, {"censored": True})]


def test_a_trial_that_will_probably_exceed_a_pools_memory_is_not_placed_there(machines: Machines) -> None:
    costs = Costs(["cpu", "gpu"])
    pool = learned_pool(machines, costs, {"cpu": 5e8, "gpu": 4e9})
    tell(pool, machines, capacity(cpu=1, gpu=1))
    for number in range(10):
        name, memory = f"{number}.1.c", 1_000_000_000 if number % 2 else 100_000_000
        pool.perform([Submit(spec(name, params={"layers": 1 + number % 2}))])
        tell(pool, machines, Started(name, "h", 1, "0", "0"), outcome(name, memory=memory))
    machines.done.clear()
    pool.perform([Submit(spec(f"9{n}.1.c", params={"layers": 1 + n % 2})) for n in range(6)])
    tell(pool, machines, capacity(cpu=9, gpu=1))
    homes = dict(machines.submitted)
    assert {"90.1.c", "92.1.c", "94.1.c"} <= homes.keys()
    assert all(homes.get(name, "gpu") == "gpu" for name in ("91.1.c", "93.1.c", "95.1.c"))


def test_an_attempt_that_goes_on_counts_by_its_own_steps_and_without_any_it_says_nothing(
    pool: PlacedPool, machines: Machines, costs: Noted
) -> None:
    tell(pool, machines, capacity(cpu=2, gpu=0))
    pool.perform([Submit(spec(f"{n}.2.c", attempt=2, reported=[[0, 2]])) for n in range(2)])
    tell(pool, machines, Started("0.2.c", "h", 1, "0", "0"), Report("0.2.c", 1, 3, 0.5), outcome("0.2.c", ran=2.0))
    tell(pool, machines, Started("1.2.c", "h", 1, "0", "0"), outcome("1.2.c", "yielded", ran=2.0))
    assert costs.notes == [({"x": 1.0}, "cpu", 2.0, {"censored": False, "steps": 1, "of_steps": 4})]


def test_an_attempt_is_expected_to_run_longer_where_trials_like_it_do(costs: Noted) -> None:
    learner = CostLearner(costs)
    for n in range(12):
        slow, name = n % 2 == 0, f"{n}.1.c"
        pool = "cpu" if slow else "gpu"
        learner.submitted(spec(name), pool)
        learner.started(name, 0.0)
        learner.ended(name, outcome(name, ran=40.0 if slow else 10.0).outcome, 0.0)
    expected = {pool: learner.submitted(spec(f"9.1.{pool}", expected=40.0), pool).expected for pool in ("cpu", "gpu")}
    assert expected["cpu"] == pytest.approx(40.0, rel=0.2)
    assert expected["gpu"] == pytest.approx(10.0, rel=0.2)
    given = CostLearner(costs, given=True).submitted(spec("9.1.g", expected=40.0), "gpu")
    assert given.expected == 40.0, "the user has said so"


@pytest.mark.parametrize("first", [0, 1, 7])
def test_a_campaign_that_goes_on_learns_from_the_trials_of_earlier_ones(costs: Noted, first: int) -> None:
    kept = {"pilotune:seconds_running": 5.0, "pilotune:exit": "complete", "pilotune:peak_memory": 700}
    of_cpu = {"pilotune:details": {"pool": "cpu"}}
    distributions = {"x": optuna.distributions.FloatDistribution(0, 1)}

    def trial(state: TrialState, system: dict, user: dict, steps: int) -> optuna.trial.FrozenTrial:
        value = 1.0 if state == TrialState.COMPLETE else None
        return optuna.create_trial(
            state=state, value=value, params={"x": 0.5}, distributions=distributions, user_attrs=user,
            system_attrs=system, intermediate_values=dict.fromkeys(range(first, first + steps), 0.0),
        )  # fmt: skip

    moved = {**of_cpu, "pilotune:runs": [[1, 0.0, 2.0, "went on", "h", "gpu", "0", "0"]]}
    trials = [
        trial(TrialState.COMPLETE, of_cpu, kept, 4),
        trial(TrialState.PRUNED, of_cpu, {**kept, "pilotune:seconds_running": 2.0}, 2),
        trial(TrialState.COMPLETE, moved, kept, 4),
        trial(TrialState.FAIL, of_cpu, {**kept, "pilotune:exit": "memory"}, 0),
        trial(TrialState.FAIL, of_cpu, {**kept, "pilotune:exit": "exception"}, 0),
    ]
    PastCosts(costs, {"epochs": 4}).tell(trials)
    params = {"epochs": 4, "x": 0.5}
    assert costs.notes == [
        (params, "cpu", 5.0, {"censored": False, "steps": 4, "of_steps": 4, "memory": 700.0}),
        (params, "cpu", 2.0, {"censored": True, "steps": 2, "of_steps": 4, "memory": 700.0}),
        (params, "cpu", "memory", 700),
    ]


def test_attempts_that_wait_for_a_pool_without_workers_keep_no_others_from_being_asked_for(
    pool: PlacedPool, machines: Machines
) -> None:
    (told,) = tell(pool, machines, capacity(cpu=2, gpu=0))
    assert told.choice == 0
    pool.perform([Submit(spec(f"{n}.1.c", pools=["gpu"])) for n in range(3)])
    (told,) = pool.wait(0.0)
    assert told.choice == 3
    (told,) = tell(pool, machines, capacity(cpu=2, gpu=3))
    assert (told.choice, len(machines.submitted)) == (0, 3)


def test_an_attempt_that_fits_only_in_a_pool_without_workers_waits_for_its_next_block(machines: Machines) -> None:
    costs = Costs(["cpu", "gpu"])
    for number in range(10):
        costs.note({"layers": 1 + number % 2}, "gpu", 8.0, memory=1e9 if number % 2 else 1e8)
    pool = learned_pool(machines, costs, {"cpu": 5e8, "gpu": 4e9})
    tell(pool, machines, capacity(cpu=2, gpu=0))
    pool.perform([Submit(spec(f"{n}.1.c", params={"layers": 1 + n % 2})) for n in range(4)])
    assert machines.submitted == [("0.1.c", "cpu"), ("2.1.c", "cpu")]
    *_, told = tell(pool, machines, Started("0.1.c", "h", 1, "0", "0"), outcome("0.1.c"))
    assert (len(machines.submitted), told.choice) == (2, 2)
    pool.perform([Scale(3)])
    assert machines.scales[-1].most["gpu"] >= 2
    pool.perform([Scale(3, spent=frozenset({"gpu"}))])
    assert machines.submitted[2:] == [("1.1.c", "cpu")]


def test_near_the_end_trials_wait_for_a_pool_as_long_as_its_blocks_usually_wait_in_the_queue(
    machines: Machines,
) -> None:
    costs = Costs(["cpu", "gpu"])
    for _ in range(12):
        costs.note({"x": 1.0}, "cpu", 1000.0)
        costs.note({"x": 1.0}, "gpu", 5.0)
    pool = learned_pool(machines, costs)
    tell(pool, machines, capacity(cpu=3, gpu=0))
    machines.time = 40.0
    tell(pool, machines, capacity(cpu=3, gpu=1))
    machines.time = 100.0
    tell(pool, machines, capacity(cpu=3, gpu=0))
    pool.perform([Scale(1), Submit(spec("1.1.c"))])
    assert machines.submitted == []
    assert machines.scales[-1].most == {"cpu": 0, "gpu": 1}
    machines.time = 100.0 + 3 * 40.0 - 1.0
    pool.wait(0.0)
    assert machines.submitted == []
    machines.time += 2.0
    pool.wait(0.0)
    assert machines.submitted == [("1.1.c", "cpu")], "its block is overdue"
    assert machines.scales[-1].most == {"cpu": 1, "gpu": 0}


def test_a_campaign_ends_where_what_waits_may_run_only_in_pools_that_get_no_further_block(
    pool: PlacedPool, machines: Machines
) -> None:
    tell(pool, machines, capacity(cpu=1, gpu=0))
    pool.perform([Submit(spec("0.1.c", pools=["cpu"])), Submit(spec("1.1.c", pools=["gpu"]))])
    pool.perform([Scale(2, spent=frozenset({"gpu"}))])
    for machines.time in (0.0, 20.0):
        assert not [event for event in pool.wait(0.0) if isinstance(event, StopRequested)], "an attempt runs"
    tell(pool, machines, Started("0.1.c", "h", 1, "0", "0"), outcome("0.1.c"))
    machines.time = 40.0
    (stop,) = [event for event in pool.wait(0.0) if isinstance(event, StopRequested)]
    assert (stop.how, stop.code) == ("finish", 0)
    assert "no further block of pool gpu, where what is left would run" in stop.reason


def test_a_campaign_ends_where_an_attempt_was_given_to_a_pool_that_gets_no_further_block(
    pool: PlacedPool, machines: Machines
) -> None:
    tell(pool, machines, capacity(cpu=0, gpu=1))
    pool.perform([Submit(spec("0.1.c"))])
    assert machines.submitted == [("0.1.c", "gpu")]
    tell(pool, machines, capacity(cpu=0, gpu=0))  # its block has ended before the worker began it
    pool.perform([Scale(1, spent=frozenset({"gpu"}))])
    stops = []
    for machines.time in (0.0, 20.0):
        stops += [event for event in pool.wait(0.0) if isinstance(event, StopRequested)]
    assert [stop.how for stop in stops] == ["finish"]


def test_a_campaign_does_not_end_before_it_knows_its_pools(pool: PlacedPool, machines: Machines) -> None:
    pool.perform([Submit(spec("0.1.c")), Scale(1, spent=frozenset({"gpu"}))])
    for machines.time in (0.0, 20.0, 40.0):
        assert pool.wait(0.0) == []


def test_a_pool_with_its_own_number_of_attempts_gets_as_many_as_it_wants(pool: PlacedPool, machines: Machines) -> None:
    known = capacity(cpu=4, gpu=1)
    tell(pool, machines, replace(known, pools=(replace(known.pools[0], in_flight=2), known.pools[1])))
    pool.perform([Submit(spec(f"{n}.1.c", pools=["cpu"])) for n in range(4)])
    assert machines.submitted == [("0.1.c", "cpu"), ("1.1.c", "cpu")]


def test_at_the_end_only_the_pools_that_run_something_are_needed(pool: PlacedPool, machines: Machines) -> None:
    tell(pool, machines, capacity(cpu=2, gpu=1))
    pool.perform([Submit(spec("0.1.c", pools=["gpu"])), Scale(2, final=True)])
    assert machines.done[-1] == Scale(2, most={"cpu": 0}, final=True), "of recent attempts, none may run in cpu"
    pool.perform([Submit(spec("1.1.c", pools=["cpu"])), Scale(2, final=True)])
    assert machines.done[-1] == Scale(2, most={"cpu": 1, "gpu": 1}, final=True)
    tell(pool, machines, outcome("1.1.c"))
    pool.perform([Scale(1, final=True)])
    assert machines.done[-1] == Scale(1, most={"cpu": 0, "gpu": 1}, final=True)
    tell(pool, machines, Lost("0.1.c", "its block ended"), capacity(cpu=2, gpu=0))
    pool.perform([Submit(spec("0.2.c", pools=["gpu"]))])
    assert machines.done[-1] == Scale(1, most={"cpu": 0, "gpu": 1}, final=True), "the lost one is run again there"


@pytest.mark.parametrize("steps", [range(4), range(1, 5), range(10, 41, 10), range(7, 11)])
def test_reports_foretell_how_long_an_attempt_runs_once_the_steps_of_a_trial_are_known(
    machines: Machines, costs: Noted, steps: range
) -> None:
    said: list[tuple] = []

    class Watched(Placement):
        def foreseen(self, key, seconds) -> None:  # type: ignore[no-untyped-def]
            said.append((key, seconds))

    pool = PlacedPool(machines, Watched("learned", costs), CostLearner(costs))
    tell(pool, machines, capacity(cpu=1, gpu=1))
    pool.perform([Submit(spec("0.1.c", pools=["cpu"])), Submit(spec("1.1.c", pools=["gpu"]))])
    tell(pool, machines, *(Started(f"{n}.1.c", "h", 1, "0", "0") for n in range(2)))
    machines.time = 6.0
    tell(pool, machines, Report("1.1.c", 1, steps[0], 0.5), *(Report("0.1.c", step, step, 0.5) for step in steps))
    assert said == [], "nobody knows how many steps a trial has"
    tell(pool, machines, outcome("0.1.c"))
    machines.time = 12.0
    tell(pool, machines, Report("1.1.c", 2, steps[1], 0.5))
    assert said == [("1.1.c", 24.0)], "two of four steps took 12 s"
