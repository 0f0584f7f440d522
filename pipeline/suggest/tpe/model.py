"""The model of one study: its history, divided into good trials and others, and the densities of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from ...changes import Watch
from .axes import Axis, axes_of
from .choosing import Choose
from .history import NONE, History
from .mixture import Mixture, Settings, build


class Model:
    """What the sampler knows of one study."""

    def __init__(
        self,
        directions: Sequence[StudyDirection],
        settings: Settings,
        gamma: Callable[[int], int],
        *,
        running: bool,
        relative: bool,
    ):
        self.history = History(directions, running=running, relative=relative)
        self._settings, self._gamma, self._several = settings, gamma, len(directions) > 1
        self._watch = Watch()
        self._looked: int | None = None

    def look(self, study: Study, trial: FrozenTrial | None = None) -> None:
        self.history.learn(self._watch.look(study))
        self._looked = None if trial is None else trial._trial_id

    def look_again(self, study: Study, trial: FrozenTrial) -> None:
        """Look, but not when the last look was for this same trial: nothing happened in between that it should know."""
        if self._looked != trial._trial_id:
            self.look(study)
        self._looked = None

    def suggest(
        self,
        space: Mapping[str, BaseDistribution],
        number: int,
        random: np.random.RandomState,
        candidates: int,
        choose: Choose,
    ) -> dict[str, Any]:
        """Values for the parameters of ``space``, for the trial ``number``."""
        axes = axes_of(space)
        good, other = self._densities(axes, number)
        points = good.sample(random, candidates)
        best = points[choose(good.log_density(points), other.log_density(points))]
        return {axis.name: axis.external(value) for axis, value in zip(axes, best.tolist(), strict=True)}

    def _densities(self, axes: Sequence[Axis], number: int) -> tuple[Mixture, Mixture]:
        history = self.history
        good = history.divide(self._gamma(history.finished))
        counts = history.state[: history.size] != NONE
        counts[good] = False
        if number < len(counts):
            counts[number] = False
        return self._mixture(axes, good, equal=self._several), self._mixture(axes, np.flatnonzero(counts))

    def _mixture(self, axes: Sequence[Axis], numbers: Any, *, equal: bool = False) -> Mixture:
        values, _ = self.history.rows([axis.name for axis in axes], numbers)
        for i, axis in enumerate(axes):
            values[:, i] = axis.kernel(values[:, i])
        return build(axes, values, self._settings, equal=equal)
