"""Samplers that try every point of a finite space once: ``grid`` and ``bruteforce``.

Optuna's own tell the points of a grid apart by a number that it gives to each trial, so an enqueued point runs twice,
and the last points of a grid may never run. These look at the trials' parameters: a point that any trial has taken is
not tried again, whether the trial was enqueued, copied, failed, or runs in another campaign.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ..space import Space
from ..study_changes import StudyWatch
from .points import DRAWS, SCANNED, Points

FIXED = "fixed_params"
"""Optuna's trial system attribute for the parameters that the user enqueued."""


class ExhaustiveSampler(BaseSampler):
    """Tries each point once, in random order. Does not stop the study.

    Args:
        points: The points.
        seed: Of the order. Default None: another order each time.

    Attributes:
        points, seed: As given.
        NOUN: What users call several points.
    """

    NOUN = "configurations"

    def __init__(self, points: Points, seed: int | None = None) -> None:
        self.points, self.seed = points, seed
        self._rng = np.random.default_rng(seed)
        self._order = points.shuffled(self._rng)
        self._next = 0  # all points before it in the order are taken, or forbidden
        self._ahead: int | None = None  # the number of the next point, where it is known
        self._none_left = False  # no point is left, until a trial that took one is gone
        self._watch = StudyWatch()
        self._taken: dict[int, set[int]] = {}  # number of a point -> ids of the trials that took it
        self._of: dict[int, int] = {}  # id of a trial -> number of its point
        self._unfinished: set[int] = set()  # ids of trials on points
        self._crowded: set[int] = set()  # numbers of points that several trials took

    def reseed_rng(self) -> None:
        self._rng = np.random.default_rng()

    # -- what was tried -----------------------------------------------------------------------------------------------

    def _refresh(self, study: Study) -> None:
        """Learn which points trials have taken since the last call, and which trials are gone."""
        changes = self._watch.refresh(study)
        if changes.whole:
            self._taken, self._of, self._unfinished, self._crowded = {}, {}, set(), set()
            self._next, self._none_left = 0, False
        for trial_id in changes.gone:
            self._forget(trial_id)
        for trial in changes.trials:
            params = trial.params or (trial.system_attrs.get(FIXED) if not trial.state.is_finished() else None)
            number = self.points.number(params) if params else None
            if self._of.get(trial._trial_id) != number:
                self._forget(trial._trial_id)
                if number is not None:
                    self._note(trial._trial_id, number)
            if number is not None:
                (self._unfinished.discard if trial.state.is_finished() else self._unfinished.add)(trial._trial_id)

    def _note(self, trial_id: int, number: int) -> None:
        self._of[trial_id] = number
        ids = self._taken.setdefault(number, set())
        ids.add(trial_id)
        if len(ids) > 1:
            self._crowded.add(number)

    def _forget(self, trial_id: int) -> None:
        number = self._of.pop(trial_id, None)
        self._unfinished.discard(trial_id)
        if number is not None:
            self._taken[number].discard(trial_id)
            if not self._taken[number]:
                del self._taken[number]
                self._next, self._none_left = 0, False  # the point is free again, wherever it is in the order

    def left(self, study: Study) -> int:
        """Number of points that no trial has taken; an upper bound in a large space with constraints."""
        self._refresh(study)
        return max(0, self.points.size - len(self._taken))

    def exhausted(self, study: Study) -> bool:
        """Whether every point has been taken.

        Raises:
            ValueError: There may be more points, but the constraints forbid all that were looked at.
        """
        self._refresh(study)
        return self._next_number() is None

    def finished(self, study: Study) -> str:
        """A sentence for a study that is exhausted."""
        self._refresh(study)
        tried = f"all {len(self._taken):,} {self.NOUN} were tried"
        if len(self._taken) == 1:
            tried = f"the only {self.NOUN.removesuffix('s')} was tried"
        running = len(self._unfinished)
        return f"{tried}, {running:,} of them by trials that have not ended" if running else tried

    def repeated(self, study: Study, new: Collection[int]) -> list[int]:
        """Those of the trials ``new`` (ids) whose point another trial has taken, too: another driver's, at once."""
        self._refresh(study)
        self._crowded = {number for number in self._crowded if len(self._taken.get(number, ())) > 1}
        return [i for number in sorted(self._crowded) for i in sorted(self._taken[number] & set(new))]

    # -- what is tried next -------------------------------------------------------------------------------------------

    def _next_number(self) -> int | None:
        """The point to try next; the same one until a trial has taken it. None where none is left."""
        if self._none_left or (self._ahead is not None and self._ahead not in self._taken):
            return None if self._none_left else self._ahead
        self._ahead = self._find({}) if self._order is None else self._next_in_order(self._order)
        self._none_left = self._ahead is None
        return self._ahead

    def _next_in_order(self, order: Sequence[int]) -> int | None:
        while self._next < len(order):
            number = int(order[self._next])
            if number not in self._taken and self.points.allows(number):
                return number
            self._next += 1
        return None

    def _find(self, fixed: Mapping[str, Any]) -> int | None:
        """A point that no trial has taken, with the values of ``fixed``; None where there is none."""
        if len(self._taken) >= self.points.size:
            return None
        for _ in range(DRAWS):
            number = self.points.number(self.points.draw(self._rng, fixed))
            if number is not None and number not in self._taken and self.points.allows(number):
                return number
        forbidden = 0
        for number in self.points.in_order(fixed):
            if number not in self._taken:
                if self.points.allows(number):
                    return number
                forbidden += 1
            if forbidden > SCANNED:
                raise ValueError(f"none of {SCANNED:,} {self.NOUN} satisfies the study file's constraints")
        return None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.points.space.distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next point; where all were taken, one of them once more."""
        self._refresh(study)
        fixed = trial.system_attrs.get(FIXED, {})
        number = self._find(fixed) if fixed else self._next_number()
        params = None if number is None else self.points.params(number)
        return self.points.draw(self._rng, fixed) if params is None else params

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        axis = next((axis for axis in self.points.axes if axis.name == param_name), None)
        if axis is None:
            raise ValueError(f"there is no parameter {param_name!r} in the space of the sampler")
        return axis.value(int(self._rng.integers(axis.count)))

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Do nothing, where Optuna's would stop the study."""


