"""The model of one study: its history, divided into good trials and others, and the densities of both."""

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
from .axes import Axis, axes_of
from .choosing import Choose
from .history import History
from .incremental_mixture import Kernels
from .mixture import Mixture, Settings, build

PARTS = 64
"""Sets of parameters that are modelled together, and kept for the next time, beside two for each parameter."""


@dataclass
class Part:
    """Parameters that are modelled together: the good trials, as of some version of the history, and the others."""

    axes: tuple[Axis, ...]
    other: Kernels
    good: Mixture | None = None
    version: tuple[int, int] = (-1, -1)


class Model:
    """What the sampler knows of one study."""

    HISTORY = History

    def __init__(
        self,
        directions: Sequence[StudyDirection],
        settings: Settings,
        gamma: Callable[[int], int],
        *,
        running: bool,
        relative: bool,
    ):
        self.history = self.HISTORY(directions, running=running, relative=relative)
        self._settings, self._gamma, self._several = settings, gamma, len(directions) > 1
        self._watch = StudyWatch()
        self._looked: int | None = None
        self._parts: OrderedDict[Any, Part] = OrderedDict()
        self._quick: dict[tuple[int, ...], tuple[dict[str, BaseDistribution], Part]] = {}

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
        part = self._part(space)
        points, good, other = self._candidates(part, number, random, candidates)
        return self._external(part, points[choose(good, other)])

    def _candidates(
        self, part: Part, number: int, random: np.random.RandomState, count: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points drawn where the good trials are, and the logarithms of both densities there."""
        good, other = self._densities(part, number)
        points = good.sample(random, count)
        likely = good.log_density(points)
        return points, likely, other.compare(likely, points)

    def _external(self, part: Part, point: np.ndarray) -> dict[str, Any]:
        return {axis.name: axis.external(value) for axis, value in zip(part.axes, point.tolist(), strict=True)}

    def _part(self, space: Mapping[str, BaseDistribution]) -> Part:
        same = tuple(map(id, space.values()))
        if (known := self._quick.get(same)) is not None and list(known[0]) == list(space):
            return known[1]
        part = self._slow_part(space)
        if len(self._quick) >= PARTS:
            self._quick.clear()
        self._quick[same] = (dict(space), part)  # holds the distributions, so that their ids stay theirs
        return part

    def _slow_part(self, space: Mapping[str, BaseDistribution]) -> Part:
        key = tuple(space.items())
        part = self._parts.get(key)
        if part is None:
            axes = axes_of(space)
            part = self._parts[key] = Part(axes, Kernels(self.history, axes, self._settings))
            if len(self._parts) > PARTS + 2 * len(self.history.columns):
                self._parts.popitem(last=False)
        self._parts.move_to_end(key)
        return part

    def _densities(self, part: Part, number: int) -> tuple[Mixture, Kernels]:
        good = self._good(part)
        with self.history.without(number):
            part.other.look()
        return good, part.other

    def _good(self, part: Part) -> Mixture:
        history = self.history
        good = history.divide(self._gamma(history.finished))
        version = (history.generation, history.good_version)
        if part.version != version or part.good is None:
            part.good, part.version = self._mixture(part.axes, good), version
        return part.good

    def _mixture(self, axes: Sequence[Axis], numbers: Sequence[int]) -> Mixture:
        values, _ = self.history.rows([axis.name for axis in axes], numbers)
        for i, axis in enumerate(axes):
            values[:, i] = axis.kernel(values[:, i])
        return build(axes, values, self._settings, equal=self._several)
