"""Reports what changed in a study since the last call, for samplers and pruners that keep tables of its trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from .attributes import PAUSED

FINISHED = tuple(state for state in TrialState if state.is_finished())
"""The states of trials that have ended: complete, pruned and failed ones."""


def observed(trial: FrozenTrial) -> bool:
    """Whether a sampler may learn from the trial: it is complete, pruned, or paused at a rung.

    Most trials that pause become pruned only when the study ends, so paused ones count at once.
    """
    if trial.state == TrialState.RUNNING:
        return PAUSED in trial.user_attrs
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Changes:
    """What changed since the last call.

    Attributes:
        trials: New and changed trials as they are now, each once, in the order of their last change.
        gone: Ids (``trial._trial_id``) of trials that were dropped before they reached the database.
        whole: ``trials`` is the whole study; forget what was known before.
    """

    trials: Sequence[FrozenTrial]
    gone: Sequence[int] = ()
    whole: bool = False


class StudyWatch:
    """One reader's position in the changes of one study.

    With a storage that keeps account of changes (``changes(study_id, since)``, as ``RecordStorage``) a look costs what
    changed. With any other storage of Optuna all trials are listed, and those known to be finished passed over.
    """

    def __init__(self) -> None:
        self._study: tuple[Any, int] | None = None
        self._since: Any = None
        self._finished: dict[int, FrozenTrial] = {}

    def refresh(self, study: Study) -> Changes:
        """What changed since the last call. The first call, and one with another study, reports the whole study."""
        # Optuna's own samplers and pruners use this attribute too; it has no public name.
        storage, study_id = study._storage, study._study_id
        if self._study is None or self._study[0] is not storage or self._study[1] != study_id:
            self._study, self._since, self._finished = (storage, study_id), None, {}
        read_changes = getattr(storage, "changes", None)
        if read_changes is None:
            return self._compare(storage.get_all_trials(study_id, deepcopy=False))
        self._since, changes = read_changes(study_id, self._since)
        found: Changes = changes
        return found

    def _compare(self, trials: Sequence[FrozenTrial]) -> Changes:
        whole = not self._finished
        new = [trial for trial in trials if trial._trial_id not in self._finished]
        self._finished |= {trial._trial_id: trial for trial in new if trial.state.is_finished()}
        return Changes(new, whole=whole)
