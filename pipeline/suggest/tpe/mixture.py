"""Mixtures of product kernels over trials, the prior one of them: the model of TPE, straight from its definition.

Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011; kernels over several parameters at once
as in Falkner et al., BOHB, ICML 2018; details as in Watanabe, Tree-Structured Parzen Estimator (arXiv:2304.11127).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .axes import Axis
from .truncnorm import LOG_SQRT_2PI, log_mass, quantile

TINY = 1e-12
RECENT = 25
STEPS = 1024
"""Values on an axis of steps that a mixture remembers."""


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
        return self._sample(random, np.broadcast_to(kernels, (len(self.axes), size)))

    def sample_apart(self, random: np.random.RandomState, size: int) -> np.ndarray:
        """The same, each axis (column) from kernels of its own: as drawn from the mixtures on single axes."""
        shape = (len(self.axes), size)
        return self._sample(random, random.choice(len(self.weights), p=self.weights, size=shape))

    def _sample(self, random: np.random.RandomState, kernels: np.ndarray) -> np.ndarray:
        """Points from ``kernels`` (axes x points)."""
        size = kernels.shape[1]
        points = np.empty((size, len(self.axes)))
        for i, axis in enumerate(self.axes):
            if axis.choices:
                part = self.parts[i]
                assert isinstance(part, np.ndarray)
                reached = np.cumsum(part[kernels[i]], axis=1)
                reached[:, -1] = 1.0
                points[:, i] = (reached < random.rand(size)[:, None]).sum(axis=1)
        numbers = self._numbers
        if not numbers.places:
            return points
        at = np.arange(len(numbers.places))[:, None], kernels[numbers.places]
        drawn = quantile(random.uniform(size=at[1].shape), numbers.lows[at], numbers.highs[at])
        for i, row in zip(numbers.places, drawn * numbers.widths[at] + numbers.centres[at], strict=True):
            axis = self.axes[i]
            values = np.exp(row) if axis.log else row
            if axis.step:
                values = axis.bottom + np.round((values - axis.bottom) / axis.step) * axis.step
                values = np.minimum(np.maximum(values, axis.bottom), axis.top)
            points[:, i] = values
        return points

    @functools.cached_property
    def _numbers(self) -> Numbers:
        return Numbers.of(self)

    @functools.cached_property
    def _smooth(self) -> list[int]:
        """Continuous axes, by their place among the numbers."""
        return [n for n, i in enumerate(self._numbers.places) if not self.axes[i].step]

    @functools.cached_property
    def _tables(self) -> dict[int, np.ndarray]:
        with np.errstate(divide="ignore"):
            return {i: np.log(part).T for i, part in enumerate(self.parts) if isinstance(part, np.ndarray)}

    @functools.cached_property
    def _steps(self) -> dict[int, dict[float, np.ndarray]]:
        """For each axis of steps what was worked out: for a value the logarithm of each kernel's mass on its step."""
        return {i: {} for i, axis in enumerate(self.axes) if axis.step}

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """The logarithm of the density (probability, on discrete axes) at each row of ``points``."""
        logs = np.zeros((len(points), len(self.weights)))
        numbers = self._numbers
        for i, axis in enumerate(self.axes):
            if axis.choices:
                logs += self._tables[i][points[:, i].astype(int)]
            elif axis.step:
                logs += self._log_steps(i, points[:, i])
                logs -= numbers.whole[numbers.places.index(i)]
        if self._smooth:
            mine = self._smooth
            at = np.stack([self.axes[numbers.places[n]].kernel(points[:, numbers.places[n]]) for n in mine])
            away = (at[:, :, None] - numbers.centres[mine][:, None]) / numbers.widths[mine][:, None]
            logs += (-(away**2) / 2.0 - LOG_SQRT_2PI - numbers.whole[mine][:, None]).sum(axis=0)
        with np.errstate(divide="ignore"):
            logs += np.log(self.weights)
            most = logs.max(axis=1)
            most[np.isneginf(most)] = 0.0
            return np.asarray(np.log(np.exp(logs - most[:, None]).sum(axis=1)) + most)

    def _log_steps(self, i: int, values: np.ndarray) -> np.ndarray:
        axis, known = self.axes[i], self._steps[i]
        keys = values.tolist()
        new = [key for key in dict.fromkeys(keys) if key not in known]
        if new:
            if len(known) > STEPS:
                known.clear()
                new = list(dict.fromkeys(keys))
            found = log_steps(axis, np.array(new), *self.parts[i])
            known.update(zip(new, found, strict=True))
        return np.array([known[key] for key in keys])


@dataclass(frozen=True)
class Numbers:
    """All axes of a mixture that are not choices: arrays (axes x kernels).

    Attributes:
        places: Which axes of the mixture they are.
        lows, highs: The ends of the range, in widths from the centres.
        whole: The logarithms of the masses in the range; on continuous axes and of the widths, for densities.
    """

    places: list[int]
    centres: np.ndarray
    widths: np.ndarray
    lows: np.ndarray
    highs: np.ndarray
    whole: np.ndarray

    @classmethod
    def of(cls, mixture: Mixture) -> Numbers:
        places = [i for i, axis in enumerate(mixture.axes) if not axis.choices]
        axes = [mixture.axes[i] for i in places]
        shape = (len(places), len(mixture.weights))
        centres = np.array([mixture.parts[i][0] for i in places]).reshape(shape)
        widths = np.array([mixture.parts[i][1] for i in places]).reshape(shape)
        lows = (np.array([[axis.low] for axis in axes]).reshape(-1, 1) - centres) / widths
        highs = (np.array([[axis.high] for axis in axes]).reshape(-1, 1) - centres) / widths
        continuous = np.array([not axis.step for axis in axes], dtype=bool).reshape(-1, 1)
        whole = log_mass(lows, highs) + np.where(continuous, np.log(widths), 0.0)
        return cls(places, centres, widths, lows, highs, whole)


def log_steps(axis: Axis, values: np.ndarray, centres: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """The logarithm of each kernel's mass (columns) on the step around each of ``values`` (rows)."""
    left, right = axis.kernel(values - axis.step / 2), axis.kernel(values + axis.step / 2)
    return log_mass((left[:, None] - centres) / widths, (right[:, None] - centres) / widths)


def build(axes: Sequence[Axis], trials: np.ndarray, settings: Settings, *, equal: bool = False) -> Mixture:
    """The mixture of ``trials`` (a row each, oldest first, in the model's coordinates; choices as indices) and a prior.

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
