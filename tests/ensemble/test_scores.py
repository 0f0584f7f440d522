"""The scores, compared with numeric integration and with sums by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.integrate import quad
from scipy.stats import norm

from pilotune.pipeline.ensemble import scores
from pilotune.pipeline.ensemble.combined import cdf, quantile

from .catalogs import classes, normals
from .test_combined import columns, density, mixtures, numbers


@given(mixtures, numbers)
@settings(max_examples=12, deadline=None)
def test_crps_is_the_integral_of_the_squared_distance_to_a_step(members, truth):
    mean, std, weights = columns(members)

    def squared(x: float) -> float:
        return (cdf(mean, std, [x], weights).item() - (x >= truth)) ** 2

    ends = sorted({truth, *(center + scale * z for center, scale, _ in members for z in (-9, -3, 0, 3, 9))})
    expected = sum(quad(squared, low, high, limit=200)[0] for low, high in itertools.pairwise(ends))
    assert scores.crps(mean, std, [truth], weights) == pytest.approx(expected, abs=1e-6)


@given(mixtures, numbers)
@settings(max_examples=12, deadline=None)
def test_nll_is_that_of_the_density(members, truth):
    mean, std, weights = columns(members)
    found = scores.nll(mean, std, [truth], weights)
    if density(members, truth) > 1e-300:
        assert found == pytest.approx(-np.log(density(members, truth)), abs=1e-9)
    assert np.isfinite(found)


def test_one_member_has_the_same_nll_both_ways():
    mean, std, y = normals(0, models=1)
    expected = -norm.logpdf(y, mean[0], std[0]).mean()
    assert scores.nll(mean, std, y) == pytest.approx(expected)
    assert scores.nll_matched(mean, std, y) == pytest.approx(expected)


def test_nll_of_outputs_is_that_of_all_together():
    mean, std, y = normals(0, models=2, outputs=3)
    rows = norm.pdf(y, mean, std).prod(axis=2)
    assert scores.nll(mean, std, y, [1, 3]) == pytest.approx(-np.log(0.25 * rows[0] + 0.75 * rows[1]).mean())
    alone = [scores.nll_matched(mean[..., d], std[..., d], y[:, d]) for d in range(3)]
    assert scores.nll_matched(mean, std, y) == pytest.approx(sum(alone))
    assert scores.crps(mean, std, y) == pytest.approx(
        np.mean([scores.crps(mean[..., d], std[..., d], y[:, d]) for d in range(3)])
    )


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_coverage_counts_the_values_between_two_quantiles(level):
    mean, std, y = normals(3, rows=400)
    weights = np.linspace(1, 2, len(mean))
    low, high = (quantile(mean, std, each, weights) for each in ((1 - level) / 2, (1 + level) / 2))
    assert scores.coverage(mean, std, y, level, weights) == ((low <= y) & (y <= high)).mean()


def test_draws_of_the_mixture_are_covered_as_often_as_the_level_says():
    generator = np.random.default_rng(0)
    mean, std, _ = normals(0, models=3, rows=20_000)
    member = generator.integers(3, size=mean.shape[1])
    rows = np.arange(mean.shape[1])
    y = generator.normal(mean[member, rows], std[member, rows])
    levels = [0.1, 0.5, 0.9]
    assert scores.calibration(mean, std, y, levels) == pytest.approx(levels, abs=0.02)


def test_scores_of_classes_are_those_of_the_mean_probabilities():
    probabilities, y = classes(0)
    weights = np.arange(1.0, len(probabilities) + 1)
    together = np.average(probabilities, axis=0, weights=weights)
    assert scores.accuracy(probabilities, y, weights) == (together.argmax(axis=1) == y).mean()
    expected = -np.mean([np.log(row[true]) for row, true in zip(together, y, strict=True)])
    assert scores.log_loss(probabilities, y, weights) == pytest.approx(expected)


def test_far_values_have_finite_scores():
    far, tiny = np.array([[1e200]]), np.array([[1e-200]])
    for score in (scores.nll, scores.nll_matched, scores.crps):
        assert np.isfinite(score(far, tiny, [0.0]))
    assert np.isfinite(scores.log_loss([[[1.0, 0.0]]], [1]))


@pytest.mark.parametrize("score", [scores.nll, scores.nll_matched, scores.crps, scores.coverage])
def test_true_values_of_another_shape_are_refused(score):
    mean, std, y = normals(0, models=2, rows=5, outputs=1)
    with pytest.raises(ValueError, match="y has the shape"):
        score(mean, std, y[:, 0])


def test_true_values_of_another_shape_are_refused_by_scores_of_means_and_classes():
    mean, _, y = normals(0, models=2, rows=5, outputs=1)
    with pytest.raises(ValueError, match="y has the shape"):
        scores.rmse(mean, y[:, 0])
    probabilities, truth = classes(0, rows=5)
    for score in (scores.accuracy, scores.log_loss):
        with pytest.raises(ValueError, match="y has the shape"):
            score(probabilities, truth[:4])
        with pytest.raises(ValueError, match="K x N x C"):
            score(probabilities[0], truth)
