"""Density g(x) of the trials above the split (up to 100,000 kernels), updated incrementally between suggestions.

Each kernel has a row in a few arrays. A new or changed trial changes its own row and its neighbours' bandwidths, and
only these rows are computed again. Along continuous axes the logarithm of a kernel at a candidate is a quadratic
function of the candidate, so that all kernels at all candidates are one matrix product; along discrete axes it is
looked up in a table. A first pass in single precision finds the candidates that may have the largest ratio, and only
those are computed in double precision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..axes import Axis
from .bandwidths import EXACT_TIES_UP_TO, Bandwidths
from .discrete_kernels import ChoiceKernels, StepKernels
from .history import NONE, History
from .mixture import KernelSettings, Mixture, build_mixture
from .truncnorm import LOG_SQRT_2PI, log_mass

REBUILD_UP_TO = 128
"""With fewer kernels than this a plain ``Mixture`` is built for each suggestion, which is cheaper. At least 98, since
only from there on the least bandwidth does not depend on the number of trials."""
SINGLE_PRECISION_FROM = 1024
"""Kernels from which on the first pass is in single precision."""
SINGLE_EPSILON = 2.0**-23
CHUNK_ROWS = 8192
"""Rows that are evaluated at a time, so that the buffers stay in the processor's cache."""
ROW_MULTIPLE = 256
"""The arrays' capacity is a multiple of this."""
MAX_GROUPS = 32
"""Maxima over rows are taken in this many groups side by side: numpy reduces long rows faster than short ones."""
MAX_PRODUCT, MAX_SUM = 2**17, 2**13
"""Most multiplications in one matrix product, and in one weighted sum. With more, BLAS starts threads, which on a busy
node wait for each other longer than they compute."""
NEARLY_CONTINUOUS = 0.005
"""An axis whose half step is at most this, in bandwidths of the narrowest kernel, is evaluated as a continuous one is
(see ``_compute_features``)."""
UNUSED = -1e30
"""Logarithm of the density of a row without a kernel."""


