"""The rung tables of ``mode: promote``, beside a plain form of the same rules that looks at everything each time."""

from __future__ import annotations

import math
import random

import pytest

from pilotune.errors import UserError
from pilotune.pipeline.fidelity import Promotions, RungSchedule, bracket_of, check_pruner, rung_schedule
from pilotune.pipeline.fidelity import promotion as module
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
    """The rules, word for word."""

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
        return None if number in self.best(bracket, new[-1]) else rungs[new[-1]]

    def pause(self, number: int) -> None:
        here = self.place(number)
        if here:
            self.waiting[number] = here

    @property
    def promotable(self) -> list[int]:
        """The next first."""
        found = []
        for number, (bracket, rung) in self.waiting.items():
            if number in self.best(bracket, rung):
                step = self.steps.brackets[bracket].rungs[rung]
                found.append((-step, bracket, self.row(bracket, rung).index(number), number))
        return [number for *_, number in sorted(found)]


@pytest.mark.parametrize("block", range(8))
def test_tables_and_the_plain_rules_agree_over_random_sequences(block: int) -> None:
    for seed in range(250 * block, 250 * (block + 1)):
        draw = random.Random(seed)
        steps = draw.choice(
            [hyperband(9), hyperband(27), hyperband(8, 2), hyperband(20, 4, 2), halving(8), halving(9, 4)]
        )
        maximize = draw.random() < 0.5
        tables, plain = Promotions(steps, STUDY, maximize=maximize), Plain(steps, maximize=maximize)
        at: dict[int, int] = {}  # trials that run -> their last step
        values = draw.choice([[0.0, 1.0, 2.0, math.nan], [math.inf, -math.inf, 0.5, math.nan], None])
        for _ in range(draw.choice([10, 40, 80])):
            _step(draw, tables, plain, at, steps.high, values)
            promotable = plain.promotable
            assert tables.promotable == len(promotable), f"seed {seed}"
            assert tables.next() == (promotable[0] if promotable else None), f"seed {seed}"
            if draw.random() < 0.5 and promotable:
                tables.leave(promotable[0])
                del plain.waiting[promotable[0]]
                at[promotable[0]] = draw.choice([0, at.get(promotable[0], 0)])


def _step(
    draw: random.Random, tables: Promotions, plain: Plain, at: dict[int, int], high: int, values: list[float] | None
) -> None:
    if draw.random() < 0.02:
        tables.close()
        plain.closed = True
    number = draw.randrange(30)
    if draw.random() < 0.1:  # it ends, whatever it did
        at.pop(number, None)
        tables.leave(number)
        plain.waiting.pop(number, None)
        return
    if number in plain.waiting and draw.random() < 0.9:
        return
    at[number] = at.get(number, 0) + draw.choice([1, 1, 1, 2, 5])
    value = draw.choice(values) if values else draw.random()
    told = tables.report(number, at[number], value)
    assert told == plain.report(number, at[number], value)
    if told is not None and draw.random() < 0.8:
        tables.pause(number)
        plain.pause(number)


def test_tables_told_everything_again_in_another_order_are_the_same() -> None:
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


def test_one_in_three_of_a_rung_goes_on_and_equals_in_the_order_of_their_numbers() -> None:
    tables = Promotions(halving(9, 3), STUDY)
    assert [tables.report(number, 1, 5.0) for number in range(2)] == [1, 1]
    tables.pause(0)
    tables.pause(1)
    assert tables.next() is None
    assert tables.report(2, 1, 5.0) == 1
    assert tables.next() == 0
    tables.leave(0)
    assert tables.next() is None
    assert tables.report(3, 1, 1.0) is None, "the best of all goes on without a pause"


def test_what_is_no_number_never_goes_on_and_counts_as_the_worst() -> None:
    tables = Promotions(halving(8), STUDY)
    for number in range(4):
        assert tables.report(number, 1, math.nan) == 1
        tables.pause(number)
    assert (tables.promotable, tables.next()) == (0, None)
    assert tables.report(4, 1, 1e300) is None
    tables.close()
    assert tables.next() is None


def test_the_rungs_from_the_top_down_and_no_further_than_one_before_the_last_step() -> None:
    tables = Promotions(halving(8), STUDY)
    for number, value in enumerate([4.0, 3.0, 2.0, 1.0]):
        tables.report(number, 1, value)
        tables.pause(number)
    assert tables.report(3, 2, 1.0) == 2
    assert tables.report(2, 2, 2.0) == 2
    for number in (2, 3):
        tables.pause(number)
    assert tables.next() == 3, "of the rung at step 2"
    assert tables.report(3, 8, 1.0) == 4, "the first report behind a rung counts there"
    assert tables.report(3, 9, 1.0) is None


def test_few_trials_pause_for_ever_until_no_more_will_come() -> None:
    tables = Promotions(hyperband(27), STUDY)
    for number in range(40):
        if bracket_of(STUDY, number, tables.rung_schedule.brackets) == 0 and len(tables._at) < 2:
            tables.report(number, 1, float(number))
            tables.pause(number)
    first, second = sorted(tables._at)
    assert tables.next() is None
    tables.close()
    assert tables.next() == first
    tables.leave(first)
    assert tables.next() is None, f"{second} is not the best"
    assert tables.report(first, 3, 0.0) is None, "nor does it pause where it is alone"


class Counted(float):
    """A number that counts how often it is compared."""

    count = 0

    def __eq__(self, other: object) -> bool:
        Counted.count += 1
        return float(self) == other

    def __neg__(self) -> Counted:
        return Counted(-float(self))

    def __rmul__(self, other: float) -> Counted:
        return Counted(other * float(self))

    __hash__ = float.__hash__


def test_the_work_of_a_report_hardly_grows_with_the_trials() -> None:
    def work(trials: int) -> float:
        """Comparisons of a trial's reports, its pause and a promotion, on average over the last thousand trials."""
        draw, tables = random.Random(1), Promotions(halving(64), STUDY)
        for number in range(trials):
            if number == trials - 1000:
                Counted.count = 0
            for step in (1, 2, 4, 8, 16, 32):
                if tables.report(number, step, Counted(draw.random())) is not None:
                    tables.pause(number)
                    break
            if (best := tables.next()) is not None:
                tables.leave(best)
        return Counted.count / 1000

    few, many = work(2_000), work(32_000)
    assert 0 < many < 2 * few


@pytest.mark.parametrize(
    ("name", "args", "key", "said"),
    [
        ("hyperband", {"mode": "promote"}, "pruner.max_resource", "steps of a full trial"),
        ("hyperband", {"mode": "promote", "max_resource": "auto"}, "pruner.max_resource", "whole number"),
        ("hyperband", {"mode": "pause", "max_resource": 9}, "pruner.mode", "must be stop or promote, but is 'pause'"),
        ("hyperband", {"mode": 3, "max_resource": 9}, "pruner.mode", "a word"),
        ("successive_halving", {"mode": "promote"}, "pruner.max_resource", "whole number"),
        ("successive_halving", {"max_resource": 9}, "pruner.max_resource", "mode: promote"),
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
    assert module.MODES[0] == "stop"
