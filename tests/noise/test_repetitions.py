"""What is read of repetitions in a database, and means of unusual values."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest

from pilotune.pipeline.noise import Repetition, mean_constraints, means, repetitions_of, spreads

GOOD = {"token": "7.2.c.d", "seed": 5, "values": [0.5, 1.0]}


def test_a_repetition_is_read_as_it_was_written() -> None:
    repetition = Repetition("7.2.c.d", 5, (0.5, 1.0), {"constraints": [1.0]})
    assert Repetition.from_json(repetition.to_json()) == repetition
    assert Repetition.from_json(GOOD).attempt == 2


@pytest.mark.parametrize(
    "found",
    ["x", {}, [GOOD, 5], [{**GOOD, "values": []}], [{**GOOD, "values": ["a"]}], [{**GOOD, "token": "7"}],
     [{**GOOD, "token": "7.0.c"}], [{**GOOD, "seed": None}], [{"token": "7.1.c"}], [{**GOOD, "constraints": 7}]],
)  # fmt: skip
def test_what_another_program_wrote_counts_as_nothing(found: Any) -> None:
    trial = optuna.create_trial(values=[1.0, 2.0], system_attrs={"pilotune:repeats": found})
    assert repetitions_of(trial) == ()


def test_means_and_spreads_are_those_of_each_objective() -> None:
    found = [Repetition(f"7.{n}.c", n, (float(n), 2.0)) for n in (1, 2, 3)]
    assert (means(found), spreads(found)) == ([2.0, 2.0], [1.0, 0.0])
    assert spreads(found[:1]) is None


def test_very_large_values_have_a_mean() -> None:
    found = [
        Repetition("7.1.c", 0, (1.7e308,)),
        Repetition("7.2.c", 1, (-1.7e308,)),
        Repetition("7.3.c", 1, (1.7e308,)),
    ]
    assert means(found) == [pytest.approx(1.7e308 / 3)]
    assert spreads(found) == [math.inf]


def test_constraints_that_do_not_belong_together_are_left_out() -> None:
    first = Repetition("7.1.c", 0, (1.0,), {"constraints": [1.0, 2.0], "constraints:a": 1.0, "constraints:b": None})
    second = Repetition("7.2.c", 1, (1.0,), {"constraints": [1.0], "constraints:a": 2.0})
    assert mean_constraints([first, second]) == {"constraints:a": 1.5}
