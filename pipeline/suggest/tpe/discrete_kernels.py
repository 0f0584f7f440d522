"""Discrete axes of many kernels: what each candidate's value is worth, once for all kernels that are alike."""

from __future__ import annotations

from itertools import islice

import numpy as np

from .axes import Axis
from .mixture import Settings
from .truncnorm import log_mass

MOST = 2**22
"""Numbers that a table keeps at most."""


class ChoiceTable:
    """The kernels' choices along one axis; the prior's, of row 0, is one more than the last."""

    def __init__(self, axis: Axis, settings: Settings):
        self._axis, self._settings = axis, settings
        self.codes = np.zeros(0, dtype=np.int64)

    def build(self, capacity: int) -> None:
        self.codes = np.zeros(capacity, dtype=np.int64)
        self.codes[0] = self._axis.choices

    def grow(self, capacity: int) -> None:
        self.codes = np.concatenate([self.codes, np.zeros(capacity - len(self.codes), dtype=np.int64)])

    def put(self, rows: np.ndarray, centres: np.ndarray) -> None:
        self.codes[rows] = centres

    def logs(self, values: np.ndarray, count: int) -> np.ndarray:
        """By code (rows) and candidate (columns) the logarithm of the probability; ``count`` trials are kernels."""
        choices, base = self._axis.choices, self._settings.prior_weight / (count + 1)
        shares = (base + (np.arange(choices + 1)[:, None] == values.astype(np.int64))) / (1.0 + choices * base)
        shares[-1] = 1.0 / choices
        with np.errstate(divide="ignore"):
            logs: np.ndarray = np.log(shares)
        return np.asarray(np.maximum(logs, -1e6))  # the prior may weigh nothing


class StepTable:
    """The kernels along an axis of steps: alike are those with the same centre and width."""

    def __init__(self, axis: Axis):
        self._axis = axis
        self.codes = np.zeros(0, dtype=np.int64)
        self._codes: dict[tuple[float, float], int] = {}
        self._known = np.empty((3, 16))  # centre, width, logarithm of the mass in the range
        self._logs = np.empty((0, 16))
        self._places: dict[float, int] = {}

    def build(self, capacity: int) -> None:
        self.codes = np.zeros(capacity, dtype=np.int64)
        self._codes = {}
        self._logs, self._places = np.empty((0, len(self._known[0]))), {}

    def grow(self, capacity: int) -> None:
        self.codes = np.concatenate([self.codes, np.zeros(capacity - len(self.codes), dtype=np.int64)])

    @property
    def kinds(self) -> int:
        return len(self._codes)

    def put(self, rows: np.ndarray, centres: np.ndarray, widths: np.ndarray) -> None:
        first = len(self._codes)
        known = self._codes
        pairs = zip(centres.tolist(), widths.tolist(), strict=True)
        self.codes[rows] = [known.setdefault(pair, len(known)) for pair in pairs]
        if len(self._codes) > first:
            self._extend(first)

    def _extend(self, first: int) -> None:
        count = len(self._codes)
        if count > self._known.shape[1]:
            more = max(count, 2 * self._known.shape[1]) - self._known.shape[1]
            self._known = np.pad(self._known, ((0, 0), (0, more)))
            self._logs = np.pad(self._logs, ((0, 0), (0, more)), constant_values=np.nan)
        new = list(islice(reversed(self._codes), count - first))
        centres, widths = np.array(new[::-1]).T
        axis = self._axis
        whole = log_mass((axis.low - centres) / widths, (axis.high - centres) / widths)
        self._known[:, first:count] = centres, widths, whole

    def logs(self, values: np.ndarray) -> np.ndarray:
        """By code (rows) and candidate (columns) the logarithm of the probability."""
        every = values.tolist()
        keys = list(dict.fromkeys(every))
        if len(self._logs) + len(keys) > max(64, MOST // self._known.shape[1]):
            self._logs, self._places = np.empty((0, self._known.shape[1])), {}
        new = [key for key in keys if key not in self._places]
        if new:
            self._places |= {key: len(self._places) + i for i, key in enumerate(new)}
            room = np.full((max(len(new), len(self._logs) // 2), self._known.shape[1]), np.nan)
            if len(self._places) > len(self._logs):
                self._logs = np.concatenate([self._logs, room])
        rows = np.array([self._places[key] for key in keys])
        found = self._logs[rows, : self.kinds]
        missing = np.isnan(found)
        if missing.any():
            value, code = np.nonzero(missing)
            found[value, code] = self._mass(np.array(keys)[value], code)
            self._logs[rows, : self.kinds] = found
        place = {key: i for i, key in enumerate(keys)}
        return np.asarray(found.T[:, [place[key] for key in every]])

    def _mass(self, values: np.ndarray, codes: np.ndarray) -> np.ndarray:
        axis = self._axis
        centres, widths, whole = self._known[:, codes]
        left, right = axis.kernel(values - axis.step / 2), axis.kernel(values + axis.step / 2)
        mass = log_mass((left - centres) / widths, (right - centres) / widths)
        return np.asarray(np.where(np.isnan(mass), -np.inf, mass) - whole)