class GridSampler(ExhaustiveSampler):
    """Grid search: tries each point of a grid once, in random order. Does not stop the study.

    Args:
        space: The search space.
        search_space: From some parameters to the values to use, all within their range. The others take all values of
            theirs. The grid is the product of all of them, at most 1,000,000 points; combinations that differ in
            inactive parameters only are one point, and the space's constraints hold.
        seed: Of the order. Default None: another order each time.

    Example:
        >>> import optuna
        >>> from pilotune.pipeline.space import Parameter, Space
        >>> from pilotune.pipeline.suggest.exhaustive import GridSampler
        >>> space = Space((Parameter("n", optuna.distributions.IntDistribution(1, 3)),))
        >>> study = optuna.create_study(sampler=GridSampler(space, seed=0))
        >>> study.enqueue_trial({"n": 2})
        >>> for _ in range(3):
        ...     trial = study.ask(space.distributions)
        ...     _ = study.tell(trial, trial.params["n"])
        >>> sorted(trial.params["n"] for trial in study.trials)
        [1, 2, 3]
    """

    NOUN = "grid points"

    def __init__(
        self, space: Space, search_space: Mapping[str, Sequence[Any]] | None = None, seed: int | None = None
    ) -> None:
        super().__init__(Points(space, search_space), seed)


class BruteForceSampler(ExhaustiveSampler):
    """Exhaustive search: tries each configuration of a finite space once, conditional ones included.

    Unlike a grid it may be of any size. Does not stop the study.

    Args:
        space: The search space; all its parameters are finite.
        seed: Of the order. Default None: another order each time.
        avoid_premature_stop: Has no effect. Optuna's sampler may stop early, or repeat configurations; this one never
            does.
    """

    def __init__(self, space: Space, seed: int | None = None, avoid_premature_stop: bool = False) -> None:
        super().__init__(Points(space), seed)
