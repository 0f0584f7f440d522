"""Which members of a population pause, which go on first, and which are replaced by copies of which."""

from __future__ import annotations

import math

import pytest

from pilotune.pipeline.fidelity import Origin, Population, PopulationPlan


def population(values: list[float], *, at: int = 2, maximize: bool = False, **plan: float) -> Population:
    """Members that have all reported once, at step ``at``, and pause with a copy of their checkpoint."""
    whole = PopulationPlan(**{"size": len(values), "interval": 2, "quantile": 0.25, **plan})  # type: ignore[arg-type]
    members = Population(whole, "study", maximize=maximize)
    for number, value in enumerate(values):
        members.report(number, at, value)
        members.keep(number, Origin(number, at, f"/{number}"))
        members.pause(number)
    return members


def replaced(members: Population, count: int) -> dict[int, int]:
    """Number of each member that is replaced -> number of the one that is copied."""
    found = {number: members.origin_for(number) for number in range(count)}
    return {number: origin.parent for number, origin in found.items() if origin is not None}


def test_a_member_pauses_at_the_first_report_of_each_interval() -> None:
    members = Population(PopulationPlan(size=4, interval=3, quantile=0.25, last=10), "study")
    assert [members.report(0, step, 1.0) for step in range(1, 12)] == [
        None, None, 3, None, None, 6, None, None, 9, None, None,
    ]  # fmt: skip
    assert members.reached(0) == 9
    assert members.report(1, 7, 1.0) == 6  # it reports every seventh step only
    assert members.report(2, 10, 1.0) is None  # the last step


def test_the_worst_quarter_is_replaced_by_the_best_quarter() -> None:
    assert replaced(population([5.0, 1.0, 4.0, 3.0]), 4) == {0: 1}
    assert replaced(population([5.0, 1.0, 4.0, 3.0], maximize=True), 4) == {1: 0}
    found = replaced(population([float(value) for value in range(8)]), 8)
    assert found.keys() == {6, 7}
    assert set(found.values()) <= {0, 1}
    assert replaced(population([1.0, 2.0, 3.0]), 3) == {2: 0}
    assert replaced(population([1.0, 2.0, 3.0], quantile=0.5), 3) == {2: 0}  # half of three, at most


def test_nobody_is_replaced_before_half_of_the_population_has_come() -> None:
    assert replaced(population([1.0, 2.0, 3.0], size=8), 3) == {}
    assert replaced(population([1.0, 2.0, 3.0, 4.0], size=8), 4) == {3: 0}


def test_equal_values_are_in_the_order_of_the_trials() -> None:
    assert replaced(population([1.0] * 4), 4) == {3: 0}


def test_a_member_without_a_number_as_its_value_is_replaced_and_never_copied() -> None:
    assert replaced(population([math.nan, 2.0]), 2) == {0: 1}
    assert replaced(population([math.nan, math.nan]), 2) == {}
    assert replaced(population([math.nan, math.nan, math.nan, 1.0]), 4) == {0: 3, 1: 3, 2: 3}


def test_nobody_is_copied_without_a_checkpoint() -> None:
    members = population([5.0, 1.0, 4.0, 3.0])
    assert members.drop(1)
    assert not members.drop(1)
    assert replaced(members, 4) == {}


def test_a_replaced_member_still_counts_at_its_step() -> None:
    members = population([5.0, 1.0, 4.0, 3.0])
    members.leave(0)
    members.drop(0)
    members.start(4, 2)  # its copy
    members.report(5, 2, 2.0)
    members.report(6, 2, 6.0)
    members.report(7, 2, 7.0)
    members.report(8, 2, 8.0)
    assert {number for number in range(1, 9) if members.origin_for(number)} == {7, 8}  # a quarter of eight


def test_a_copy_pauses_an_interval_after_its_start() -> None:
    members = population([1.0, 2.0, 3.0, 4.0])
    members.start(4, 2)
    assert members.report(4, 2, 9.0) is None  # it repeats a step of its parent
    assert members.report(4, 3, 1.0) is None
    assert members.report(4, 4, 1.0) == 4


def test_the_least_advanced_goes_on_first() -> None:
    members = population([1.0, 2.0, 3.0, 4.0])
    order = []
    for _ in range(6):
        number = members.next()
        assert number is not None
        order.append(number)
        members.leave(number)
        done = members.reached(number)
        assert done is not None
        members.report(number, done + 2, 1.0)
        members.pause(number)
    assert order == [0, 1, 2, 3, 0, 1]
    assert members.promotable == 4


def test_a_new_member_in_the_place_of_a_failed_one_is_a_copy_of_one_of_the_best() -> None:
    members = population([5.0, 1.0, 4.0, 3.0])
    origin = members.origin_for_new()
    assert origin is not None
    assert origin.parent == 1
    assert Population(PopulationPlan(4, 2, 0.25), "study").origin_for_new() is None


@pytest.mark.parametrize("seed", range(20))
def test_the_choice_is_the_same_whenever_it_is_made(seed: int) -> None:
    values = [float((7 * seed + 3 * number) % 16) for number in range(16)]
    assert replaced(population(values), 16) == replaced(population(values), 16)
