"""TPE's density estimate: a mixture with one product kernel a trial and a prior, computed as the papers define it.

The density is p(x) = sum_n w_n prod_d k_d(x_d; n), one kernel for each trial n and parameter d. A number's kernel is a
normal distribution around the trial's value, truncated to the range and, with a step, integrated over each step; a
choice's kernel gives the trial's choice most of the probability. The last component is the prior: a kernel over the
whole range. Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011; kernels over several parameters
as in Falkner et al., BOHB, ICML 2018; details as in Watanabe, Tree-Structured Parzen Estimator, arXiv:2304.11127, 2023.

Right for the few trials below the split. ``incremental_mixture`` computes the same for many trials.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..axes import Axis
from .truncnorm import LOG_SQRT_2PI, log_mass, log_step_mass, quantile

MIN_BANDWIDTH = 1e-12
"""Least bandwidth without the magic clip: only so that nothing is divided by zero."""
FULL_WEIGHT_TRIALS = 25
"""The newest trials, which have full weight; also the most that are below the split."""
MAX_CACHED_STEPS = 1024
"""Values of a parameter with steps for which a mixture keeps the kernels' masses."""


def default_gamma(count: int) -> int:
    """How many of ``count`` finished trials are below the split: a tenth, at most 25."""
    return min(math.ceil(0.1 * count), FULL_WEIGHT_TRIALS)


def default_gamma_multi_objective(count: int) -> int:
    """How many are below the split with several directions: a tenth. A Pareto front needs more trials to cover it."""
    return math.ceil(0.1 * count)


def default_weights(count: int) -> np.ndarray:
    """Weights of ``count`` trials, oldest first: 1 for the last 25, falling linearly to 1 / count for the oldest."""
    if count < FULL_WEIGHT_TRIALS:
        return np.ones(count)
    return np.concatenate([np.linspace(1.0 / count, 1.0, num=count - FULL_WEIGHT_TRIALS), np.ones(FULL_WEIGHT_TRIALS)])


@dataclass(frozen=True)
class KernelSettings:
    """The shape of the kernels.

    Attributes:
        prior_weight: Weight of the prior, where a trial of full weight has 1.
        magic_clip: Bound the bandwidths from below by the range over ``min(100, 2 + trials)``.
        endpoints: The ends of the range count as neighbours of the outermost kernels.
        weights: From a number of trials to their weights, oldest first.
    """

    prior_weight: float = 1.0
    magic_clip: bool = True
    endpoints: bool = False
    weights: Callable[[int], np.ndarray] = default_weights

    def trial_weights(self, count: int) -> np.ndarray:
        """The weights of ``count`` trials, oldest first.

        Raises:
            ValueError: ``weights`` gives negative or infinite weights, or zeros only.
        """
        if self.weights is default_weights:
            return default_weights(count)
        weights = np.array(self.weights(count), dtype=float)[:count]
        if (weights < 0).any() or not np.isfinite(weights).all():
            raise ValueError(f"weights must be finite and not negative, but weights({count}) gives {weights}")
        if count and weights.sum() <= 0:
            raise ValueError(f"weights must not all be zero, but weights({count}) gives {weights}")
        return weights

    def min_bandwidth(self, axis: Axis, count: int) -> float:
        """The least bandwidth of a kernel in a mixture of ``count`` trials."""
        return axis.width / min(100.0, 2.0 + count) if self.magic_clip else MIN_BANDWIDTH


def neighbour_gaps(ordered: np.ndarray, axis: Axis, endpoints: bool) -> np.ndarray:
    """The distance of each centre to its farther neighbour.

    Args:
        ordered: The centres, ascending.
        endpoints: The ends of the range are neighbours, too. They always are of a single centre.
    """
    around = np.empty(len(ordered) + 2)
    around[0], around[1:-1], around[-1] = axis.low, ordered, axis.high
    steps = np.diff(around)
    if not endpoints and len(ordered) >= 2:
        steps[0], steps[-1] = -math.inf, -math.inf
    return np.maximum(steps[:-1], steps[1:])