class IncrementalMixture:
    """The mixture of all trials of a history that have values for ``axes`` and are not below the split.

    The same density as ``build_mixture`` of these trials, to rounding.

    Args:
        history: Read by ``refresh``.
        axes: The parameters.
        settings: The shape of the kernels.

    Attributes:
        count: The number of kernels, without the prior.
    """

    def __init__(self, history: History, axes: Sequence[Axis], settings: KernelSettings):
        self._history, self.axes, self._settings = history, tuple(axes), settings
        self._names = [axis.name for axis in axes]
        self._bandwidths = {i: Bandwidths(axis, settings) for i, axis in enumerate(axes) if not axis.choices}
        self._quadratic = [i for i, bandwidths in self._bandwidths.items() if _is_quadratic(self.axes[i], bandwidths)]
        quadratic = [self.axes[i] for i in self._quadratic]
        self._middles = np.array([axis.middle for axis in quadratic])
        self._spans = np.array([axis.width for axis in quadratic])
        self._step_sizes = np.array([axis.step * axis.scale for axis in quadratic])
        self._log_step_sizes = np.array([math.log(size) if size else 0.0 for size in self._step_sizes])
        self._choice_kernels = {i: ChoiceKernels(axis, settings) for i, axis in enumerate(axes) if axis.choices}
        self._step_kernels = {i: StepKernels(self.axes[i]) for i in self._bandwidths if i not in self._quadratic}
        self._seen_changes, self._generation = -1, -1
        self._large = False
        self.count = self._end = 0
        # Arrays by row. Row 0 is the prior; the rows in _free and from _end on are without a kernel.
        # _values: the kernels' centres (transformed). _numbers: the trials' numbers, -1 without.
        self._values, self._numbers = np.empty((0, len(self.axes))), np.empty(0, dtype=np.int64)
        self._features = self._empty_features(0)
        self._single = self._features.astype(np.float32)
        self._row_of = np.empty(0, dtype=np.int64)  # by trial number; -1: it has none
        self._order = np.empty(0, dtype=np.int64)  # rows, oldest trial first
        self._free: list[int] = []
        self._mixture: Mixture | None = None
        self._weights: np.ndarray | None = None

    # -- the kernels' trials ------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Update the mixture with what changed in the history."""
        history = self._history
        changed = history.changed_since(self._seen_changes) if self._generation == history.generation else None
        self._seen_changes, self._generation = history.change_count, history.generation
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
        changed_rows = (rows < 0) | (self._values[rows] != values).any(axis=1)
        gone = different.intersection(numbers[self._row_of[numbers] >= 0].tolist())
        gone.difference_update(present[~changed_rows].tolist())
        if gone or changed_rows.any():
            self._change(sorted(gone), present[changed_rows].tolist(), values[changed_rows])

    def _values_of(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Transformed values (trials x axes) of those of the trials ``numbers`` that have a kernel; their numbers."""
        history = self._history
        chosen = numbers[(history.state[numbers] != NONE) & ~history.below[numbers]]
        values, present = history.rows(self._names, chosen)
        for i, axis in enumerate(self.axes):
            if not axis.plain:
                values[:, i] = axis.transform(values[:, i])
        return values, present

    def _build(self) -> None:
        """Build everything anew from the history."""
        values, numbers = self._values_of(np.arange(self._history.size))
        self.count, self._end = len(numbers), len(numbers) + 1  # row 0 is the prior
        capacity = -(-(self._end + self._end // 2) // ROW_MULTIPLE) * ROW_MULTIPLE
        self._values = np.zeros((capacity, len(self.axes)))
        self._values[0] = [axis.middle for axis in self.axes]
        self._numbers = np.full(capacity, -1, dtype=np.int64)
        self._values[1 : self._end], self._numbers[1 : self._end] = values, numbers
        self._row_of = np.full(len(self._history.state), -1, dtype=np.int64)
        self._row_of[numbers] = np.arange(1, self._end)
        self._free, self._large = [], False
        self._update_derived()

    def _change(self, gone: list[int], new: list[int], values: np.ndarray) -> None:
        """Remove the kernels of the trials ``gone``, and add those of the trials ``new`` at ``values``."""
        dropped = [int(self._row_of[number]) for number in gone]
        centres = self._values[dropped].tolist()
        self._row_of[gone] = -1
        # Dropped rows are not reused in this update: the bandwidths still find equal centres by their trials' numbers.
        free, self._free = self._free, []
        added = [free.pop() if free else self._append() for _ in new]
        self._free = free + dropped
        self.count += len(new) - len(gone)
        self._values[added], self._numbers[added], self._row_of[new] = values, new, added
        self._update_derived((dropped, centres, added) if self._large else None)
        self._numbers[dropped] = -1

    def _append(self) -> int:
        """Take the next row at the end of the arrays, which grow where needed."""
        if self._end == len(self._values):
            more = -(-self._end // (2 * ROW_MULTIPLE)) * ROW_MULTIPLE
            capacity = self._end + more
            self._values = np.concatenate([self._values, np.zeros((more, len(self.axes)))])
            self._numbers = np.concatenate([self._numbers, np.full(more, -1, dtype=np.int64)])
            if self._large:
                for bandwidths in self._bandwidths.values():
                    bandwidths.grow(capacity)
                for choice_kernels in self._choice_kernels.values():
                    choice_kernels.grow(capacity)
                for step_kernels in self._step_kernels.values():
                    step_kernels.grow(capacity)
                self._features = np.concatenate([self._features, self._empty_features(more)])
                self._single = np.concatenate([self._single, self._empty_features(more).astype(np.float32)])
        self._end += 1
        return self._end - 1

    def _update_derived(self, change: tuple[list[int], list[list[float]], list[int]] | None = None) -> None:
        """Bring what is derived from the centres up to date; ``change``: dropped rows, their centres, added rows."""
        self._mixture = self._weights = None
        self._order = self._row_of[np.flatnonzero(self._row_of >= 0)]
        if self.count < REBUILD_UP_TO:
            self._large = False
            return
        if change is None or any(table.distinct > 1024 + 2 * self.count for table in self._step_kernels.values()):
            self._build_derived()
            return
        dropped, centres, added = change
        touched = set(added)
        for i, bandwidths in self._bandwidths.items():
            pairs = [(row, values[i]) for row, values in zip(dropped, centres, strict=True)]
            rows = bandwidths.update(pairs, added, self._values[:, i], self._numbers, self._order)
            if i in self._step_kernels:
                self._step_kernels[i].assign(rows, self._values[rows, i], bandwidths.widths[rows])
            else:
                touched.update(rows.tolist())
        new = np.array(added, dtype=np.int64)
        for i, table in self._choice_kernels.items():
            table.assign(new, self._values[new, i])
        self._features[dropped] = self._empty_features(1)
        self._single[dropped] = self._empty_features(1)
        self._compute_features(np.array(sorted(touched), dtype=np.int64))

    # -- derived from the centres -------------------------------------------------------------------------------------

    def _build_derived(self) -> None:
        self._large = True
        capacity, order = len(self._values), self._order
        first = np.append(order, 0)
        for i, bandwidths in self._bandwidths.items():
            bandwidths.build(self._values[:, i], order, capacity)
            bandwidths.widths[0] = self.axes[i].width
        for i, step_kernels in self._step_kernels.items():
            step_kernels.build(capacity)
            step_kernels.assign(first, self._values[first, i], self._bandwidths[i].widths[first])
        for i, choice_kernels in self._choice_kernels.items():
            choice_kernels.build(capacity)
            choice_kernels.assign(order, self._values[order, i])
        self._farthest = 0.5
        self._features = self._empty_features(capacity)
        self._single = self._features.astype(np.float32)
        self._compute_features(first)

    def _empty_features(self, count: int) -> np.ndarray:
        nothing = np.ones((count, 2 * len(self._quadratic) + 2))
        nothing[:, -2] = UNUSED
        return nothing

    def _compute_features(self, rows: np.ndarray) -> None:
        """Write the coefficients of the kernels' logarithms, as functions of a candidate x, of these rows.

        For each axis those of x**2 and x, with x in units of the range from its middle; then the constant, and a 1 that
        a shift common to all rows is multiplied with.

        On a step of half width h at distance z (both in bandwidths) a kernel has the mass 2 h (1 + (z**2 - 1) h**2 / 6)
        times its density there, up to terms of h**4, which are negligible for h up to NEARLY_CONTINUOUS.
        """
        values = self._values[rows][:, self._quadratic]
        columns = [self._bandwidths[i].widths[rows] for i in self._quadratic]
        widths = np.stack(columns, axis=1) if columns else values
        middles, spans = self._middles, self._spans
        low, high = middles - 0.5 * spans, middles + 0.5 * spans
        centres = (values - middles) / spans
        narrow = 0.5 * self._step_sizes / widths  # half a step, in bandwidths
        square = -0.5 * (spans / widths) ** 2 * (1.0 - narrow**2 / 3.0)
        constant = -LOG_SQRT_2PI - np.log(widths) + self._log_step_sizes - narrow**2 / 6.0
        constant -= log_mass((low - values) / widths, (high - values) / widths)
        self._features[rows, 0:-2:2] = square
        self._features[rows, 1:-2:2] = -2.0 * square * centres
        self._features[rows, -2] = (square * centres**2 + constant).sum(axis=1)
        self._farthest = max(self._farthest, float(np.abs(centres).max(initial=0.0)))
        with np.errstate(over="ignore"):  # kernels that are too narrow for it, which _error() knows
            self._single[rows] = self._features[rows]

    def _normalized_weights(self) -> np.ndarray:
        if self._weights is None:
            self._weights = np.zeros(len(self._values))
            self._weights[self._order] = self._settings.trial_weights(self.count)
            self._weights[0] = self._settings.prior_weight
            self._weights /= self._weights.sum()
            self._single_weights = self._weights.astype(np.float32)
        return self._weights

    # -- the density --------------------------------------------------------------------------------------------------

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """The logarithm of the density at each row of ``points`` (internal values), in double precision."""
        if not self._large:
            if self._mixture is None:
                self._mixture = build_mixture(self.axes, self._values[self._order], self._settings)
            return self._mixture.log_density(points)
        return self._log_density(points, np.float64)

    def log_density_for_ranking(self, log_below: np.ndarray, points: np.ndarray) -> np.ndarray:
        """As ``log_density``, but exact only for the points at which ``log_below`` minus this may be the largest.

        Args:
            log_below: log l(x) at ``points``.
        """
        error = self._error()
        if not self._large or self.count < SINGLE_PRECISION_FROM or error > 0.2:
            return self.log_density(points)
        found = self._log_density(points, np.float32)
        ratio = log_below - found
        near = np.flatnonzero(ratio >= ratio.max() - 2 * error)
        if len(near) > 1:
            found[near] = self._log_density(points[near], np.float64)
        return found

    def _error(self) -> float:
        """A safe bound on the error of the logarithms in single precision."""
        if not self._large:
            return 0.0
        largest = [2 * self._farthest * self.axes[i].width / self._bandwidths[i].min_width for i in self._quadratic]
        terms = sum(ratio**2 for ratio in largest)
        return 1e-4 + 8 * SINGLE_EPSILON * terms

    def _candidate_factors(self, points: np.ndarray) -> np.ndarray:
        """What the features of a kernel are multiplied with (features x points)."""
        factors = np.ones((2 * len(self._quadratic) + 2, len(points)))
        for place, i in enumerate(self._quadratic):
            axis = self.axes[i]
            factors[2 * place + 1] = (axis.transform(points[:, i]) - axis.middle) / axis.width
            factors[2 * place] = factors[2 * place + 1] ** 2
        factors[-1] = 0.0
        return factors

    def _lookup_tables(self, points: np.ndarray, precision: type[np.floating]) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each discrete axis the logarithms (codes x points), and the code of each row."""
        steps = [(table.log_probabilities(points[:, i]), table.codes) for i, table in self._step_kernels.items()]
        choices = [
            (table.log_probabilities(points[:, i], self.count), table.codes)
            for i, table in self._choice_kernels.items()
        ]
        return [(logs.astype(precision), codes) for logs, codes in steps + choices]

    def _log_density(self, points: np.ndarray, precision: type[np.floating]) -> np.ndarray:
        """The logarithm of the weighted sum over all kernels, chunk by chunk.

        The sum is kept as ``total`` times ``exp(shift)``; the shift is chosen so that no exponential overflows.
        """
        weights = self._normalized_weights()
        features = self._features
        if precision is np.float32:
            weights, features = self._single_weights, self._single
        factors = self._candidate_factors(points).astype(precision)
        tables = self._lookup_tables(points, precision)
        buffers = np.empty((2, min(CHUNK_ROWS, len(weights)), len(points)), dtype=precision)
        shift, total = np.zeros(len(points)), np.zeros(len(points))
        start, end, width = 0, -(-self._end // ROW_MULTIPLE) * ROW_MULTIPLE, len(points)
        most = 40.0 if precision is np.float32 else 300.0
        while start < end:
            stop = min(start + CHUNK_ROWS, end)
            logs, found = buffers[:, : stop - start]
            part = _rows(MAX_PRODUCT, factors.size)
            np.matmul(features[start:stop].reshape(-1, part, len(factors)), factors, out=logs.reshape(-1, part, width))
            for table, codes in tables:
                np.take(table, codes[start:stop], axis=0, out=found, mode="clip")
                logs += found
            # Shift by the largest logarithm of the first chunk; later chunks rarely exceed it so far that exp fails.
            if start == 0 and not factors[-1].any():
                groups = logs.reshape(-1, MAX_GROUPS * width)
                factors[-1] = -groups.max(axis=0).reshape(MAX_GROUPS, width).max(axis=0)
                logs += factors[-1]
                shift = -factors[-1].astype(np.float64)
            np.clip(
                logs, precision(-2 * most), precision(2 * most), out=logs
            )  # smaller ones add nothing, and exp is slow there
            np.exp(logs, out=logs)
            part = _rows(MAX_SUM, width)
            sums = (weights[start:stop].reshape(-1, 1, part) @ logs.reshape(-1, part, width)).sum(axis=(0, 1))
            if sums.max() < math.exp(most):
                total += sums
                start = stop
                continue
            higher = np.where(sums < math.exp(most), 0.0, np.log(sums))
            factors[-1] -= higher.astype(precision)
            total *= np.exp(shift + factors[-1])
            shift = -factors[-1].astype(np.float64)
        return np.asarray(np.log(total) + shift)


def _rows(limit: int, each: int) -> int:
    """How many rows of ``each`` multiplications stay within ``limit``; a power of two, to divide ROW_MULTIPLE."""
    return int(min(ROW_MULTIPLE, 2 ** max(0, (limit // each).bit_length() - 1)))


def _is_quadratic(axis: Axis, bandwidths: Bandwidths) -> bool:
    """Whether the logarithm of a kernel on the axis is quadratic, up to rounding."""
    half = 0.5 * axis.step * axis.scale
    return not axis.step or (not axis.log and half / bandwidths.min_width <= NEARLY_CONTINUOUS)


assert REBUILD_UP_TO <= EXACT_TIES_UP_TO  # else equal centres would be ordered differently below and above the limit
