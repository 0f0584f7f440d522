"""Values of one parameter: at random, another one, a step away, and where they lie."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from pilotune.pipeline.suggest.genes import Gene

KINDS: dict[str, BaseDistribution] = {
    "float": FloatDistribution(-1.0, 3.0),
    "huge": FloatDistribution(-1.7e308, 1.7e308),
    "tiny": FloatDistribution(1.0, math.nextafter(1.0, 2.0)),
    "log": FloatDistribution(1e-300, 1e300, log=True),
    "near log": FloatDistribution(1.0, math.nextafter(1.0, 2.0), log=True),
    "step": FloatDistribution(0.1, 0.7, step=0.1),
    "int": IntDistribution(-3, 3),
    "int step": IntDistribution(2, 10, step=4),
    "log int": IntDistribution(1, 1000, log=True),
    "large int": IntDistribution(-(2**60), 2**60),
    "choice": CategoricalDistribution(["a", None, 1, 2.5]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ordered", [False, True])
def test_every_value_is_one_of_the_distribution_and_of_its_type(kind: str, ordered: bool) -> None:
    distribution, rng = KINDS[kind], random.Random(0)
    gene = Gene("x", distribution, ordered)
    type_ = {FloatDistribution: float, IntDistribution: int}.get(type(distribution), object)
    for _ in range(200):
        value = gene.draw(rng)
        for found in (value, gene.other(value, rng), gene.stepped(value, 0.05, rng), gene.stepped(value, 2.0, rng)):
            assert distribution._contains(distribution.to_internal_repr(found))
            assert isinstance(found, type_)
        assert 0.0 <= gene.place(value) <= 1.0
        assert gene.contains(value)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("huge", "large int")])
def test_a_value_is_at_its_place(kind: str) -> None:
    gene, rng = Gene("x", KINDS[kind]), random.Random(1)
    for _ in range(50):
        value = gene.draw(rng)
        found = gene.value(gene.place(value))
        assert found == (pytest.approx(value, rel=1e-9) if type(value) is float else value)


@pytest.mark.parametrize("kind", ["step", "int", "int step", "log int", "choice", "tiny"])
def test_another_value_is_another(kind: str) -> None:
    gene, rng = Gene("x", KINDS[kind]), random.Random(2)
    for _ in range(100):
        value = gene.draw(rng)
        assert gene.other(value, rng) != value


def test_other_values_are_equally_likely() -> None:
    gene, rng = Gene("x", IntDistribution(1, 4)), random.Random(3)
    counts = Counter(gene.other(2, rng) for _ in range(3000))
    assert set(counts) == {1, 3, 4}
    assert min(counts.values()) > 900


def test_a_parameter_of_one_value_keeps_it() -> None:
    rng = random.Random(0)
    for distribution in (IntDistribution(3, 3), FloatDistribution(0.5, 0.5), CategoricalDistribution(["only"])):
        gene = Gene("x", distribution, ordered=True)
        value = gene.draw(rng)
        assert gene.single
        assert gene.other(value, rng) == gene.stepped(value, 0.1, rng) == value


def test_a_step_that_is_shorter_than_the_distance_of_two_values_leads_to_the_next() -> None:
    rng = random.Random(4)
    for distribution in (
        IntDistribution(1, 5),
        FloatDistribution(1, 5, step=1),
        CategoricalDistribution([1, 2, 3, 4, 5]),
    ):
        gene = Gene("x", distribution, ordered=True)
        assert {gene.stepped(3, 1e-6, rng) for _ in range(50)} == {2, 4}
        assert {gene.stepped(5, 1e-6, rng) for _ in range(50)} == {4}
    log = Gene("x", IntDistribution(1, 1000, log=True))
    assert {log.stepped(2, 1e-6, rng) for _ in range(50)} == {1, 3}
    assert {log.stepped(900, 0.3, rng) == 900 for _ in range(50)} >= {False}


def test_a_long_step_may_end_where_it_began() -> None:
    gene, rng = Gene("x", CategoricalDistribution([False, True]), ordered=True), random.Random(5)
    stayed = Counter(gene.stepped(False, 1.0, rng) for _ in range(2000))[False]
    assert 0.5 < stayed / 2000 < 0.7, "a normal step of the whole range, from the middle of the first half"


def test_choices_without_an_order_become_any_other() -> None:
    gene, rng = Gene("x", CategoricalDistribution(list("abcde"))), random.Random(6)
    assert {gene.stepped("a", 1e-6, rng) for _ in range(100)} == set("bcde")


def test_an_unknown_kind_of_distribution_is_refused() -> None:
    class Odd(BaseDistribution):
        def to_internal_repr(self, value):
            return 0.0

        def single(self):
            return False

        def _contains(self, value):
            return True

    with pytest.raises(ValueError, match="parameter 'x': the sampler cannot vary an Odd"):
        Gene("x", Odd())