def kernel_bandwidths(centres: np.ndarray, axis: Axis, settings: KernelSettings) -> np.ndarray:
    """The bandwidths (standard deviations) of kernels at ``centres``, which are in the order of their trials.

    A kernel is as wide as the distance to its farther neighbour, within bounds. Among equal centres the order decides
    which one is next to other values; it is that of numpy's default sort, which is unstable, since Optuna uses it.
    """
    order = np.argsort(centres)
    found = np.empty(len(centres))
    found[order] = neighbour_gaps(centres[order], axis, settings.endpoints)
    return np.clip(found, settings.min_bandwidth(axis, len(centres)), axis.width)


@dataclass(frozen=True)
class Mixture:
    """A mixture density with one component for each trial, and the prior as the last component.

    Attributes:
        axes: The parameters (D).
        weights: Of the components (N); they sum to 1.
        kernels: For each axis: centres and bandwidths (two arrays of N) of a number, probabilities (N x choices) of a
            choice.
    """

    axes: tuple[Axis, ...]
    weights: np.ndarray
    kernels: tuple[tuple[np.ndarray, np.ndarray] | np.ndarray, ...]

    def sample(self, random: np.random.RandomState, size: int) -> np.ndarray:
        """``size`` points drawn from the mixture: an array (size x D) of internal values."""
        components = random.choice(len(self.weights), p=self.weights, size=size)
        return self._sample(random, np.broadcast_to(components, (len(self.axes), size)))

    def sample_marginals(self, random: np.random.RandomState, size: int) -> np.ndarray:
        """As ``sample``, but each coordinate by itself: points drawn from the product of the mixture's marginals."""
        shape = (len(self.axes), size)
        return self._sample(random, random.choice(len(self.weights), p=self.weights, size=shape))

    def _sample(self, random: np.random.RandomState, components: np.ndarray) -> np.ndarray:
        """A point from each column of ``components`` (axes x points). Draws choices first, then numbers, as Optuna."""
        size = components.shape[1]
        points = np.empty((size, len(self.axes)))
        for i, axis in enumerate(self.axes):
            if axis.choices:
                probabilities = self.kernels[i]
                assert isinstance(probabilities, np.ndarray)
                cumulative = np.cumsum(probabilities[components[i]], axis=1)
                cumulative[:, -1] = 1.0
                points[:, i] = (cumulative < random.rand(size)[:, None]).sum(axis=1)
        numbers = self._numbers
        if not numbers.axis_indices:
            return points
        at = np.arange(len(numbers.axis_indices))[:, None], components[numbers.axis_indices]
        drawn = quantile(random.uniform(size=at[1].shape), numbers.lows[at], numbers.highs[at])
        for i, row in zip(numbers.axis_indices, drawn * numbers.widths[at] + numbers.centres[at], strict=True):
            points[:, i] = self.axes[i].inverse(row)
        return points

    @functools.cached_property
    def _numbers(self) -> NumericKernels:
        return NumericKernels.of(self)

    @functools.cached_property
    def _continuous(self) -> list[int]:
        """The rows of the continuous axes in ``_numbers``."""
        return [n for n, i in enumerate(self._numbers.axis_indices) if not self.axes[i].step]

    @functools.cached_property
    def _tables(self) -> dict[int, np.ndarray]:
        """For each axis of choices the logarithms of the probabilities (choices x N)."""
        with np.errstate(divide="ignore"):
            return {i: np.log(kernel).T for i, kernel in enumerate(self.kernels) if isinstance(kernel, np.ndarray)}

    @functools.cached_property
    def _steps(self) -> dict[int, dict[float, np.ndarray]]:
        """For each axis with steps a cache: from a value to the logarithm of each kernel's mass on its step."""
        return {i: {} for i, axis in enumerate(self.axes) if axis.step}

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """The logarithm of the density (on discrete axes, of the probability) at each row of ``points`` (internal)."""
        logs = np.zeros((len(points), len(self.weights)))
        numbers = self._numbers
        for i, axis in enumerate(self.axes):
            if axis.choices:
                logs += self._tables[i][points[:, i].astype(int)]
            elif axis.step:
                logs += self._log_steps(i, points[:, i])
                logs -= numbers.log_norms[numbers.axis_indices.index(i)]
        if self._continuous:
            rows = self._continuous
            indices = [numbers.axis_indices[row] for row in rows]
            values = np.stack([self.axes[i].transform(points[:, i]) for i in indices])
            z = (values[:, :, None] - numbers.centres[rows][:, None]) / numbers.widths[rows][:, None]
            logs += (-(z**2) / 2.0 - LOG_SQRT_2PI - numbers.log_norms[rows][:, None]).sum(axis=0)
        with np.errstate(divide="ignore"):
            logs += np.log(self.weights)
            largest = logs.max(axis=1)
            largest[np.isneginf(largest)] = 0.0
            return np.asarray(np.log(np.exp(logs - largest[:, None]).sum(axis=1)) + largest)

    def _log_steps(self, i: int, values: np.ndarray) -> np.ndarray:
        axis, known = self.axes[i], self._steps[i]
        keys = values.tolist()
        new = [key for key in dict.fromkeys(keys) if key not in known]
        if new:
            if len(known) > MAX_CACHED_STEPS:
                known.clear()
                new = list(dict.fromkeys(keys))
            found = log_step_masses(axis, np.array(new), *self.kernels[i])
            known.update(zip(new, found, strict=True))
        return np.array([known[key] for key in keys])


