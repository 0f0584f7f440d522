"""What the model says after any sequence of suggestions and results is what one says that is made anew."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pilotune.pipeline.suggest.surrogate.acquisition import log_expected_improvement, log_feasibility
from pilotune.pipeline.suggest.surrogate.factor import Factor
from pilotune.pipeline.suggest.surrogate.fit import fitted
from pilotune.pipeline.suggest.surrogate.kernel import Kernel, Likelihood, Prior
from pilotune.pipeline.suggest.surrogate.layout import Layout
from pilotune.pipeline.suggest.surrogate.optimizer import Evaluation, Search, minimize
from pilotune.pipeline.suggest.surrogate.pool import Candidates

LAYOUT = Layout((1, 3, 1, 1))


def kernel(rng: np.random.Generator) -> Kernel:
    prior = Prior.of(LAYOUT.dimensions)
    return Kernel(LAYOUT, np.clip(prior.mean + 0.4 * rng.standard_normal(len(prior.mean)), prior.low, prior.high))


def configurations(rng: np.random.Generator, count: int) -> np.ndarray:
    features = rng.random((count, LAYOUT.width))
    features[:, 1:4] = np.sqrt(0.5) * np.eye(3)[rng.integers(3, size=count)]
    return features


def anew(factor: Factor, targets: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances by the textbook, where each pending row has the mean of the rows before it as its target."""
    known = factor.kernel.cross(factor.features, factor.features) + np.diag(factor.noise[: factor.size])
    filled = targets.copy()
    for i in np.flatnonzero(np.isnan(filled)):
        filled[i] = known[i, :i] @ np.linalg.solve(known[:i, :i], filled[:i]) if i else 0.0
    mixed = factor.kernel.cross(factor.features, features)
    solved = np.linalg.solve(known, mixed)
    return filled @ solved, factor.kernel.variance - (mixed * solved).sum(axis=0)


@pytest.mark.parametrize("seed", range(12))
def test_means_and_variances_are_those_of_a_model_made_anew(seed: int) -> None:
    rng = np.random.default_rng(seed)
    factor = Factor(kernel(rng), 80, targets=2)
    targets = np.full((80, 2), np.nan)
    features = configurations(rng, 12)
    factor.extend(features[:7], np.full(7, 0.01))
    factor.extend(features[7:], 0.01 + rng.random(5))
    targets[:5] = rng.standard_normal((5, 2))
    factor.tell(np.arange(5), targets[:5])
    factor.solve()
    pool = Candidates.of(factor, np.zeros((30, 4)), configurations(rng, 30))
    for _ in range(60):
        if rng.random() < 0.5 and factor.size < factor.capacity:
            index = int(rng.integers(30))
            noise = factor.kernel.noise
            factor.append(pool.features[index], pool.solved[:, index], float(pool.variances[index]), noise)
        else:
            row, column = int(rng.integers(factor.size)), int(rng.integers(2))
            targets[row, column] = np.nan if rng.random() < 0.1 else rng.standard_normal()
            factor.tell(row, targets[row])
        factor.solve()
        pool.follow(factor)
        for column in range(2):
            means, variances = anew(factor, targets[: factor.size, column], pool.features)
            assert pool.means[column] == pytest.approx(means, abs=1e-8)
            assert pool.variances == pytest.approx(variances, abs=1e-8)
    means, _ = anew(factor, targets[: factor.size, 0], factor.features)
    assert factor.means_at_rows()[:, 0] == pytest.approx(means, abs=1e-8)


def likelihood(rng: np.random.Generator, count: int) -> Likelihood:
    features = configurations(rng, count)
    targets = np.sin(4 * features[:, 0]) + features[:, 1]
    return Likelihood(LAYOUT, Prior.of(LAYOUT.dimensions), features, targets - targets.mean(), 0.1 * rng.random(count))


