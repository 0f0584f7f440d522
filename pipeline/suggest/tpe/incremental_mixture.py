"""The other trials' mixture, of which there may be a hundred thousand: kept from question to question.

Along continuous axes the logarithm of a kernel at a candidate is quadratic in the candidate, so that all of them at all
candidates are one matrix product; along discrete axes it is looked up. A first pass in single precision finds the
candidates that may be the best, and only those are worked out in double.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .axes import Axis
from .bandwidths import EXACT, Line
from .discrete_kernels import ChoiceTable, StepTable
from .history import NONE, History
from .mixture import Mixture, Settings, build
from .truncnorm import LOG_SQRT_2PI, log_mass

SMALL = 128
"""Up to so many kernels the mixture is built anew, which then is cheaper; from 98 on the least width is a fixed one."""
SINGLE = 1024
"""Kernels from which on the first pass is in single precision."""
SINGLE_EPSILON = 2.0**-23
CHUNK = 8192
BLOCK = 256
"""Rows that there is room for are a multiple of this."""
LEVEL = 32
PRODUCT, SUM = 2**17, 2**13
"""Most multiplications of one product of matrices, and of one weighted sum: with more, BLAS starts threads, which on a
busy node wait for each other longer than they work."""
FINE = 0.005
"""A step narrower than this, in widths of the narrowest kernel and halved, is nearly continuous: see ``_feature``."""
LOST = -1e30


class Kernels:
    """All trials with values for ``axes`` that are not among the good ones.

    Attributes:
        count: How many.
    """

    def __init__(self, history: History, axes: Sequence[Axis], settings: Settings):
        self._history, self.axes, self._settings = history, tuple(axes), settings
        self._names = [axis.name for axis in axes]
        self._lines = {i: Line(axis, settings) for i, axis in enumerate(axes) if not axis.choices}
        self._smooth = [i for i, line in self._lines.items() if _is_smooth(self.axes[i], line)]
        smooth = [self.axes[i] for i in self._smooth]
        self._middles = np.array([0.5 * (axis.low + axis.high) for axis in smooth])
        self._spans = np.array([axis.width for axis in smooth])
        self._steps_wide = np.array([axis.step for axis in smooth])
        self._log_steps = np.array([math.log(axis.step) if axis.step else 0.0 for axis in smooth])
        self._choices = {i: ChoiceTable(axis, settings) for i, axis in enumerate(axes) if axis.choices}
        self._steps = {i: StepTable(self.axes[i]) for i in self._lines if i not in self._smooth}
        self._seen, self._generation = -1, -1
        self._large = False
        self.count = self._end = 0
        # By row, which is a kernel's place; row 0 is the prior's.
        self._values, self._numbers = np.empty((0, len(self.axes))), np.empty(0, dtype=np.int64)
        self._features = self._no_features(0)
        self._single = self._features.astype(np.float32)
        self._row_of = np.empty(0, dtype=np.int64)  # by trial number; -1: it has none
        self._order = np.empty(0, dtype=np.int64)  # rows, oldest trial first
        self._free: list[int] = []
        self._mixture: Mixture | None = None
        self._weights: np.ndarray | None = None

    # -- which trials they are ----------------------------------------------------------------------------------------

    def look(self) -> None:
        """Take in what changed in the history."""
        history = self._history
        changed = history.changed(self._seen) if self._generation == history.generation else None
        self._seen, self._generation = history.changes, history.generation
        if changed is not None and not changed:
            return
        if changed is None or len(different := set(changed)) > 64 + self.count // 16:
            self._build()
            return
        numbers = np.array(sorted(different), dtype=np.int64)
        while len(self._row_of) < history.size:
            self._row_of = np.concatenate([self._row_of, np.full(len(self._row_of), -1, dtype=np.int64)])
        values, present = self._values_of(numbers)
        rows = self._row_of[present]
        other = (rows < 0) | (self._values[rows] != values).any(axis=1)
        gone = different.intersection(numbers[self._row_of[numbers] >= 0].tolist())
        gone.difference_update(present[~other].tolist())
        if gone or other.any():
            self._change(sorted(gone), present[other].tolist(), values[other])

    def _values_of(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        history = self._history
        chosen = numbers[(history.state[numbers] != NONE) & ~history.good[numbers]]
        values, present = history.rows(self._names, chosen)
        for i, axis in enumerate(self.axes):
            if axis.log:
                values[:, i] = axis.kernel(values[:, i])
        return values, present

    def _build(self) -> None:
        values, numbers = self._values_of(np.arange(self._history.size))
        self.count, self._end = len(numbers), len(numbers) + 1  # row 0 is the prior
        capacity = -(-(self._end + self._end // 2) // BLOCK) * BLOCK
        self._values = np.zeros((capacity, len(self.axes)))
        self._values[0] = [0.5 * (axis.low + axis.high) for axis in self.axes]
        self._numbers = np.full(capacity, -1, dtype=np.int64)
        self._values[1 : self._end], self._numbers[1 : self._end] = values, numbers
        self._row_of = np.full(len(self._history.state), -1, dtype=np.int64)
        self._row_of[numbers] = np.arange(1, self._end)
        self._free, self._large = [], False
        self._settle()

    def _change(self, gone: list[int], new: list[int], values: np.ndarray) -> None:
        dropped = [int(self._row_of[number]) for number in gone]
        centres = self._values[dropped].tolist()
        self._row_of[gone] = -1
        # Rows that went are not used again before all lines have let go of them: these tell equal centres by number.
        free, self._free = self._free, []
        added = [free.pop() if free else self._append() for _ in new]
        self._free = free + dropped
        self.count += len(new) - len(gone)
        self._values[added], self._numbers[added], self._row_of[new] = values, new, added
        self._settle((dropped, centres, added) if self._large else None)
        self._numbers[dropped] = -1

    def _append(self) -> int:
        if self._end == len(self._values):
            more = -(-self._end // (2 * BLOCK)) * BLOCK
            capacity = self._end + more
            self._values = np.concatenate([self._values, np.zeros((more, len(self.axes)))])
            self._numbers = np.concatenate([self._numbers, np.full(more, -1, dtype=np.int64)])
            if self._large:
                for line in self._lines.values():
                    line.grow(capacity)
                for choices in self._choices.values():
                    choices.grow(capacity)
                for steps in self._steps.values():
                    steps.grow(capacity)
                self._features = np.concatenate([self._features, self._no_features(more)])
                self._single = np.concatenate([self._single, self._no_features(more).astype(np.float32)])
        self._end += 1
        return self._end - 1

    def _settle(self, change: tuple[list[int], list[list[float]], list[int]] | None = None) -> None:
        """Bring all that is derived up to date."""
        self._mixture = self._weights = None
        self._order = self._row_of[np.flatnonzero(self._row_of >= 0)]
        if self.count < SMALL:
            self._large = False
            return
        if change is None or any(table.kinds > 1024 + 2 * self.count for table in self._steps.values()):
            self._enlarge()
            return
        dropped, centres, added = change
        touched = set(added)
        for i, line in self._lines.items():
            pairs = [(row, values[i]) for row, values in zip(dropped, centres, strict=True)]
            rows = line.change(pairs, added, self._values[:, i], self._numbers, self._order)
            if i in self._steps:
                self._steps[i].put(rows, self._values[rows, i], line.widths[rows])
            else:
                touched.update(rows.tolist())
        new = np.array(added, dtype=np.int64)
        for i, table in self._choices.items():
            table.put(new, self._values[new, i])
        self._features[dropped] = self._no_features(1)
        self._single[dropped] = self._no_features(1)
        self._feature(np.array(sorted(touched), dtype=np.int64))

    # -- what is derived from them ------------------------------------------------------------------------------------

    def _enlarge(self) -> None:
        self._large = True
        capacity, order = len(self._values), self._order
        first = np.append(order, 0)
        for i, line in self._lines.items():
            line.build(self._values[:, i], order, capacity)
            line.widths[0] = self.axes[i].width
        for i, steps in self._steps.items():
            steps.build(capacity)
            steps.put(first, self._values[first, i], self._lines[i].widths[first])
        for i, choices in self._choices.items():
            choices.build(capacity)
            choices.put(order, self._values[order, i])
        self._farthest = 0.5
        self._features = self._no_features(capacity)
        self._single = self._features.astype(np.float32)
        self._feature(first)

    def _no_features(self, count: int) -> np.ndarray:
        nothing = np.ones((count, 2 * len(self._smooth) + 2))
        nothing[:, -2] = LOST
        return nothing

    def _feature(self, rows: np.ndarray) -> None:
        """For each row the factors of the candidate's squares, of itself, of 1 and of a shift, in units of the range.

        The mass on a narrow step of half width h (in widths) at distance z is the density times
        2 h (1 + (z^2 - 1) h^2 / 6), to the next order, of h^4, which is nothing for steps as narrow as FINE.
        """
        values = self._values[rows][:, self._smooth]
        widths = np.stack([self._lines[i].widths[rows] for i in self._smooth], axis=1) if self._smooth else values
        middles, spans = self._middles, self._spans
        low, high = middles - 0.5 * spans, middles + 0.5 * spans
        centres = (values - middles) / spans
        narrow = 0.5 * self._steps_wide / widths  # half a step, in widths
        square = -0.5 * (spans / widths) ** 2 * (1.0 - narrow**2 / 3.0)
        constant = -LOG_SQRT_2PI - np.log(widths) + self._log_steps - narrow**2 / 6.0
        constant -= log_mass((low - values) / widths, (high - values) / widths)
        self._features[rows, 0:-2:2] = square
        self._features[rows, 1:-2:2] = -2.0 * square * centres
        self._features[rows, -2] = (square * centres**2 + constant).sum(axis=1)
        self._farthest = max(self._farthest, float(np.abs(centres).max(initial=0.0)))
        self._single[rows] = self._features[rows]

    def _weigh(self) -> np.ndarray:
        if self._weights is None:
            self._weights = np.zeros(len(self._values))
            self._weights[self._order] = self._settings.weigh(self.count)
            self._weights[0] = self._settings.prior_weight
            self._weights /= self._weights.sum()
            self._single_weights = self._weights.astype(np.float32)
        return self._weights

    # -- what they say ------------------------------------------------------------------------------------------------

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """The logarithm of the mixture's density at ``points``, in double precision."""
        if not self._large:
            if self._mixture is None:
                self._mixture = build(self.axes, self._values[self._order], self._settings)
            return self._mixture.log_density(points)
        return self._log_density(points, np.float64)

    def compare(self, good: np.ndarray, points: np.ndarray) -> np.ndarray:
        """As ``log_density``, but exact only where ``good`` less this may be the largest."""
        error = self._error()
        if not self._large or self.count < SINGLE or error > 0.2:
            return self.log_density(points)
        found = self._log_density(points, np.float32)
        ratio = good - found
        near = np.flatnonzero(ratio >= ratio.max() - 2 * error)
        if len(near) > 1:
            found[near] = self._log_density(points[near], np.float64)
        return found

    def _error(self) -> float:
        """A bound, by a margin, of the error of the logarithms in single precision."""
        if not self._large:
            return 0.0
        terms = sum((2 * self._farthest * self.axes[i].width / self._lines[i].narrowest) ** 2 for i in self._smooth)
        return 1e-4 + 8 * SINGLE_EPSILON * terms

    def _log_density(self, points: np.ndarray, precision: type[np.floating]) -> np.ndarray:
        weights = self._weigh()
        features = self._features
        if precision is np.float32:
            weights, features = self._single_weights, self._single
        factors = np.ones((2 * len(self._smooth) + 2, len(points)))
        for place, i in enumerate(self._smooth):
            axis = self.axes[i]
            factors[2 * place + 1] = (axis.kernel(points[:, i]) - 0.5 * (axis.low + axis.high)) / axis.width
            factors[2 * place] = factors[2 * place + 1] ** 2
        factors[-1] = 0.0
        factors = factors.astype(precision)
        tables = [(t.logs(points[:, i]).astype(precision), t.codes) for i, t in self._steps.items()]
        tables += [(c.logs(points[:, i], self.count).astype(precision), c.codes) for i, c in self._choices.items()]
        buffers = np.empty((2, min(CHUNK, len(weights)), len(points)), dtype=precision)
        slot, total = np.zeros(len(points)), np.zeros(len(points))
        start, end, width = 0, -(-self._end // BLOCK) * BLOCK, len(points)
        most = 40.0 if precision is np.float32 else 300.0
        while start < end:
            stop = min(start + CHUNK, end)
            logs, found = buffers[:, : stop - start]
            part = _rows(PRODUCT, factors.size)
            np.matmul(features[start:stop].reshape(-1, part, len(factors)), factors, out=logs.reshape(-1, part, width))
            for table, codes in tables:
                np.take(table, codes[start:stop], axis=0, out=found, mode="clip")
                logs += found
            # Logarithms are shifted by the largest of the first chunk, so that later ones rarely need a look for it.
            if start == 0 and not factors[-1].any():
                level = logs.reshape(-1, LEVEL * width)  # short rows are slow
                factors[-1] = -level.max(axis=0).reshape(LEVEL, width).max(axis=0)
                logs += factors[-1]
                slot = -factors[-1].astype(np.float64)
            np.clip(logs, precision(-2 * most), precision(2 * most), out=logs)  # smaller ones are nothing, but slow
            np.exp(logs, out=logs)
            part = _rows(SUM, width)
            sums = (weights[start:stop].reshape(-1, 1, part) @ logs.reshape(-1, part, width)).sum(axis=(0, 1))
            if sums.max() < math.exp(most):
                total += sums
                start = stop
                continue
            higher = np.where(sums < math.exp(most), 0.0, np.log(sums))
            factors[-1] -= higher.astype(precision)
            total *= np.exp(slot + factors[-1])
            slot = -factors[-1].astype(np.float64)
        return np.asarray(np.log(total) + slot)


def _rows(limit: int, each: int) -> int:
    """How many rows of so many multiplications stay below the limit: a power of two that divides BLOCK."""
    return int(min(BLOCK, 2 ** max(0, (limit // each).bit_length() - 1)))


def _is_smooth(axis: Axis, line: Line) -> bool:
    return not axis.step or (not axis.log and 0.5 * axis.step / line.narrowest <= FINE)


assert SMALL <= EXACT
