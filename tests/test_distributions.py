"""The values of one parameter: how many, and how they are written."""

from __future__ import annotations

import math

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from pilotune.pipeline.distributions import cardinality, describe


@pytest.mark.parametrize(
    ("distribution", "count"),
    [
        (FloatDistribution(0, 1), math.inf),
        (FloatDistribution(1, 1), 1),
        (FloatDistribution(0, 1, step=0.1), 11),
        (IntDistribution(1, 10, step=3), 4),
        (IntDistribution(1, 8, log=True), 8),
        (CategoricalDistribution([None, True, "a"]), 3),
    ],
)
def test_cardinality(distribution, count):
    assert cardinality(distribution) == count


def test_choices_are_written_so_that_types_can_be_told_apart():
    assert describe(CategoricalDistribution(["1", 1, "true", None, "a b"])) == "choice ['1', 1, true, null, 'a b']"
