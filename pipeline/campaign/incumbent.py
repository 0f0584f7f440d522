"""Keeps track of the best trial of a study. A refresh costs what has changed, not the whole study."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from optuna import Study
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ..study_changes import StudyWatch


class Incumbent:
    """The best trial of one study, as Optuna's ``best_trial`` and the first of its ``best_trials`` define it.

    Trials that break a constraint do not count, and of equal trials the one with the lowest number is the best.

    Args:
        counts: Whether a complete trial counts; None: all do.
    """

    def __init__(self, counts: Callable[[FrozenTrial], bool] | None = None) -> None:
        self._watch, self._counts = StudyWatch(), counts
        # The Pareto front, by trial id: no trial is as good in all objectives and better in one; of equals the first.
        self._front: dict[int, tuple[tuple[float, ...], FrozenTrial]] = {}

    def refresh(self, study: Study) -> FrozenTrial | None:
        """The best complete trial now; with several objectives, the first on the Pareto front. None before any."""
        changes = self._watch.refresh(study)
        complete = [trial for trial in changes.trials if trial.state == TrialState.COMPLETE]
        if changes.whole or any(key in self._front for key in (*changes.gone, *(each._trial_id for each in complete))):
            # A trial of the front has changed: trials that it dominated may belong to the front now.
            self._front.clear()
            complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        for trial in complete:
            self._add(trial, study.directions)
        return min((trial for _, trial in self._front.values()), key=lambda trial: trial.number, default=None)

    @property
    def front_size(self) -> int:
        """Number of trials on the Pareto front, as of the last refresh; trials with equal values count once."""
        return len(self._front)

    def beats(self, values: Sequence[float], directions: Sequence[StudyDirection]) -> bool:
        """Whether a trial of the front is as good in all objectives as ``values``, and better in one."""
        losses = _losses(values, directions)
        return any(_as_good(ours, losses) and ours != losses for ours, _ in self._front.values())

    def _add(self, trial: FrozenTrial, directions: Sequence[StudyDirection]) -> None:
        if any(amount > 0.0 for amount in trial.constraints.values()) or (self._counts and not self._counts(trial)):
            return
        losses = _losses(trial.values, directions)
        for ours, other in self._front.values():
            if _as_good(ours, losses) and (ours != losses or other.number < trial.number):
                return
        self._front = {key: each for key, each in self._front.items() if not _as_good(losses, each[0])}
        self._front[trial._trial_id] = losses, trial


def _losses(values: Sequence[float], directions: Sequence[StudyDirection]) -> tuple[float, ...]:
    """The values with their signs changed where they are maximized."""
    signs = [-1.0 if direction == StudyDirection.MAXIMIZE else 1.0 for direction in directions]
    return tuple(sign * value for sign, value in zip(signs, values, strict=True))


def _as_good(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether ``one`` is at least as good in every objective."""
    return all(first <= second for first, second in zip(one, other, strict=True))
