"""Kernels along discrete axes: equal kernels share a code, and logarithms are computed once a code and candidate.

``log_probabilities`` returns a table (codes x candidates); row ``codes[r]`` is that of the kernel in row ``r``.
"""

from __future__ import annotations

from itertools import islice

import numpy as np

from ..axes import Axis
from .mixture import KernelSettings
from .truncnorm import log_mass, log_step_mass

MAX_CACHED = 2**22
"""Most numbers that a table of logarithms keeps between suggestions (32 MB)."""


class ChoiceKernels:
    """The kernels along an axis of choices.

    Attributes:
        codes: By row the index of the trial's choice; the number of choices for the prior, in row 0.
    """

    def __init__(self, axis: Axis, settings: KernelSettings):
        self._axis, self._settings = axis, settings
        self.codes = np.zeros(0, dtype=np.int64)

    def build(self, capacity: int) -> None:
        """Begin anew with ``capacity`` rows, none of them assigned."""
        self.codes = np.zeros(capacity, dtype=np.int64)
        self.codes[0] = self._axis.choices

    def grow(self, capacity: int) -> None:
        """Enlarge ``codes`` to ``capacity`` rows."""
        self.codes = np.concatenate([self.codes, np.zeros(capacity - len(self.codes), dtype=np.int64)])

    def assign(self, rows: np.ndarray, centres: np.ndarray) -> None:
        """Put kernels with these choices (indices) into ``rows``."""
        self.codes[rows] = centres

    def log_probabilities(self, values: np.ndarray, count: int) -> np.ndarray:
        """The logarithms of the probabilities of ``values`` (codes x values), in a mixture of ``count`` kernels."""
        choices, base = self._axis.choices, self._settings.prior_weight / (count + 1)
        shares = (base + (np.arange(choices + 1)[:, None] == values.astype(np.int64))) / (1.0 + choices * base)
        shares[-1] = 1.0 / choices
        with np.errstate(divide="ignore"):
            logs: np.ndarray = np.log(shares)
        return np.asarray(np.maximum(logs, -1e6))  # not -inf, where the prior has no weight: sums stay finite


class StepKernels:
    """The kernels along an axis with steps. Kernels with the same centre and bandwidth share a code.

    Attributes:
        codes: By row.
    """

    def __init__(self, axis: Axis):
        self._axis = axis
        self.codes = np.zeros(0, dtype=np.int64)
        self._codes: dict[tuple[float, float], int] = {}
        self._by_code = np.empty((3, 16))  # by code: centre, bandwidth, logarithm of the mass within the range
        self._logs = np.empty((0, 16))
        self._row_of_value: dict[float, int] = {}

    def build(self, capacity: int) -> None:
        """Begin anew with ``capacity`` rows, none of them assigned."""
        self.codes = np.zeros(capacity, dtype=np.int64)
        self._codes = {}
        self._logs, self._row_of_value = np.empty((0, len(self._by_code[0]))), {}

    def grow(self, capacity: int) -> None:
        """Enlarge ``codes`` to ``capacity`` rows."""
        self.codes = np.concatenate([self.codes, np.zeros(capacity - len(self.codes), dtype=np.int64)])

    @property
    def distinct(self) -> int:
        """The number of codes in use or used before."""
        return len(self._codes)

    def assign(self, rows: np.ndarray, centres: np.ndarray, widths: np.ndarray) -> None:
        """Put kernels with these centres and bandwidths into ``rows``."""
        first = len(self._codes)
        known = self._codes
        pairs = zip(centres.tolist(), widths.tolist(), strict=True)
        self.codes[rows] = [known.setdefault(pair, len(known)) for pair in pairs]
        if len(self._codes) > first:
            self._extend(first)

    def _extend(self, first: int) -> None:
        """Note centre, bandwidth and mass of the codes from ``first`` on."""
        count = len(self._codes)
        if count > self._by_code.shape[1]:
            more = max(count, 2 * self._by_code.shape[1]) - self._by_code.shape[1]
            self._by_code = np.pad(self._by_code, ((0, 0), (0, more)))
            self._logs = np.pad(self._logs, ((0, 0), (0, more)), constant_values=np.nan)
        new = list(islice(reversed(self._codes), count - first))
        centres, widths = np.array(new[::-1]).T
        axis = self._axis
        whole = log_mass((axis.low - centres) / widths, (axis.high - centres) / widths)
        self._by_code[:, first:count] = centres, widths, whole

    def log_probabilities(self, values: np.ndarray) -> np.ndarray:
        """The logarithms of the probabilities of ``values`` (codes x values); values seen before are looked up."""
        every = values.tolist()
        keys = list(dict.fromkeys(every))
        if len(self._logs) + len(keys) > max(64, MAX_CACHED // self._by_code.shape[1]):
            self._logs, self._row_of_value = np.empty((0, self._by_code.shape[1])), {}
        new = [key for key in keys if key not in self._row_of_value]
        if new:
            self._row_of_value |= {key: len(self._row_of_value) + i for i, key in enumerate(new)}
            free = np.full((max(len(new), len(self._logs) // 2), self._by_code.shape[1]), np.nan)
            if len(self._row_of_value) > len(self._logs):
                self._logs = np.concatenate([self._logs, free])
        rows = np.array([self._row_of_value[key] for key in keys])
        found = self._logs[rows, : self.distinct]
        missing = np.isnan(found)
        if missing.any():
            value, code = np.nonzero(missing)
            found[value, code] = self._log_mass(np.array(keys)[value], code)
            self._logs[rows, : self.distinct] = found
        place = {key: i for i, key in enumerate(keys)}
        return np.asarray(found.T[:, [place[key] for key in every]])

    def _log_mass(self, values: np.ndarray, codes: np.ndarray) -> np.ndarray:
        axis = self._axis
        centres, widths, whole = self._by_code[:, codes]
        left, right, size = axis.step_ends(values)
        mass = log_step_mass((left - centres) / widths, (right - centres) / widths, size / widths)
        return np.asarray(np.where(np.isnan(mass), -np.inf, mass) - whole)
