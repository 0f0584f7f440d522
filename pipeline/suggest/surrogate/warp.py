"""Brings the values of trials into the shape that a Gaussian process expects: about normal, most detail at the best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

POWERS = np.linspace(-2.0, 2.0, 17)
"""The powers that are tried."""

MOST_VALUES = 1_000
"""Values by which the power is chosen: of more, so many quantiles."""

FAR = 1e8
"""Most units of the scale that a value may lie from the median; those beyond count as if there."""


@dataclass(frozen=True)
class Warp:
    """A monotone function of values: scaled by the median and the 5 % quantile, Yeo-Johnson, standardized.

    Attributes:
        centre: The median.
        scale: The distance from the median to the 5 % quantile.
        power: Of the Yeo-Johnson transformation; 1 leaves everything as it is.
        mean, deviation: Of the transformed values.

    Example:
        >>> warp = Warp.of(np.array([1.0, 2.0, 4.0, 8.0]))
        >>> warped = warp(np.array([1.0, 2.0, 4.0, 8.0]))
        >>> bool(abs(warped.mean()) < 1e-12 and (np.diff(warped) > 0).all())
        True
    """

    centre: float = 0.0
    scale: float = 1.0
    power: float = 1.0
    mean: float = 0.0
    deviation: float = 1.0

    @classmethod
    def of(cls, values: np.ndarray) -> Warp:
        """The likeliest warp of finite values; the identity, shifted, where all are equal or there are none."""
        if len(values) > MOST_VALUES:
            values = np.quantile(values, (np.arange(MOST_VALUES) + 0.5) / MOST_VALUES)
        shape = cls.scaling(values)
        if not len(values) or values.min() == values.max():
            return shape
        x = shape._scaled(values)
        powered = [_yeo_johnson(x, power) for power in POWERS]
        log_slope = float((np.sign(x) * np.log1p(np.abs(x))).sum())
        likelihoods = [
            -0.5 * len(x) * np.log(max(float(np.var(each)), 1e-300)) + (power - 1.0) * log_slope
            for power, each in zip(POWERS, powered, strict=True)
        ]
        best = int(np.argmax(likelihoods))
        mean, deviation = float(powered[best].mean()), float(powered[best].std())
        return cls(shape.centre, shape.scale, float(POWERS[best]), mean, deviation if deviation > 1e-12 else 1.0)

    @classmethod
    def scaling(cls, values: np.ndarray) -> Warp:
        """Only the scale of finite values, by their median and 5 % quantile."""
        if not len(values):
            return cls()
        unit = max(1.0, float(np.abs(values).max()))  # differences of values near the largest float must be finite
        centre, low = np.quantile(values / unit, [0.5, 0.05])
        scale = float(centre - low) or float(np.std(values / unit))
        if scale <= 1e-300:
            return cls(centre=float(centre * unit))
        return cls(float(centre * unit), scale * unit if scale * unit > 1e-300 else 1.0)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """The warped values."""
        found: np.ndarray = (_yeo_johnson(self._scaled(values), self.power) - self.mean) / self.deviation
        return found

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return np.asarray(np.clip((values - self.centre) / self.scale, -FAR, FAR))


def _yeo_johnson(x: np.ndarray, power: float) -> np.ndarray:
    """Yeo and Johnson, A new family of power transformations to improve normality or symmetry, Biometrika 2000."""
    up, down = np.log1p(np.maximum(x, 0.0)), np.log1p(np.maximum(-x, 0.0))
    right = up if abs(power) < 1e-9 else np.expm1(power * up) / power
    other = 2.0 - power
    left = down if abs(other) < 1e-9 else np.expm1(other * down) / other
    return np.asarray(right - left)
