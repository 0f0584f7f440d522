"""A model of one quantity of trials, such as their seconds, that is fitted anew as observations come in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .features import Features, Params
from .regression import Observations, Regression, fit

MOST_ROWS = 2_000
"""The model is fitted to so many observations, the latest."""

GROWTH = 1.1
"""The model is fitted anew when there are so many times as many observations. A fit to 2,000 observations with 10
parameters takes about 50 ms, so this is a tenth of a millisecond for each of them."""

PRODUCTS_FROM = 40
"""With so many observations, products of numbers are tried."""

CHANGED = math.log(1.1)
"""How far predictions move until that counts as a change."""

PROBES = 64
"""Observations whose predictions are compared to see whether they moved."""


@dataclass(frozen=True)
class Observation:
    """An attempt: its parameters, the index of its pool, and the logarithm of what is learned."""

    params: Params
    pool: int
    value: float
    censored: bool


class Learner:
    """Learns logarithms; see :mod:`.regression` for how.

    What it says depends on the observations and their order, and on what is said to run: not on when it was asked.

    Args:
        offset: Prior variance of how much pools differ.

    Attributes:
        kept: The last observations, some more than the model is fitted to.
        count: Observations in all.
        changes: Grows when predictions have moved by more than ``CHANGED``, as seen at the last call of :meth:`update`.

    Example:
        >>> learner = Learner(4.0)
        >>> for units in (10, 20, 40, 80):
        ...     learner.add(Observation({"units": units}, 0, math.log(3.0 * units), censored=False))
        >>> learner.update(pools=1)
        True
        >>> round(float(np.exp(learner.means([{"units": 40}])[0, 0])))
        119
    """

    def __init__(self, offset: float) -> None:
        self._offset = offset
        self.kept: list[Observation] = []
        self.count = 0
        self.changes = 0
        self._due = 1
        self._wanted = 0
        self._fitted = (0, 0, 0)
        self._running: list[Observation] = []
        self._said = 0
        self._features: Features | None = None
        self._model: Regression | None = None
        self._multiplied = False
        self._latest: list[Observation] = []
        self._before: np.ndarray | None = None
        self._probes: list[Observation] = []

    def add(self, observation: Observation) -> None:
        """Keep an observation; it counts when the next fit is due."""
        self.kept.append(observation)
        self.count += 1
        if self.count >= self._due:
            self._wanted = self.count
            self._due = max(self.count + 1, math.ceil(GROWTH * self.count))
        if len(self.kept) > 2 * MOST_ROWS:
            del self.kept[: len(self.kept) - math.ceil(GROWTH * MOST_ROWS)]

    def refit(self) -> None:
        """The next fit takes all observations, also where few have come since the last one."""
        if self.count:
            self._wanted = self.count

    def running(self, observations: Sequence[Observation]) -> None:
        """What is known of attempts that have not ended, in place of what was said before: bounds."""
        if observations or self._running:
            self._running = list(observations)
            self._said += 1

    def update(self, pools: int) -> bool:
        """Fit the model if that is due; returns whether there is one."""
        if self._wanted and self._fitted != (self._wanted, pools, self._said):
            later = self.count - self._wanted
            self._latest = self.kept[: len(self.kept) - later][-MOST_ROWS:]
            self._fit(pools)
            self._fitted = (self._wanted, pools, self._said)
            self._compare(pools)
        return self._model is not None

    @property
    def fits(self) -> tuple[int, int, int]:
        """Names the model in use."""
        return self._fitted

    @property
    def latest(self) -> list[Observation]:
        """The observations that the model was fitted to."""
        return self._latest

    @property
    def noise(self) -> float:
        """Standard deviation of a logarithm around its expectation."""
        assert self._model is not None
        return self._model.noise

    def means(self, many: Sequence[Params]) -> np.ndarray:
        """Expected logarithms, by trial and pool."""
        assert self._model is not None
        return self._model.means(self._rows(many))

    def deviations(self, many: Sequence[Params]) -> np.ndarray:
        """Standard deviations of the expected logarithms, without noise, by trial and pool."""
        assert self._model is not None
        return self._model.deviations(self._rows(many))

    def _rows(self, many: Sequence[Params]) -> np.ndarray:
        assert self._features is not None
        rows = self._features.rows(many)
        return self._features.multiplied(rows) if self._multiplied else rows

    def _fit(self, pools: int) -> None:
        """Fit with products, too, where there are enough observations, and take the model that errs less."""
        latest = [*self._latest, *self._running]
        features = self._features = Features([each.params for each in latest])
        observed = Observations(
            features.rows([each.params for each in latest]),
            np.array([each.pool for each in latest]),
            np.array([each.value for each in latest]),
            np.array([each.censored for each in latest]),
        )
        self._model, self._multiplied = fit(observed, features.groups, pools, self._offset), False
        if len(latest) >= PRODUCTS_FROM and features.pairs:
            more = replace(observed, rows=features.multiplied(observed.rows))
            model = fit(more, features.multiplied_groups, pools, self._offset)
            if model.error < self._model.error:
                self._model, self._multiplied = model, True

    def _compare(self, pools: int) -> None:
        """Count a change if some predictions of the probes have moved; the probes are of the last change."""
        if self._before is not None and self._before.shape[1] == pools:
            moved = np.abs(self.means([each.params for each in self._probes]) - self._before)
            if np.quantile(moved, 0.97) <= CHANGED:
                return
        self.changes += 1
        self._probes = [*self._latest[-PROBES:], *self._running[:PROBES]]
        self._before = self.means([each.params for each in self._probes])