@dataclass(frozen=True)
class NumericKernels:
    """The kernels of a mixture on all its numeric axes, as arrays (numeric axes x N).

    Attributes:
        axis_indices: The numeric axes, as indices into the mixture's axes.
        centres, widths: The means and standard deviations of the normal distributions.
        lows, highs: Where they are truncated, in standard deviations from the mean.
        log_norms: The logarithm of what a kernel is divided by: its mass within the range, and on continuous axes its
            width.
    """

    axis_indices: list[int]
    centres: np.ndarray
    widths: np.ndarray
    lows: np.ndarray
    highs: np.ndarray
    log_norms: np.ndarray

    @classmethod
    def of(cls, mixture: Mixture) -> NumericKernels:
        """The numeric kernels of ``mixture``."""
        axis_indices = [i for i, axis in enumerate(mixture.axes) if not axis.choices]
        axes = [mixture.axes[i] for i in axis_indices]
        shape = (len(axis_indices), len(mixture.weights))
        centres = np.array([mixture.kernels[i][0] for i in axis_indices]).reshape(shape)
        widths = np.array([mixture.kernels[i][1] for i in axis_indices]).reshape(shape)
        lows = (np.array([[axis.low] for axis in axes]).reshape(-1, 1) - centres) / widths
        highs = (np.array([[axis.high] for axis in axes]).reshape(-1, 1) - centres) / widths
        continuous = np.array([not axis.step for axis in axes], dtype=bool).reshape(-1, 1)
        log_norms = log_mass(lows, highs) + np.where(continuous, np.log(widths), 0.0)
        return cls(axis_indices, centres, widths, lows, highs, log_norms)


def log_step_masses(axis: Axis, values: np.ndarray, centres: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """The logarithm of each kernel's mass (columns) on the step around each of ``values`` (rows)."""
    left, right, size = (ends[:, None] for ends in axis.step_ends(values))
    return log_step_mass((left - centres) / widths, (right - centres) / widths, size / widths)


def build_mixture(
    axes: Sequence[Axis], trials: np.ndarray, settings: KernelSettings, *, equal: bool = False
) -> Mixture:
    """Build the mixture of some trials.

    Args:
        axes: The parameters (D).
        trials: Their transformed values (trials x D), oldest trial first.
        equal: Give every trial the weight 1, whatever the settings say; for l(x) with several directions.
    """
    count = len(trials)
    weights = np.ones(count) if equal else settings.trial_weights(count)
    weights = np.append(weights, settings.prior_weight) if count else np.ones(1)
    kernels = [
        _choices(axis, trials[:, i], settings) if axis.choices else _numbers(axis, trials[:, i], settings)
        for i, axis in enumerate(axes)
    ]
    return Mixture(tuple(axes), weights / weights.sum(), tuple(kernels))


def _numbers(axis: Axis, centres: np.ndarray, settings: KernelSettings) -> tuple[np.ndarray, np.ndarray]:
    widths = kernel_bandwidths(centres, axis, settings)
    return np.append(centres, axis.middle), np.append(widths, axis.width)


def _choices(axis: Axis, indices: np.ndarray, settings: KernelSettings) -> np.ndarray:
    count = len(indices)
    if not count:
        return np.full((1, axis.choices), 1.0 / axis.choices)
    table = np.full((count + 1, axis.choices), settings.prior_weight / (count + 1))
    table[np.arange(count), indices.astype(int)] += 1.0
    sums = table.sum(axis=1, keepdims=True)
    return table / np.where(sums == 0, 1.0, sums)
