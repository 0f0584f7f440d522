"""What each trial is worth to a forest: its standardized loss, and whether it failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..surrogate.targets import Targets
from ..surrogate.trials import COMPLETE, FAILED, PRUNED, RUNNING, Trials

RENEWALS = 20
"""Values are standardized anew, and the forest is grown anew, each time that the results have grown by this part."""
LIES: dict[str, Callable[[np.ndarray], Any]] = {"max": np.max, "min": np.min, "mean": np.mean}
"""What running trials may count as, from the losses of the others."""


class Losses:
    """The losses of a study's trials, by row; NaN where there is none.

    A trial that breaks soft constraints counts as worse than all that break none, the more so the more it breaks them.
    A failed trial has no loss.

    Args:
        trials: Of the study.
        lie: What running trials count as, one of :data:`LIES`; None: they do not count.
    """

    def __init__(self, trials: Trials, lie: str | None) -> None:
        self._trials, self._lie = trials, lie
        self._found = np.zeros(0)
        self._ended: list[int] = []
        self._made_at = 0
        self._targets: Targets | None = None
        self._worst = -np.inf  # of trials that break no constraint

    def learn(self, rows: Sequence[int]) -> None:
        """Trials ended: read them before they are asked for."""
        self._ended += rows

    def _refresh(self) -> None:
        """Read what ended, or standardize all losses anew where there are many new ones."""
        trials, rows = self._trials, self._ended
        self._ended = []
        if len(self._found) < trials.size:
            self._found = np.concatenate([self._found, np.full(max(64, trials.size), np.nan)])
        if self._targets is None or trials.finished - self._made_at >= max(1, self._made_at // RENEWALS):
            self._targets, self._made_at = Targets(trials), trials.finished
            rows = trials.rows(COMPLETE, PRUNED).tolist()
            self._worst = -np.inf
        if rows:
            self._read(np.array(rows))

    def _read(self, rows: np.ndarray) -> None:
        assert self._targets is not None
        targets = self._targets.at(rows)
        losses, breach = targets[:, 0], np.maximum(np.nan_to_num(targets[:, 1:]), 0.0).sum(axis=1)
        losses[~np.isin(self._trials.state[rows], (COMPLETE, PRUNED))] = np.nan
        meets = losses[(breach == 0) & ~np.isnan(losses)]
        if len(meets):
            self._worst = max(self._worst, float(meets.max()))
        self._found[rows] = np.where(breach > 0, (self._worst if np.isfinite(self._worst) else 0.0) + breach, losses)

    def of_results(self) -> np.ndarray:
        """By row, the losses of complete and pruned trials."""
        self._refresh()
        size = self._trials.size
        return np.where(np.isin(self._trials.state[:size], (COMPLETE, PRUNED)), self._found[:size], np.nan)

    def with_lies(self, losses: np.ndarray) -> np.ndarray:
        """The losses of :meth:`of_results`, and what running trials count as."""
        known = losses[~np.isnan(losses)]
        if self._lie is None or not len(known):
            return losses
        lie = LIES[self._lie](known)
        return np.where(self._trials.state[: len(losses)] == RUNNING, lie, losses)


def failures(trials: Trials) -> np.ndarray:
    """By row, 1 where a trial failed, 0 where it is complete or pruned, else NaN."""
    state = trials.state[: trials.size]
    return np.where(state == FAILED, 1.0, np.where(np.isin(state, (COMPLETE, PRUNED)), 0.0, np.nan))
