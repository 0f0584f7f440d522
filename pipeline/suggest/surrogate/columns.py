"""Places of numbers as values of their parameters and back, for all columns of a matrix at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..axes import Axis


class Columns:
    """Some parameters that are numbers, each a column; the same numbers as :class:`Axis` gives for each alone.

    Args:
        axes: Of the parameters.
    """

    def __init__(self, axes: Sequence[Axis]) -> None:
        self._low, self._width = np.array([axis.low for axis in axes]), np.array([axis.width for axis in axes])
        self.least, self.most = (
            np.array([axis.range_low for axis in axes]),
            np.array([axis.range_high for axis in axes]),
        )
        self.step = np.array([axis.step for axis in axes])
        self._offset, self._scale = np.array([axis.offset for axis in axes]), np.array([axis.scale for axis in axes])
        logs = np.array([axis.log for axis in axes], dtype=bool)
        self._logs, self._linear = np.flatnonzero(logs), np.flatnonzero(~logs)
        self._stepped = np.flatnonzero(self.step)
        self._first, self._last = ((ends - self._offset) * self._scale for ends in (self.least, self.most))

    def values(self, places: np.ndarray) -> np.ndarray:
        """The values at some places, as Optuna stores them: within the range, and on a step where there are steps."""
        found = self._low + places * self._width
        if len(self._logs):
            with np.errstate(over="ignore", under="ignore"):
                found[:, self._logs] = np.exp(found[:, self._logs])
        if len(linear := self._linear):
            bounded = np.minimum(np.maximum(found[:, linear], self._first[linear]), self._last[linear])
            found[:, linear] = bounded / self._scale[linear] + self._offset[linear]
        if len(steps := self._stepped):
            least, step = self.least[steps], self.step[steps]
            found[:, steps] = least + np.round((found[:, steps] - least) / step) * step
        bounded = np.minimum(np.maximum(found, self.least), self.most)
        return np.asarray(bounded)

    def places(self, values: np.ndarray) -> np.ndarray:
        """The places of some values; infinite or NaN for what is no number of the range's kind."""
        with np.errstate(all="ignore"):
            found = (values - self._offset) * self._scale
            if len(self._logs):
                found[:, self._logs] = np.log(values[:, self._logs])
            found -= self._low
            found /= self._width
        return np.asarray(found)
