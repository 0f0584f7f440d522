"""What is suggested differently where many trials run at once, and the good ones among them are known too late.

Three changes, each of them found by ``benchmarks/quality`` with 128 asynchronous workers:

- Every other suggestion, by a draw of its own, models each parameter alone (Bergstra et al., Algorithms for
  Hyper-Parameter Optimization, NeurIPS 2011) in place of all together (Falkner et al., BOHB, ICML 2018). What makes the
  workers differ is how they search, not only where, as in the decentralized search of Egele et al., Asynchronous
  Decentralized Bayesian Optimization for Large Scale Hyperparameter Optimization, e-Science 2023.
- No configuration is suggested that any trial already has, running and failed ones too, as long as there is another
  among the candidates.
- Until 25 trials are complete, the good trials are the best at the highest step that 25 have reported, and those that
  still run count by what they have reported (Falkner et al. model the highest budget with enough observations; Klein
  et al., Model-based Asynchronous Hyperparameter and Neural Architecture Search, 2020, learn from running trials).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection

from ...study_changes import Changes
from .axes import Axis
from .choosing import Choose
from .history import INFEASIBLE, RUNNING, History
from .marginals import Counts, counted_apart
from .mixture import Mixture
from .model import Model, Part
from .partial_results import Rungs
from .tried import Tried

CROWD = 64
"""Running trials from which on suggestions differ from Optuna's."""
ALONE = 0.5
"""The share of suggestions that model each parameter alone."""
SPACES = 16
"""Spaces whose parameters are counted one by one, and kept for the next time."""


class CrowdHistory(History):
    """A history that knows which configurations were tried, and what trials that run have reported.

    Attributes:
        by_rungs: Reports decide which trials are the good ones.
    """

    def __init__(self, directions: Sequence[StudyDirection], *, running: bool, relative: bool):
        super().__init__(directions, running=running, relative=relative)
        self.rungs, self.tried = Rungs(float(self._signs[0])), Tried()
        self.by_rungs = False

    def learn(self, changes: Changes) -> None:
        super().learn(changes)
        if len(self._signs) == 1:
            self.rungs.learn(changes)
            self.tried.learn(changes)

    def running(self, but: int) -> int:
        """How many trials run, but for the trial number ``but``."""
        states = self.state[: self.size]
        return int(np.count_nonzero(states == RUNNING)) - int(but < self.size and states[but] == RUNNING)

    @property
    def divided(self) -> list[int]:
        """The numbers of the good trials as of the last ``divide``."""
        return self._divided

    def _best_complete(self, count: int) -> list[int]:
        if self.by_rungs and not self._best[INFEASIBLE].count:
            found = self.rungs.best(count)
            if found is not None and all(trial_id in self._places for trial_id in found):
                return [self._places[trial_id] for trial_id in found]
        return super()._best_complete(count)


class CrowdModel(Model):
    """A model that can also suggest for one of a crowd, as this module's text says."""

    history: CrowdHistory

    HISTORY = CrowdHistory

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._lone: dict[tuple[Axis, ...], Lone] = {}

    def suggest_in_crowd(
        self,
        space: Mapping[str, BaseDistribution],
        number: int,
        random: np.random.RandomState,
        candidates: int,
        choose: Choose,
    ) -> dict[str, Any]:
        """Values for the parameters of ``space``, for the trial ``number``, which is one of many that run."""
        self.history.by_rungs = True
        try:
            part = self._part(space)
            if random.random_sample() < ALONE:
                params = self._external(part, self._alone(part, number, random, candidates, choose))
                if params not in self.history.tried:
                    return params
            return self._untried(part, *self._candidates(part, number, random, candidates), choose)
        finally:
            self.history.by_rungs = False

    def _untried(
        self, part: Part, points: np.ndarray, good: np.ndarray, other: np.ndarray, choose: Choose
    ) -> dict[str, Any]:
        """The chosen candidate, or in place of one that was tried the next, or the first where all were."""
        left = np.arange(len(points))
        first = None
        while len(left):
            place = choose(good[left], other[left])
            params = self._external(part, points[left[place]])
            if params not in self.history.tried:
                return params
            first = first or params
            left = np.delete(left, place)
        assert first is not None
        return first

    def _alone(
        self,
        part: Part,
        number: int,
        random: np.random.RandomState,
        candidates: int,
        choose: Choose,
    ) -> np.ndarray:
        """A value for each axis, chosen among candidates of its own."""
        lone = self._lone.get(part.axes)
        if lone is None:
            if len(self._lone) >= SPACES:
                self._lone.clear()
            lone = self._lone[part.axes] = Lone(Counts(self.history, part.axes))
        good = self._good(part)
        with self.history.without(number):
            lone.counts.look()
        tables = lone.counts.tables(self.history.divided)
        points = good.sample_apart(random, candidates)
        best = np.empty(len(part.axes))
        for i, one in enumerate(lone.mixtures(good)):
            mine = points[:, i]
            other = tables[i][lone.counts.place(i, mine)]
            best[i] = mine[choose(one.log_density(mine[:, None]), other)]
        return best


class Lone:
    """What is known of the axes of a space one by one: counts of all trials, and the good ones' densities."""

    def __init__(self, counts: Counts):
        self.counts = counts
        self._good: Mixture | None = None
        self._mixtures: list[Mixture] = []

    def mixtures(self, good: Mixture) -> list[Mixture]:
        """The good trials' mixture on each axis by itself; densities in the measure that ``counts`` are made in."""
        if self._good is not good:
            self._good = good
            self._mixtures = [
                Mixture((axis if counted_apart(axis) else replace(axis, step=0.0),), good.weights, (part,))
                for axis, part in zip(good.axes, good.parts, strict=True)
            ]
        return self._mixtures
