"""A Gaussian process over some trials of a study, with the candidates that it compares, and what is running."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .acquisition import log_expected_improvement, log_feasibility
from .encoding import Encoding
from .factor import Factor
from .pool import Candidates
from .targets import Targets
from .trials import FAILED, NONE, Trials

LITTLE_NOISE = 0.5
"""A failed trial whose target has less noise than this is learnt at once, the others with the next model."""
Offset = Callable[[np.ndarray], np.ndarray]
"""From features to what was known of the objective before; the model learns the rest."""
SAME = 1e-6
"""Most that features differ of what is the same configuration, before and after it was written to a database."""


class Model:
    """The model between two refreshes.

    Args:
        trials: Of the study.
        targets: What it learns.
        factor: Made of the rows of ``trials`` that ``rows`` names.
        rows: The trial of each row of the factor, which has no other rows.
        offset: What was known of the objective before; None: nothing.

    Attributes:
        row_of: The row of the factor of each trial.
        expected: By trial id, the row of a configuration that was suggested to it and that it was not seen with yet.
        best: The least mean at a finished trial that breaks no constraint; None before there is one.
        pool: Candidates that are kept between suggestions; None: they are to be drawn anew.
    """

    def __init__(
        self, trials: Trials, targets: Targets, factor: Factor, rows: np.ndarray, offset: Offset | None = None
    ) -> None:
        self.trials, self.targets, self.factor, self._offset = trials, targets, factor, offset
        # A trial may have got another configuration, or have vanished, while the factor was made.
        same = np.abs(trials.encoding.features(trials.places[rows]) - factor.features).max(axis=1) < SAME
        same &= trials.state[rows] != NONE
        self.row_of = {row: i for i, row in enumerate(rows.tolist()) if same[i]}
        self.expected: dict[int, int] = {}
        self.pool: Candidates | None = None
        self.best: float | None = None
        self._values = np.full(factor.capacity, np.nan)  # by row of the factor, of finished trials
        self._offsets = np.zeros(factor.capacity)
        self._feasible = np.zeros(factor.capacity, dtype=bool)
        self._order: np.ndarray | None = None
        self._learn(np.array(list(self.row_of), dtype=int))

    @property
    def encoding(self) -> Encoding:
        """Of the configurations."""
        return self.trials.encoding

    def tell(self, rows: Sequence[int]) -> np.ndarray:
        """Learn the results of trials, of those that are in the model, and whose targets are known.

        Where targets depend on others' reports, results wait for the next model.

        Returns:
            Whether each was learnt.
        """
        known = np.array([row in self.row_of and not self.targets.partial for row in rows], dtype=bool)
        failed = np.flatnonzero(known & (self.trials.state[np.array(rows, dtype=int)] == FAILED))
        if len(failed):  # the row has the noise of a complete trial
            known[failed] = self.targets.noise(np.array(rows)[failed]) < LITTLE_NOISE
        self._learn(np.array(rows, dtype=int)[known])
        return known

    def _learn(self, rows: np.ndarray) -> None:
        if not len(rows):
            return
        places = np.array([self.row_of[row] for row in rows.tolist()])
        values = self.targets.at(rows)
        self._values[places] = values[:, 0]
        if self._offset is not None:
            self._offsets[places] = self._offset(self.factor.features[places])
            values[:, 0] -= self._offsets[places]
        self.factor.tell(places, values)
        self._feasible[places] = (self.trials.state[rows] != FAILED) & ~(values[:, 1:] > 0).any(axis=1)
        self._order, self._solved = None, False

    def forget(self, row: int) -> None:
        """The trial has another configuration now; its row in the factor stays as one that is pending for ever."""
        i = self.row_of.pop(row, None)
        if i is not None:
            self.factor.tell(i, np.nan)
            self._values[i], self._feasible[i], self._order, self._solved = np.nan, False, None, False

    def expect(self, trial_id: int, candidates: Candidates, index: int) -> None:
        """Keep away from a candidate that is suggested to a trial."""
        factor = self.factor
        noise = factor.kernel.noise
        factor.append(
            candidates.features[index], candidates.solved[:, index], float(candidates.variances[index]), noise
        )
        self.expected[trial_id] = factor.size - 1

    def place(self, trial_id: int, row: int) -> bool:
        """A trial was seen with a configuration. Returns whether the model knows it already."""
        i = self.expected.pop(trial_id, None)
        self.forget(row)
        if i is None:
            return False
        here = self.encoding.features(self.trials.places[[row]])[0]
        if np.abs(here - self.factor.features[i]).max() >= SAME:
            return False
        self.row_of[row] = i
        return True

    def join(self, row: int) -> None:
        """Add the trial in ``row``, which the model was made without."""
        features = self.encoding.features(self.trials.places[[row]])
        self.factor.extend(features, self.factor.kernel.noise + self.targets.noise(np.array([row])))
        self.row_of[row] = self.factor.size - 1

    def settle(self) -> None:
        """Bring means, the best mean and the pool up to date with all that was told."""
        if not self._solved:
            self.factor.solve()
            self._solved = True
            known = np.flatnonzero(~np.isnan(self._values) & self._feasible)
            means = self.factor.means_at_rows()[known, 0] + self._offsets[known]
            least = float(means.min()) if len(known) else None
            if self.best is not None and least is not None and least < self.best - 1e-9:
                self.pool = None  # candidates near the new best are wanted
            self.best = least
        if self.pool is not None:
            self.pool.follow(self.factor)

    @property
    def order(self) -> np.ndarray:
        """The finished trials in the model, the best first; those that break constraints come after all others."""
        if self._order is None:
            rows = np.array([row for row, i in self.row_of.items() if not np.isnan(self._values[i])], dtype=int)
            values = self._values[[self.row_of[row] for row in rows.tolist()]]
            self._order = rows[np.lexsort((rows, values, self.trials.violations(rows)))]
        return self._order

    def reweigh(self, rng: np.random.Generator) -> None:
        """Draw other weights for several objectives."""
        if self.targets.reweigh(rng):
            self._learn(np.array(list(self.row_of), dtype=int))
            self.best = None

    def candidates(self, places: np.ndarray) -> Candidates:
        """The model's view of some configurations."""
        features = self.encoding.features(places)
        return Candidates.of(self.factor, places, features, None if self._offset is None else self._offset(features))

    def scores(self, candidates: Candidates, best: float | None = None) -> np.ndarray:
        """How promising candidates are: larger is better. ``best``: a mean to improve on, if not :attr:`best`."""
        deviations = candidates.deviations
        found = np.zeros(len(candidates))
        if self.best is not None:
            found = log_expected_improvement(self.best if best is None else best, candidates.expected, deviations)
        elif self.targets.columns == 1:
            return np.asarray(-candidates.expected)
        if self.targets.columns > 1:
            found = found + log_feasibility(candidates.means[1:], deviations)
        return found
