"""Fits TPE's two densities, l(x) and g(x), to one study, and suggests the candidate with the largest ratio of the two.

The finished trials are split by their values: the best ones are *below* the split (Optuna's word), all others *above*.
l(x) is the density of the trials below, g(x) that of the trials above, running ones among them. Candidates are drawn
from l(x), and the one with the largest l(x) / g(x) has the largest expected improvement (Bergstra et al. 2011).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from ...study_changes import StudyWatch
from ..axes import Axis, axes_of
from .history import History
from .incremental_mixture import IncrementalMixture
from .mixture import KernelSettings, Mixture, build_mixture

MAX_SUBSPACES = 64
"""Subspaces whose mixtures are kept between suggestions, beside two for each parameter of the study."""

ChooseCandidate = Callable[[np.ndarray, np.ndarray], int]
"""Chooses a candidate: from log l(x) and log g(x) of all candidates (a 1-d array each) to the index of one of them."""

Split = Callable[[int], list[int]]
"""Splits a history: from the number of trials that are to be below to their trial numbers, ascending."""


def largest_ratio(log_below: np.ndarray, log_above: np.ndarray) -> int:
    """The index of the candidate with the largest l(x) / g(x): the one of the largest expected improvement.

    A candidate that neither density can have (both are 0 to a float's precision) is the last choice.
    """
    with np.errstate(invalid="ignore"):
        ratio = log_below - log_above
    return int(np.argmax(np.where(np.isnan(ratio), -np.inf, ratio)))


@dataclass
class Subspace:
    """Parameters that are modelled together, and the densities over them.

    Attributes:
        axes: One for each parameter.
        above: g(x), brought up to date before each suggestion.
        below: l(x), built anew when the trials below the split change; None before the first suggestion.
        version: ``(history.generation, history.below_version)`` that ``below`` was built from.
    """

    axes: tuple[Axis, ...]
    above: IncrementalMixture
    below: Mixture | None = None
    version: tuple[int, int] = (-1, -1)


class Model:
    """TPE's model of one study.

    Args:
        directions: Of the study.
        settings: The shape of the kernels.
        gamma: From the number of finished trials to how many of them are below the split.
        running: Running trials count in g(x) (the constant liar).
        relative: Running trials count with all values that were suggested to them, asked for or not.

    Attributes:
        history: The study's trials as arrays; current as of the last ``refresh``.
    """

    HISTORY = History

    def __init__(
        self,
        directions: Sequence[StudyDirection],
        settings: KernelSettings,
        gamma: Callable[[int], int],
        *,
        running: bool,
        relative: bool,
    ):
        self.history = self.HISTORY(directions, running=running, relative=relative)
        self._settings, self._gamma, self._multi_objective = settings, gamma, len(directions) > 1
        self._watch = StudyWatch()
        self._refreshed_for: int | None = None
        self._subspaces: OrderedDict[tuple[Axis, ...], Subspace] = OrderedDict()
        self._subspace_by_ids: dict[tuple[int, ...], tuple[dict[str, BaseDistribution], Subspace]] = {}

    def refresh(self, study: Study, trial: FrozenTrial | None = None) -> None:
        """Read what changed in the study. ``trial``: the one that values will be suggested to."""
        self.history.apply(self._watch.refresh(study))
        self._refreshed_for = None if trial is None else trial._trial_id

    def refresh_once(self, study: Study, trial: FrozenTrial) -> None:
        """As ``refresh``, but skipped where the last one was for this same trial.

        Optuna first asks for the search space and at once for the values; one refresh serves both.
        """
        if self._refreshed_for != trial._trial_id:
            self.refresh(study)
        self._refreshed_for = None

    def suggest(
        self,
        space: Mapping[str, BaseDistribution],
        number: int,
        random: np.random.RandomState,
        candidates: int,
        choose: ChooseCandidate,
    ) -> dict[str, Any]:
        """Suggest values for the parameters of ``space`` to the trial ``number``.

        Args:
            candidates: How many to draw from l(x).
            choose: Chooses one of them.
        """
        subspace = self._subspace(space)
        points, log_below, log_above = self._candidates(subspace, number, random, candidates, self._split(subspace))
        return self._to_params(subspace, points[choose(log_below, log_above)])

    def _split(self, subspace: Subspace) -> Split | None:
        """How :meth:`suggest` splits the history; None: by the trials' final values."""
        return None

    def _candidates(
        self, subspace: Subspace, number: int, random: np.random.RandomState, count: int, split: Split | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``count`` points drawn from l(x) (rows), and log l(x) and log g(x) of each."""
        below, above = self._split_mixtures(subspace, number, split)
        points = below.sample(random, count)
        log_below = below.log_density(points)
        return points, log_below, above.log_density_for_ranking(log_below, points)

    def _to_params(self, subspace: Subspace, point: np.ndarray) -> dict[str, Any]:
        return {axis.name: axis.to_external(value) for axis, value in zip(subspace.axes, point.tolist(), strict=True)}

    def _subspace(self, space: Mapping[str, BaseDistribution]) -> Subspace:
        """The subspace of these parameters, by the identity of their distributions where possible (hashing is slow)."""
        ids = tuple(map(id, space.values()))
        if (known := self._subspace_by_ids.get(ids)) is not None and list(known[0]) == list(space):
            return known[1]
        subspace = self._find_subspace(space)
        if len(self._subspace_by_ids) >= MAX_SUBSPACES:
            self._subspace_by_ids.clear()
        # The entry holds the distributions, so that no other object can get their ids.
        self._subspace_by_ids[ids] = (dict(space), subspace)
        return subspace

    def _find_subspace(self, space: Mapping[str, BaseDistribution]) -> Subspace:
        axes = axes_of(space)
        subspace = self._subspaces.get(axes)
        if subspace is None:
            subspace = self._subspaces[axes] = Subspace(axes, IncrementalMixture(self.history, axes, self._settings))
            if len(self._subspaces) > MAX_SUBSPACES + 2 * len(self.history.columns):
                self._subspaces.popitem(last=False)
        self._subspaces.move_to_end(axes)
        return subspace

    def _split_mixtures(
        self, subspace: Subspace, number: int, split: Split | None = None
    ) -> tuple[Mixture, IncrementalMixture]:
        """l(x) and g(x), the latter without the trial ``number`` that values are suggested to."""
        below = self._below_mixture(subspace, split)
        with self.history.excluding(number):
            subspace.above.refresh()
        return below, subspace.above

    def _below_mixture(self, subspace: Subspace, split: Split | None = None) -> Mixture:
        """l(x) after splitting the history by ``split``; None: by the trials' final values."""
        history = self.history
        below = (split or history.split_below)(self._gamma(history.finished))
        version = (history.generation, history.below_version)
        if subspace.version != version or subspace.below is None:
            subspace.below, subspace.version = self._build_below(subspace.axes, below), version
        return subspace.below

    def _build_below(self, axes: Sequence[Axis], numbers: Sequence[int]) -> Mixture:
        values, _ = self.history.rows([axis.name for axis in axes], numbers)
        for i, axis in enumerate(axes):
            values[:, i] = axis.transform(values[:, i])
        return build_mixture(axes, values, self._settings, equal=self._multi_objective)
