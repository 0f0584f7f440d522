"""Mixtures of product kernels over trials, the prior one of them: the model of TPE, straight from its definition.

Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011; kernels over several parameters at once as in
Falkner et al., BOHB, ICML 2018; details as in Watanabe, Tree-Structured Parzen Estimator, 2023 (arXiv:2304.11127).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .axes import Axis
from .truncated import LOG_SQRT_2PI, log_mass, quantile

TINY = 1e-12
RECENT = 25


def default_gamma(count: int) -> int:
    """How many of ``count`` finished trials are good ones."""
    return min(math.ceil(0.1 * count), RECENT)


def default_gamma_of_several(count: int) -> int:
    """The same for several directions."""
    return math.ceil(0.1 * count)


def default_weights(count: int) -> np.ndarray:
    """Weights of ``count`` trials, oldest first: the last 25 count fully, those before them less the older they are."""
    if count < RECENT:
        return np.ones(count)
    return np.concatenate([np.linspace(1.0 / count, 1.0, num=count - RECENT), np.ones(RECENT)])


@dataclass(frozen=True)
class Settings:
    """What shapes the kernels; all but the weights are as everybody leaves them."""

    prior_weight: float = 1.0
    magic_clip: bool = True
    endpoints: bool = False
    weights: Callable[[int], np.ndarray] = default_weights

    def weigh(self, count: int) -> np.ndarray:
        """The weights of ``count`` trials, oldest first. Raises ValueError for what are no weights."""
        if self.weights is default_weights:
            return default_weights(count)
        weights = np.array(self.weights(count), dtype=float)[:count]
        if (weights < 0).any() or not np.isfinite(weights).all():
            raise ValueError(f"weights must be finite and not negative, but weights({count}) gives {weights}")
        if count and weights.sum() <= 0:
            raise ValueError(f"weights must not all be zero, but weights({count}) gives {weights}")
        return weights

    def narrowest(self, axis: Axis, count: int) -> float:
        """The least standard deviation of a kernel among those of ``count`` trials."""
        return axis.width / min(100.0, 2.0 + count) if self.magic_clip else TINY


def gaps(ordered: np.ndarray, axis: Axis, endpoints: bool) -> np.ndarray:
    """The distance of each of the ``ordered`` centres to its farther neighbour, the ends of the range being some."""
    around = np.empty(len(ordered) + 2)
    around[0], around[1:-1], around[-1] = axis.low, ordered, axis.high
    steps = np.diff(around)
    if not endpoints and len(ordered) >= 2:
        steps[0], steps[-1] = -math.inf, -math.inf
    return np.maximum(steps[:-1], steps[1:])


def deviations(centres: np.ndarray, axis: Axis, settings: Settings) -> np.ndarray:
    """The kernels' standard deviations, for centres in the order of their trials.

    Among equal centres the sort's own order decides which is the outermost: it is Optuna's, so that the models agree.
    """
    order = np.argsort(centres)
    found = np.empty(len(centres))
    found[order] = gaps(centres[order], axis, settings.endpoints)
    return np.clip(found, settings.narrowest(axis, len(centres)), axis.width)


@dataclass(frozen=True)
class Mixture:
    """A mixture with one kernel a trial and the prior at the end.

    Attributes:
        weights: Of the kernels; their sum is 1.
        parts: For each axis the kernels' centres and deviations, or their table of choices (kernels x choices).
    """

    axes: tuple[Axis, ...]
    weights: np.ndarray
    parts: tuple[tuple[np.ndarray, np.ndarray] | np.ndarray, ...]

    def sample(self, random: np.random.RandomState, size: int) -> np.ndarray:
        """``size`` points (rows) drawn from the mixture, as numbers of the trials; choices as indices."""
        kernels = random.choice(len(self.weights), p=self.weights, size=size)
        points = np.empty((size, len(self.axes)))
        numbers = [i for i, axis in enumerate(self.axes) if not axis.choices]
        for i, (axis, part) in enumerate(zip(self.axes, self.parts, strict=True)):
            if axis.choices:
                assert isinstance(part, np.ndarray)
                reached = np.cumsum(part[kernels], axis=1)
                reached[:, -1] = 1.0
                points[:, i] = (reached < random.rand(size)[:, None]).sum(axis=1)
        if not numbers:
            return points
        centres = np.array([self.parts[i][0][kernels] for i in numbers])
        widths = np.array([self.parts[i][1][kernels] for i in numbers])
        lows = (np.array([[self.axes[i].low] for i in numbers]) - centres) / widths
        highs = (np.array([[self.axes[i].high] for i in numbers]) - centres) / widths
        drawn = quantile(random.uniform(size=centres.shape), lows, highs) * widths + centres
        for i, row in zip(numbers, drawn, strict=True):
            axis = self.axes[i]
            values = np.exp(row) if axis.log else row
            if axis.step:
                values = axis.bottom + np.round((values - axis.bottom) / axis.step) * axis.step
                values = np.clip(values, axis.bottom, axis.top)
            points[:, i] = values
        return points

    @functools.cached_property
    def _whole(self) -> list[Any]:
        """By axis the logarithms of the kernels' masses in the range; for densities with their widths."""
        found: list[Any] = []
        for axis, part in zip(self.axes, self.parts, strict=True):
            if axis.choices:
                found.append(None)
                continue
            centres, widths = part
            whole = log_mass((axis.low - centres) / widths, (axis.high - centres) / widths)
            found.append(whole if axis.step else whole + np.log(widths))
        return found

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """The logarithm of the density (probability, on discrete axes) at each row of ``points``."""
        logs = np.zeros((len(points), len(self.weights)))
        smooth = np.zeros(logs.shape)
        with np.errstate(divide="ignore"):
            for i, (axis, part, whole) in enumerate(zip(self.axes, self.parts, self._whole, strict=True)):
                if axis.choices:
                    assert isinstance(part, np.ndarray)
                    logs += np.log(part[:, points[:, i].astype(int)]).T
                    continue
                centres, widths = part
                if axis.step:
                    logs += log_steps(axis, points[:, i], centres, widths)
                    logs -= whole
                else:
                    away = (axis.kernel(points[:, i])[:, None] - centres) / widths
                    smooth += -(away**2) / 2.0 - LOG_SQRT_2PI - whole
            logs += smooth
            logs += np.log(self.weights)
            most = logs.max(axis=1)
            most[np.isneginf(most)] = 0.0
            return np.asarray(np.log(np.exp(logs - most[:, None]).sum(axis=1)) + most)


