"""Promotions, compared with a plain implementation of the same rules that computes everything anew each time."""

from __future__ import annotations

import math
import random

import pytest

from pilotune.errors import UserError
from pilotune.pipeline.fidelity import Promotions, RungSchedule, bracket_of, check_pruner, rung_schedule
from pilotune.pipeline.fidelity.promotion import MODES
from pilotune.pipeline.registry_args import Named

STUDY = "some study"


def hyperband(high: int, factor: int = 3, low: int = 1) -> RungSchedule:
    args = {"mode": "promote", "min_resource": low, "max_resource": high, "reduction_factor": factor}
    found = rung_schedule(Named("hyperband", args))
    assert found is not None
    return found


def halving(high: int, factor: int = 2) -> RungSchedule:
    found = rung_schedule(
        Named("successive_halving", {"mode": "promote", "max_resource": high, "reduction_factor": factor})
    )
    assert found is not None
    return found


class Plain:
    """The rules of promotion as the paper states them, without any table."""

    def __init__(self, steps: RungSchedule, *, maximize: bool):
        self.steps, self.maximize, self.closed = steps, maximize, False
        self.values: dict[tuple[int, int], dict[int, float]] = {}  # bracket and rung -> trial -> its value there
        self.waiting: dict[int, tuple[int, int]] = {}  # trial -> where

    def row(self, bracket: int, rung: int) -> list[int]:
        values = self.values.get((bracket, rung), {})

        def rank(number: int) -> tuple[bool, float, int]:
            value = values[number]
            return (True, 0.0, number) if math.isnan(value) else (False, -value if self.maximize else value, number)

        return sorted(values, key=rank)

    def best(self, bracket: int, rung: int) -> set[int]:
        row = self.row(bracket, rung)
        good = row[: max(len(row) // self.steps.factor, 1 if self.closed else 0)]
        return {number for number in good if not math.isnan(self.values[bracket, rung][number])}

    def place(self, number: int) -> tuple[int, int] | None:
        found = [where for where, values in self.values.items() if number in values]
        return max(found, default=None)

    def report(self, number: int, step: int, value: float) -> int | None:
        bracket = bracket_of(STUDY, number, self.steps.brackets)
        rungs = self.steps.brackets[bracket].rungs
        here = self.place(number)
        new = [rung for rung in range(len(rungs)) if rungs[rung] <= step and (here is None or rung > here[1])]
        if not new:
            return None
        self.waiting.pop(number, None)
        for rung in new:
            self.values.setdefault((bracket, rung), {})[number] = value
        if step >= self.steps.high:  # the last step: nothing is left to save
            return None
        return None if number in self.best(bracket, new[-1]) else rungs[new[-1]]

    def pause(self, number: int) -> None:
        here = self.place(number)
        if here:
            self.waiting[number] = here

    @property
    def promotable(self) -> list[int]:
        """The trials that may be promoted, the next one first."""
        found = []
        for number, (bracket, rung) in self.waiting.items():
            if number in self.best(bracket, rung):
                step = self.steps.brackets[bracket].rungs[rung]
                found.append((-step, bracket, self.row(bracket, rung).index(number), number))
        return [number for *_, number in sorted(found)]


@pytest.mark.parametrize("block", range(8))
def test_promotions_follow_the_plain_rules_over_random_sequences(block: int) -> None:
    for seed in range(250 * block, 250 * (block + 1)):
        draw = random.Random(seed)
        steps = draw.choice(
            [hyperband(9), hyperband(27), hyperband(8, 2), hyperband(20, 4, 2), halving(8), halving(9, 4)]
        )
        maximize = draw.random() < 0.5
        promotions, plain = Promotions(steps, STUDY, maximize=maximize), Plain(steps, maximize=maximize)
        at: dict[int, int] = {}  # running trials -> their last step
        values = draw.choice([[0.0, 1.0, 2.0, math.nan], [math.inf, -math.inf, 0.5, math.nan], None])
        for _ in range(draw.choice([10, 40, 80])):
            _step(draw, promotions, plain, at, steps.high, values)
            promotable = plain.promotable
            assert promotions.promotable == len(promotable), f"seed {seed}"
            assert promotions.next() == (promotable[0] if promotable else None), f"seed {seed}"
            if draw.random() < 0.5 and promotable:
                promotions.leave(promotable[0])
                del plain.waiting[promotable[0]]
                at[promotable[0]] = draw.choice([0, at.get(promotable[0], 0)])


def _step(
    draw: random.Random, promotions: Promotions, plain: Plain, at: dict[int, int], high: int, values: list[float] | None
) -> None:
    if draw.random() < 0.02:
        promotions.close()
        plain.closed = True
    number = draw.randrange(30)
    if draw.random() < 0.1:  # the trial ends
        at.pop(number, None)
        promotions.leave(number)
        plain.waiting.pop(number, None)
        return
    if number in plain.waiting and draw.random() < 0.9:
        return
    at[number] = at.get(number, 0) + draw.choice([1, 1, 1, 2, 5])
    value = draw.choice(values) if values else draw.random()
    pause_at = promotions.report(number, at[number], value)
    assert pause_at == plain.report(number, at[number], value)
    if pause_at is not None and draw.random() < 0.8:
        promotions.pause(number)
        plain.pause(number)


def test_the_same_reports_in_another_order_give_the_same_state() -> None:
    draw = random.Random(4)
    first, again = (Promotions(hyperband(27), STUDY) for _ in range(2))
    reports = {number: {step: draw.choice([0.0, 1.0, draw.random()]) for step in (1, 3, 9)[: draw.randint(1, 3)]}
               for number in range(200)}  # fmt: skip
    for step in (1, 3, 9):
        for number, theirs in reports.items():
            if step in theirs:
                first.report(number, step, theirs[step])
    for number in draw.sample(sorted(reports), len(reports)):
        again.learn(number, reports[number])
        again.learn(number, reports[number])
    for number in reports:
        first.pause(number)
        again.pause(number)
    order = []
    while (number := first.next()) is not None:
        assert again.next() == number
        order.append(number)
        first.leave(number)
        again.leave(number)
    assert again.next() is None
    assert len(order) > 20


def test_one_in_three_is_promoted_and_equal_values_by_number() -> None:
    promotions = Promotions(halving(9, 3), STUDY)
    assert [promotions.report(number, 1, 5.0) for number in range(2)] == [1, 1]
    promotions.pause(0)
    promotions.pause(1)
    assert promotions.next() is None
    assert promotions.report(2, 1, 5.0) == 1
    assert promotions.next() == 0
    promotions.leave(0)
    assert promotions.next() is None
    assert promotions.report(3, 1, 1.0) is None, "the best of the rung continues without a pause"


def test_nan_is_never_promoted_and_counts_as_the_worst() -> None:
    promotions = Promotions(halving(8), STUDY)
    for number in range(4):
        assert promotions.report(number, 1, math.nan) == 1
        promotions.pause(number)
    assert (promotions.promotable, promotions.next()) == (0, None)
    assert promotions.report(4, 1, 1e300) is None
    promotions.close()
    assert promotions.next() is None


def test_the_highest_rung_comes_first_and_the_last_step_has_none() -> None:
    promotions = Promotions(halving(8), STUDY)
    for number, value in enumerate([4.0, 3.0, 2.0, 1.0]):
        promotions.report(number, 1, value)
        promotions.pause(number)
    assert promotions.report(3, 2, 1.0) == 2
    assert promotions.report(2, 2, 2.0) == 2
    for number in (2, 3):
        promotions.pause(number)
    assert promotions.next() == 3, "from the rung at step 2"
    assert promotions.report(3, 7, 1.0) == 4, "the first report after a rung counts there"
    assert promotions.report(3, 8, 1.0) is None
    assert promotions.report(2, 8, 2.0) is None, "a trial that skips the rung at step 4 has nothing left to run"


def test_too_few_trials_for_a_rung_pause_until_no_more_will_start() -> None:
    promotions = Promotions(hyperband(27), STUDY)
    for number in range(40):
        if bracket_of(STUDY, number, promotions.rung_schedule.brackets) == 0 and len(promotions._at) < 2:
            promotions.report(number, 1, float(number))
            promotions.pause(number)
    first, second = sorted(promotions._at)
    assert promotions.next() is None
    promotions.close()
    assert promotions.next() == first
    promotions.leave(first)
    assert promotions.next() is None, f"{second} is not the best"
    assert promotions.report(first, 3, 0.0) is None, "and it does not pause at a rung where it is alone"


class Counted(float):
    """A number that counts its comparisons."""

    count = 0

    def __eq__(self, other: object) -> bool:
        Counted.count += 1
        return float(self) == other

    def __neg__(self) -> Counted:
        return Counted(-float(self))

    def __rmul__(self, other: float) -> Counted:
        return Counted(other * float(self))

    __hash__ = float.__hash__


def test_the_cost_of_a_report_hardly_grows_with_the_trials() -> None:
    def work(trials: int) -> float:
        """Comparisons per trial (its reports, its pause and a promotion), averaged over the last thousand trials."""
        draw, promotions = random.Random(1), Promotions(halving(64), STUDY)
        for number in range(trials):
            if number == trials - 1000:
                Counted.count = 0
            for step in (1, 2, 4, 8, 16, 32):
                if promotions.report(number, step, Counted(draw.random())) is not None:
                    promotions.pause(number)
                    break
            if (best := promotions.next()) is not None:
                promotions.leave(best)
        return Counted.count / 1000

    few, many = work(2_000), work(16_000)
    assert 0 < many < 2 * few


@pytest.mark.parametrize(
    ("name", "args", "key", "said"),
    [
        ("hyperband", {"mode": "promote"}, "pruner.max_resource", "steps of a full trial"),
        ("hyperband", {"mode": "promote", "max_resource": "auto"}, "pruner.max_resource", "whole number"),
        ("hyperband", {"mode": "pause", "max_resource": 9}, "pruner.mode", "must be stop or promote, but is 'pause'"),
        ("hyperband", {"mode": 3, "max_resource": 9}, "pruner.mode", "a word"),
        ("successive_halving", {"mode": "promote"}, "pruner.max_resource", "whole number"),
        ("successive_halving", {"max_resource": "nine"}, "pruner.max_resource", "whole number or auto"),
        ("successive_halving", {"max_resource": 2, "min_resource": 3}, "pruner.max_resource", "min_resource (3)"),
        ("successive_halving", {"mode": "promote", "max_resource": 9, "min_resource": "auto"}, "pruner.min_resource",
         "whole number"),
        ("successive_halving", {"mode": "promote", "max_resource": 2, "min_resource": 3}, "pruner.max_resource",
         "at least min_resource (3)"),
        ("hyperband", {"mode": "promote", "max_resource": 9, "bootstrap_count": 2}, "pruner.bootstrap_count", "cannot"),
        ("median", {"mode": "promote"}, "pruner.mode", "no argument 'mode'"),
        ("patient", {"patience": 2, "wrapped_pruner": {"name": "hyperband", "max_resource": 9, "mode": "promote"}},
         "pruner.wrapped_pruner.mode", "cannot promote"),
    ],
)  # fmt: skip
def test_a_pruner_that_cannot_promote_is_refused_at_its_key(name: str, args: dict, key: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        check_pruner(Named(name, args))
    assert caught.value.key == key
    assert said in caught.value.message


def test_the_rungs_are_those_of_the_pruner_below_the_last_step() -> None:
    assert [bracket.rungs for bracket in hyperband(27).brackets] == [(1, 3, 9), (3, 9), (9,), ()]
    assert halving(27, 3).brackets[0].rungs == (1, 3, 9)
    early = {"mode": "promote", "max_resource": 100, "min_early_stopping_rate": 1}
    found = rung_schedule(Named("successive_halving", early))
    assert found is not None
    assert (found.factor, found.brackets[0].rungs) == (4, (4, 16, 64))
    assert rung_schedule(Named("hyperband", {"max_resource": 27})) is None
    assert rung_schedule(None) is None
    assert MODES[0] == "stop"
