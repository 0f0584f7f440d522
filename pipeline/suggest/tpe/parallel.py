"""TPE for many running trials: suggests more diverse configurations, and learns from intermediate values.

With many workers most good trials are still running when the next ones are suggested, and plain TPE sends too many of
them to the same place. Three changes help; each was found with ``benchmarks/quality`` and 128 asynchronous workers:

- Half of the suggestions, drawn at random, model each parameter by itself (Bergstra et al., Algorithms for
  Hyper-Parameter Optimization, NeurIPS 2011) instead of all of them together (Falkner et al., BOHB, ICML 2018). So
  workers differ in how they search, not only in where, as in the decentralized search of Egele et al., Asynchronous
  Decentralized Bayesian Optimization for Large Scale Hyperparameter Optimization, e-Science 2023.
- A configuration that some trial already has, a running or failed one included, is not suggested again as long as
  another candidate is left.
- Until 25 trials are complete, the trials below the split are the best at the highest step that at least 25 trials
  have reported, running trials included (Falkner et al. model the highest budget with enough observations; Klein et
  al., Model-based Asynchronous Hyperparameter and Neural Architecture Search, 2020, learn from running trials).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from ...study_changes import Changes
from ..axes import Axis
from .history import INFEASIBLE, RUNNING, History
from .marginals import Histograms, MarginalModel
from .model import ChooseCandidate, Model, Subspace
from .partial_results import PartialResults

MANY_RUNNING = 64
"""Other running trials from which on ``parallel="auto"`` suggests as this module does; with fewer, as Optuna does."""
MARGINAL_SHARE = 0.5
"""The share of suggestions that model each parameter by itself."""
MAX_MARGINAL_MODELS = 16
"""Subspaces whose marginal models are kept between suggestions."""


class ParallelHistory(History):
    """A history that also knows the configurations tried and the intermediate values reported.

    For one direction only; with several, neither is recorded.

    Attributes:
        partial_results: Intermediate values of all trials, by step.
        tried: The configurations of all trials.
    """

    def __init__(self, directions: Sequence[StudyDirection], *, running: bool, relative: bool):
        super().__init__(directions, running=running, relative=relative)
        self.partial_results, self.tried = PartialResults(float(self._signs[0])), TriedConfigurations()

    def apply(self, changes: Changes) -> None:
        """Bring the history up to date with what changed in the study."""
        super().apply(changes)
        if len(self._signs) == 1:
            self.partial_results.apply(changes)
            self.tried.apply(changes)

    def running(self, but: int) -> int:
        """The number of running trials, without the trial number ``but``."""
        states = self.state[: self.size]
        return int(np.count_nonzero(states == RUNNING)) - int(but < self.size and states[but] == RUNNING)

    @property
    def below_numbers(self) -> list[int]:
        """The numbers of the trials below the last split, ascending."""
        return self._below_numbers

    def split_below_by_reports(self, count: int) -> list[int]:
        """As ``split_below``, but by intermediate values while too few trials are complete.

        By final values, too, where trials violate constraints, which intermediate values say nothing about.
        """
        return self._split_below_at(self.partial_results.best(count), count)

    def split_below_at_highest_step(self, least: int, share: float, count: int) -> list[int]:
        """As ``split_below``, but by the reports at the highest step that more than ``least`` trials have reached.

        Args:
            least: The least number of trials below.
            share: The share of the trials that have reached the step, below.
            count: The number of trials below where no step has enough reports, or trials violate constraints.
        """
        return self._split_below_at(self.partial_results.best_share(least, share), count)

    def _split_below_at(self, found: list[int] | None, count: int) -> list[int]:
        """Put the trials with the ids ``found`` below the split; ``count`` by final values where that cannot be."""
        if found is None or self._best[INFEASIBLE].count or not all(each in self._number_of for each in found):
            return self.split_below(count)
        return self._mark_below([self._number_of[trial_id] for trial_id in found], len(found))


class ParallelModel(Model):
    """A model that can also suggest to one of many running trials, as described at the top of this module."""

    history: ParallelHistory

    HISTORY = ParallelHistory

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._marginal_models: dict[tuple[Axis, ...], MarginalModel] = {}

    def suggest_parallel(
        self,
        space: Mapping[str, BaseDistribution],
        number: int,
        random: np.random.RandomState,
        candidates: int,
        choose: ChooseCandidate,
    ) -> dict[str, Any]:
        """As ``suggest``, for the trial ``number`` when many others are running."""
        subspace = self._subspace(space)
        if random.random_sample() < MARGINAL_SHARE:
            params = self._to_params(subspace, self._suggest_marginals(subspace, number, random, candidates, choose))
            if params not in self.history.tried:
                return params
        points, log_below, log_above = self._candidates(
            subspace, number, random, candidates, self.history.split_below_by_reports
        )
        return self._choose_untried(subspace, points, log_below, log_above, choose)

    def _choose_untried(
        self,
        subspace: Subspace,
        points: np.ndarray,
        log_below: np.ndarray,
        log_above: np.ndarray,
        choose: ChooseCandidate,
    ) -> dict[str, Any]:
        """The best candidate that no trial has; the best of all where every candidate was tried."""
        left = np.arange(len(points))
        best = None
        while len(left):
            place = choose(log_below[left], log_above[left])
            params = self._to_params(subspace, points[left[place]])
            if params not in self.history.tried:
                return params
            best = best or params
            left = np.delete(left, place)
        assert best is not None
        return best

    def _suggest_marginals(
        self,
        subspace: Subspace,
        number: int,
        random: np.random.RandomState,
        candidates: int,
        choose: ChooseCandidate,
    ) -> np.ndarray:
        """A point whose coordinates are chosen one by one, each among candidates of its own."""
        marginal = self._marginal_models.get(subspace.axes)
        if marginal is None:
            if len(self._marginal_models) >= MAX_MARGINAL_MODELS:
                self._marginal_models.clear()
            marginal = MarginalModel(Histograms(self.history, subspace.axes))
            self._marginal_models[subspace.axes] = marginal
        below = self._below_mixture(subspace, self.history.split_below_by_reports)
        with self.history.excluding(number):
            marginal.histograms.refresh()
        log_above = marginal.histograms.log_densities(self.history.below_numbers)
        points = below.sample_marginals(random, candidates)
        chosen = np.empty(len(subspace.axes))
        for i, mixture in enumerate(marginal.mixtures(below)):
            column = points[:, i]
            above = log_above[i][marginal.histograms.bin_index(i, column)]
            chosen[i] = column[choose(mixture.log_density(column[:, None]), above)]
        return chosen


class TriedConfigurations:
    """The configurations of all trials of a study, in whatever state they are.

    ``params in tried`` tells whether some trial has these values. Parameters with a single value are left out of the
    comparison. Configurations with a continuous parameter are not recorded: none of them comes twice. Hashes are kept
    instead of the values; a collision, which makes an untried configuration look tried, only costs that candidate.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._running: dict[int, int] = {}  # trial id -> number of parameters when last recorded

    def apply(self, changes: Changes) -> None:
        """Record the configurations of new and changed trials."""
        if changes.whole:
            self._seen.clear()
            self._running.clear()
        for trial in changes.trials:
            if trial.state.is_finished():
                if self._running.pop(trial._trial_id, -1) != len(trial.params):
                    self._add(trial)
            elif self._running.get(trial._trial_id) != len(trial.params):
                self._running[trial._trial_id] = len(trial.params)
                self._add(trial)

    def _add(self, trial: FrozenTrial) -> None:
        distributions = trial.distributions
        if any(
            isinstance(one, FloatDistribution) and one.step is None and not one.single()
            for one in distributions.values()
        ):
            return
        params = {name: value for name, value in trial.params.items() if not distributions[name].single()}
        self._seen.add(_hash(params))

    def __contains__(self, params: Mapping[str, Any]) -> bool:
        return _hash(params) in self._seen


def _hash(params: Mapping[str, Any]) -> int:
    return hash(tuple(sorted((name, repr(value)) for name, value in params.items())))
