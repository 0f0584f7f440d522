"""The studies of a database for optuna-dashboard with its changes: notes, new studies, deletion."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .storage import ReadOnlyStorage

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.study import StudyDirection
    from optuna.trial import FrozenTrial, TrialState


class WritableStorage(ReadOnlyStorage):
    """Reads as ``ReadOnlyStorage`` does, and writes through Optuna's own storage, only to what is shown.

    A study that is created is shown from then on.
    """

    @cached_property
    def _optuna(self) -> RDBStorage:
        from optuna.storages import RDBStorage

        return RDBStorage(self.url, engine_kwargs={"hide_parameters": True})

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        study_id = self._optuna.create_new_study(directions, study_name)
        if self._names is not None:
            self._names.add(self._optuna.get_study_name_from_id(study_id))
        self.forget()
        return study_id

    def delete_study(self, study_id: int) -> None:
        self._study(study_id)  # raises KeyError if it is not shown, here and below
        self._optuna.delete_study(study_id)
        self.forget()

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._study(study_id)
        self._optuna.set_study_user_attr(study_id, key, value)
        self.forget()

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._study(study_id)
        self._optuna.set_study_system_attr(study_id, key, value)
        self.forget()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        self._study(study_id)
        trial_id = self._optuna.create_new_trial(study_id, template_trial)
        self.forget()
        return trial_id

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        self.get_trial(trial_id)
        changed = self._optuna.set_trial_state_values(trial_id, state, values)
        self.forget()
        return changed

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.get_trial(trial_id)
        self._optuna.set_trial_user_attr(trial_id, key, value)
        self.forget()

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.get_trial(trial_id)
        self._optuna.set_trial_system_attr(trial_id, key, value)
        self.forget()
