"""The mixture of the members' predictions, compared with numeric integration and with draws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from pilotune.pipeline.ensemble.combined import ClassPrediction, Prediction, cdf, moments, normalized, quantile

from .catalogs import normals

numbers = st.floats(-5, 5)
scales = st.floats(0.05, 5)
shares = st.floats(0.05, 1)
mixtures = st.lists(st.tuples(numbers, scales, shares), min_size=1, max_size=4)
"""Mean, standard deviation and weight of each member, for one row."""


def columns(members: list[tuple[float, float, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mean, std, weights = (np.array(each) for each in zip(*members, strict=True))
    return mean[:, None], std[:, None], weights


def density(members: list[tuple[float, float, float]], at: float) -> float:
    total = sum(weight for _, _, weight in members)
    return sum(
        weight / total * np.exp(-0.5 * ((at - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))
        for mean, std, weight in members
    )


def integral(function, members) -> float:
    """Over a range outside which the mixture has no mass, in pieces that no narrow member falls between."""
    ends = sorted({mean + std * z for mean, std, _ in members for z in (-9, -3, 0, 3, 9)})
    return sum(quad(function, low, high, limit=200)[0] for low, high in itertools.pairwise(ends))


@given(mixtures)
@settings(max_examples=15, deadline=None)
def test_moments_are_those_of_the_density(members):
    mean, aleatoric, epistemic = (each.item() for each in moments(*columns(members)))
    center = integral(lambda x: x * density(members, x), members)
    assert mean == pytest.approx(center, abs=1e-6)
    spread = integral(lambda x: (x - center) ** 2 * density(members, x), members)
    assert aleatoric + epistemic == pytest.approx(spread, rel=1e-5)


@given(mixtures, st.floats(0.001, 0.999))
@settings(max_examples=15, deadline=None)
def test_a_quantile_has_its_level_of_the_mass_below_it(members, level):
    mean, std, weights = columns(members)
    found = quantile(mean, std, level, weights)
    assert cdf(mean, std, found, weights).item() == pytest.approx(level, abs=1e-9)
    low = min(center - 9 * scale for center, scale, _ in members)
    pieces = sorted({low, found.item(), *(c + s * z for c, s, _ in members for z in (-9, -3, 0, 3, 9))})
    below = [point for point in pieces if point <= found.item()]
    mass = sum(quad(lambda x: density(members, x), start, end)[0] for start, end in itertools.pairwise(below))
    assert mass == pytest.approx(level, abs=1e-6)


def test_outputs_are_predicted_as_if_each_were_alone():
    mean, std, _ = normals(0, models=3, rows=5, outputs=2)
    weights = np.array([0.5, 0.2, 0.3])
    together = Prediction(mean, std, weights)
    for output in range(2):
        alone = Prediction(mean[..., output], std[..., output], weights)
        for name in ("mean", "aleatoric", "epistemic", "variance", "std"):
            assert np.allclose(getattr(together, name)[:, output], getattr(alone, name))
        assert np.allclose(together.quantiles([0.1, 0.9])[..., output], alone.quantiles([0.1, 0.9]))


def test_a_model_that_counts_twice_is_two_equal_members():
    mean, std, _ = normals(1, models=2)
    doubled = np.array([0, 0, 1])
    for one, other in zip(moments(mean, std, [2, 1]), moments(mean[doubled], std[doubled]), strict=True):
        assert np.allclose(one, other)
    assert np.allclose(quantile(mean, std, 0.3, [2, 1]), quantile(mean[doubled], std[doubled], 0.3))


def test_a_member_without_weight_changes_nothing():
    mean, std, _ = normals(1, models=3)
    std[2] = np.nan
    assert np.allclose(quantile(mean, std, 0.3, [2, 1, 0]), quantile(mean[:2], std[:2], 0.3, [2, 1]))


def test_entropy_of_classes_has_the_two_parts():
    agree = ClassPrediction(np.array([[[0.5, 0.5]], [[0.5, 0.5]]]), np.array([0.5, 0.5]))
    assert agree.epistemic.item() == 0
    assert agree.aleatoric.item() == pytest.approx(np.log(2))
    differ = ClassPrediction(np.array([[[1.0, 0.0]], [[0.0, 1.0]]]), np.array([0.5, 0.5]))
    assert differ.epistemic.item() == pytest.approx(np.log(2))
    assert differ.aleatoric.item() == 0


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_weights_that_cannot_be_used_are_refused(weights):
    with pytest.raises(ValueError, match="weights must be"):
        normalized(weights, 2)


def test_weights_far_from_one_are_divided_by_their_sum():
    assert np.allclose(normalized([1e308, 1e308], 2), 0.5)
    assert np.allclose(normalized([1e-320, 1e-320], 2), 0.5)


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0, np.nan])
def test_a_level_that_no_quantile_has_is_refused(level):
    with pytest.raises(ValueError, match="level must be above 0 and below 1"):
        quantile([[0.0]], [[1.0]], level)


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match="they must be equal"):
        moments([[0.0, 1.0]], [[1.0]])
    with pytest.raises(ValueError, match="K x N"):
        moments([0.0], [1.0])
