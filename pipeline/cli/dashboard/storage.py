"""The studies of a database for optuna-dashboard, read on connections that cannot write, and only what is shown."""

from __future__ import annotations

import copy
import itertools
import threading
import time
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from optuna.storages import BaseStorage
from optuna.study._frozen import FrozenStudy

from ...analysis.reading import live_campaigns, reading, studies_of
from ...record import sync
from ...record.study_cache import replica

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import StudyDirection
    from optuna.trial import FrozenTrial, TrialState

    from ...record.database import Database
    from ...record.study_cache import StudyCache

FRESH = 2.0
"""Seconds for which what was read is not read again; a page makes several requests at once."""


class _Shown:
    """A study as it was last read.

    Attributes:
        cache: Its trials by local id.
        trials: The same with the database's ids, by number.
        user, system: Its attributes.
        busy: A campaign is working on it.
        read: When, by the storage's clock.
    """

    def __init__(self, cache: StudyCache):
        self.cache = cache
        self.trials: list[FrozenTrial] = []
        self.user: dict[str, Any] = {}
        self.system: dict[str, Any] = {}
        self.busy = False
        self.read = float("-inf")
        self._texts: dict[tuple[str, str], tuple[str, Any]] = {}
        self._as_read: dict[int, FrozenTrial] = {}  # as the cache had them, by local id

    def refresh(self, database: Database, next_id: Callable[[], int]) -> None:
        """Read what has changed."""
        unfinished = [local for local, trial in self.cache.trials.items() if not trial.state.is_finished()]
        sync.refresh(database, self.cache, unfinished, next_id, whole=False)
        self.user, self.system = sync.read_attributes(database, self.cache.study_id, self._texts)
        self.busy = bool(live_campaigns(database, self.system))
        shown = {trial.number: trial for trial in self.trials}
        for local, trial in self.cache.trials.items():
            if self._as_read.get(local) is not trial:
                self._as_read[local] = trial
                shown[trial.number] = replica(trial, trial_id=self.cache.db_ids[local])
        self.trials = [shown[number] for number in sorted(shown)]


class ReadOnlyStorage(BaseStorage):
    """An Optuna storage that reads one study, or all of a database, and refuses to write.

    What has changed is read at most every ``FRESH`` seconds, in a transaction of a connection that the database itself
    lets only read. Any thread may call it.

    Args:
        url: The database.
        name: The only study that is shown; None shows all.
        clock: Gives seconds.
    """

    def __init__(self, url: str, name: str | None, clock: Callable[[], float] = time.monotonic):
        self.url, self._clock = url, clock
        self._names = None if name is None else {name}
        self._lock = threading.RLock()
        self._studies: dict[int, _Shown] = {}
        self._ids = itertools.count()
        self._listed = float("-inf")

    def shows(self, study_id: int) -> bool:
        """Whether this study is shown."""
        with self._lock:
            self._list()
            return study_id in self._studies

    def busy(self, study_id: int | None = None) -> bool:
        """Whether a campaign is working on the study, or on any that is shown."""
        with self._lock:
            self._list()
            chosen = list(self._studies) if study_id is None else [study_id]
            return any(self._study(each).busy for each in chosen)

    def forget(self) -> None:
        """Read all changes at the next call."""
        with self._lock:
            self._listed = float("-inf")
            for study in self._studies.values():
                study.read = float("-inf")

    def _list(self) -> None:
        """Find the studies that are shown."""
        if self._clock() - self._listed < FRESH:
            return
        with reading(self.url) as database:
            found = {
                study_id: name
                for name, study_id in studies_of(database).items()
                if self._names is None or name in self._names
            }
            for study_id in found.keys() - self._studies.keys():
                self._studies[study_id] = _Shown(sync.read_study(database, study_id))
        for study_id in self._studies.keys() - found.keys():
            del self._studies[study_id]
        self._listed = self._clock()

    def _study(self, study_id: int) -> _Shown:
        """A study with all that is in the database by now. Raises KeyError if it is not shown."""
        with self._lock:
            self._list()
            study = self._studies[study_id]
            if self._clock() - study.read >= FRESH:
                with reading(self.url) as database:
                    study.refresh(database, self._ids.__next__)
                study.read = self._clock()
            return study

    # -- studies -------------------------------------------------------------------------------------------------------

    def get_all_studies(self) -> list[FrozenStudy]:
        with self._lock:
            self._list()
            studies = [(study_id, self._study(study_id)) for study_id in sorted(self._studies)]
        return [
            FrozenStudy(study.cache.name, None, study.user, study.system, study_id, directions=study.cache.directions)
            for study_id, study in studies
        ]

    def get_study_id_from_name(self, study_name: str) -> int:
        with self._lock:
            self._list()
            for study_id, study in self._studies.items():
                if study.cache.name == study_name:
                    return study_id
        raise KeyError(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._study(study_id).cache.name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return list(self._study(study_id).cache.directions)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return dict(self._study(study_id).user)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return dict(self._study(study_id).system)

    # -- trials --------------------------------------------------------------------------------------------------------

    def get_trial(self, trial_id: int) -> FrozenTrial:
        with self._lock:
            for study_id in list(self._studies):
                for trial in self._study(study_id).trials:
                    if trial._trial_id == trial_id:
                        return trial
        raise KeyError(trial_id)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        trials = self._study(study_id).trials
        found = list(trials) if states is None else [trial for trial in trials if trial.state in states]
        return copy.deepcopy(found) if deepcopy else found

    # -- what is refused -----------------------------------------------------------------------------------------------

    def _refuse(self) -> NoReturn:
        raise PermissionError("this dashboard is read-only")

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        self._refuse()

    def delete_study(self, study_id: int) -> None:
        self._refuse()

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._refuse()

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._refuse()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        self._refuse()

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        self._refuse()

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        self._refuse()

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        self._refuse()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._refuse()

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._refuse()