@pytest.mark.parametrize("count", [1, 2, 25])
def test_gradients_are_those_of_finite_differences(count: int) -> None:
    rng = np.random.default_rng(count)
    function = likelihood(rng, count)
    for _ in range(5):
        point = function.prior.mean + 0.5 * rng.standard_normal(len(function.prior.mean))
        _, gradient = function(point)
        steps = 1e-5 * np.eye(len(point))
        numeric = [(function(point + step)[0] - function(point - step)[0]) / 2e-5 for step in steps]
        assert gradient == pytest.approx(numeric, rel=1e-5, abs=1e-5)


def test_the_likelihood_is_that_of_the_kernel() -> None:
    rng = np.random.default_rng(0)
    function = likelihood(rng, 20)
    found = function(function.prior.mean)[0]
    features = configurations(np.random.default_rng(0), 20)
    targets = np.sin(4 * features[:, 0]) + features[:, 1]
    made = Kernel(LAYOUT, function.prior.mean)
    matrix = made.cross(features, features) + np.diag(made.noise + function._noise)
    targets = targets - targets.mean()
    assert found == pytest.approx(0.5 * targets @ np.linalg.solve(matrix, targets) + 0.5 * np.linalg.slogdet(matrix)[1])


def _searched(search: Search, function: Callable[[np.ndarray], Evaluation]) -> tuple[tuple[np.ndarray, float], int]:
    """What a search finds, and how often it asks for the function."""
    point, calls = next(search), 0
    while True:
        try:
            point, calls = search.send(function(point)), calls + 1
        except StopIteration as end:
            return end.value, calls + 1


def test_the_optimizer_finds_what_scipys_finds() -> None:
    from scipy.optimize import minimize as theirs

    function = likelihood(np.random.default_rng(3), 40)
    prior = function.prior
    search = minimize(prior.mean, prior.low, prior.high, 100)
    found, calls = _searched(search, function)
    bounds = list(zip(prior.low, prior.high, strict=True))
    expected = theirs(function, prior.mean, jac=True, method="L-BFGS-B", bounds=bounds)
    assert found[1] == pytest.approx(expected.fun, abs=0.05)
    assert calls < 2 * expected.nfev


def test_the_optimizer_stays_within_its_bounds() -> None:
    low, high = np.array([-1.0, -1.0]), np.array([1.0, 1.0])
    search = minimize(np.array([0.0, 0.9]), low, high, 50)

    def function(point: np.ndarray) -> tuple[float, np.ndarray]:
        assert (point >= low).all()
        assert (point <= high).all()
        away = point - np.array([3.0, 0.25])
        return float(away @ away), 2 * away

    (found, _), _ = _searched(search, function)
    assert found == pytest.approx([1.0, 0.25], abs=1e-3)


def test_a_fit_does_its_work_in_pieces() -> None:
    function = likelihood(np.random.default_rng(4), 30)
    pieces = list(fitted(function, [function.prior.mean], 10))
    assert len(pieces) >= 10
    assert set(pieces) == {function.work}


def test_the_expected_improvement_is_the_integral_and_has_a_logarithm_everywhere() -> None:
    rng = np.random.default_rng(5)
    draws = rng.standard_normal(400_000)
    for best, mean, deviation in ((0.0, 0.5, 1.0), (0.0, -2.0, 0.5), (1.0, 1.5, 0.4)):
        expected = np.maximum(best - mean - deviation * draws, 0.0).mean()
        found = log_expected_improvement(best, np.array([mean]), np.array([deviation]))[0]
        assert np.exp(found) == pytest.approx(expected, rel=0.02)
    far = log_expected_improvement(0.0, np.linspace(-60.0, 1e6, 5_000), np.ones(5_000))
    assert np.isfinite(far).all()
    assert (np.diff(far) < 0).all()
    near = log_expected_improvement(0.0, np.linspace(-10.0, 30.0, 4_001), np.ones(4_001))
    assert np.abs(np.diff(near, 2)).max() < 1e-3  # no step where one formula takes over from another


def test_the_probability_of_meeting_constraints_is_the_product() -> None:
    found = log_feasibility(np.array([[0.0, -1.0], [0.0, 40.0]]), np.ones(2))
    assert found[0] == pytest.approx(2 * np.log(0.5))
    assert found[1] < -700