def log_steps(axis: Axis, values: np.ndarray, centres: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """The logarithm of each kernel's mass (columns) on the step around each of ``values`` (rows)."""
    different, place = np.unique(values, return_inverse=True)
    left, right = axis.kernel(different - axis.step / 2), axis.kernel(different + axis.step / 2)
    return log_mass((left[:, None] - centres) / widths, (right[:, None] - centres) / widths)[place.reshape(-1)]


def build(axes: Sequence[Axis], trials: np.ndarray, settings: Settings, *, equal: bool = False) -> Mixture:
    """The mixture of ``trials`` (a row each, oldest first; in the model's coordinates, choices as indices) and the prior.

    Args:
        equal: All trials weigh 1, whatever the settings say: the good ones of several directions.
    """
    count = len(trials)
    weights = np.ones(count) if equal else settings.weigh(count)
    weights = np.append(weights, settings.prior_weight) if count else np.ones(1)
    parts = [
        _choices(axis, trials[:, i], settings) if axis.choices else _numbers(axis, trials[:, i], settings)
        for i, axis in enumerate(axes)
    ]
    return Mixture(tuple(axes), weights / weights.sum(), tuple(parts))


def _numbers(axis: Axis, centres: np.ndarray, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    widths = deviations(centres, axis, settings)
    return np.append(centres, 0.5 * (axis.low + axis.high)), np.append(widths, axis.width)


def _choices(axis: Axis, indices: np.ndarray, settings: Settings) -> np.ndarray:
    count = len(indices)
    if not count:
        return np.full((1, axis.choices), 1.0 / axis.choices)
    table = np.full((count + 1, axis.choices), settings.prior_weight / (count + 1))
    table[np.arange(count), indices.astype(int)] += 1.0
    sums = table.sum(axis=1, keepdims=True)
    return table / np.where(sums == 0, 1.0, sums)
