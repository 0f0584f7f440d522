"""The study's storage as Optuna sees it: reads come from memory, writes are staged and committed together."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import StudyDirection

# Optuna's storages return this class, and it has no public name.
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from ..attributes import OWNER
from ..study_changes import Changes
from . import study_rows
from .conflicts import CommitResult
from .database import Database, open_database
from .interning import shared_attributes, shared_distributions
from .study_cache import StudyCache, detached, opened
from .tables import check_key, plain
from .trial_values import check_steps, checked_attributes, checked_values, from_template, new_trial, same_distribution
from .unit_of_work import UnitOfWork

FIXED = "fixed_params"
"""Optuna's trial system attribute for the parameters of an enqueued trial."""


class RecordStorage(optuna.storages.BaseStorage):
    """An Optuna storage in Optuna's own database schema, on SQLite or PostgreSQL, for one driver with many trials.

    Every study that is used is kept in memory. What Optuna writes changes the memory at once and is staged for the
    database; ``unit_of_work`` commits it and reads what other processes wrote. Optuna's own tools can read and write
    the same database at any time. All methods may raise RecordAway when they need the database and it cannot be
    reached.

    Args:
        url: As ``normalize_url`` returns it.
        autocommit: True: each write is a commit, and each read looks for changes of other processes first, as Optuna's
            own storages do. False: the owner calls ``commit``, ``sync`` and ``locked``.
        database: A database that has Optuna's tables. None: open the one at ``url``, and create its tables if they are
            missing.

    Attributes:
        unit_of_work: Transactions, and the studies in memory. It never changes.
        campaign: The campaign that this storage works for: trials that are created or started here are its own, and
            ``claim`` and ``release`` set it. None: trials have no owner.
        last_started: Local id of the trial that was created as running or started last; the owner may set it to None.

    Trial ids are local to this object: other storages give the same trial another id.

    Raises:
        UserError: The database cannot be opened, or has tables of another version of Optuna.

    Example:
        >>> import optuna, tempfile
        >>> from pilotune.pipeline.record import open_storage
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     url = f"sqlite:///{folder}/study.db"
        ...     storage = open_storage(url)
        ...     study = optuna.create_study(storage=storage, study_name="s")
        ...     trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        ...     before = len(optuna.load_study(study_name="s", storage=url).trials)
        ...     result = storage.commit()
        ...     after = len(optuna.load_study(study_name="s", storage=url).trials)
        ...     storage.close()
        >>> before, after
        (0, 1)
    """

    def __init__(self, url: str, *, autocommit: bool = True, database: Database | None = None):
        self.url = url
        self.unit_of_work = UnitOfWork(database or open_database(url), autocommit=autocommit)
        self.campaign: str | None = None
        self.last_started: int | None = None
        self._studies = self.unit_of_work.studies
        self._lock = self.unit_of_work.lock

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "autocommit": self.unit_of_work.autocommit}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["url"], autocommit=state["autocommit"])  # type: ignore[misc]

    # -- the unit of work ---------------------------------------------------------------------------------------------

    @property
    def database(self) -> Database:
        """The connection."""
        return self.unit_of_work.database

    def commit(self, limit: int | None = None) -> CommitResult:
        """See :meth:`UnitOfWork.commit`."""
        return self.unit_of_work.commit(limit)

    def locked(self, study_id: int, limit: int | None = None) -> AbstractContextManager[None]:
        """See :meth:`UnitOfWork.locked`."""
        return self.unit_of_work.locked(study_id, limit)

    def sync(self, study_id: int | None = None) -> bool:
        """See :meth:`UnitOfWork.sync`."""
        return self.unit_of_work.sync(study_id)

    def close(self) -> None:
        """See :meth:`UnitOfWork.close`."""
        self.unit_of_work.close()

    # -- access to the caches -----------------------------------------------------------------------------------------

    def _fresh(self, study_id: int) -> StudyCache:
        """The study's cache; with autocommit, after reading changes of other processes."""
        cache = self.unit_of_work.load(study_id)
        if self.unit_of_work.autocommit:
            self.unit_of_work.sync(study_id)
        return cache

    def _fresh_of(self, trial_id: int) -> tuple[StudyCache, FrozenTrial]:
        cache = self._studies.cache_of.get(trial_id)
        if cache is None:
            raise KeyError(f"no trial with id {trial_id}")
        if self.unit_of_work.autocommit:
            self._fresh(cache.study_id)
        return cache, cache.trials[trial_id]

    def _flush(self, trial_id: int | None = None) -> bool:
        """With autocommit, commit; returns False when another process finished or started the trial first."""
        if not self.unit_of_work.autocommit or self.unit_of_work.in_transaction:
            return True
        return trial_id not in self.commit().overtaken

    @contextlib.contextmanager
    def _changing(self, trial_id: int) -> Iterator[tuple[StudyCache, FrozenTrial]]:
        """Around a change of an unfinished trial; raises UpdateFinishedTrialError for a finished one."""
        with self._lock:
            cache, trial = self._fresh_of(trial_id)
            self.check_trial_is_updatable(trial_id, trial.state)
            yield cache, trial
            if not self._flush(trial_id):
                raise UpdateFinishedTrialError(f"trial {trial.number} was finished by another process")

    @contextlib.contextmanager
    def _outside_transactions(self) -> Iterator[None]:
        with self._lock:
            if self.unit_of_work.in_transaction:
                raise ValueError("studies cannot be created or deleted inside `locked`")
            yield

    # -- studies ------------------------------------------------------------------------------------------------------

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """Create a study, committed at once. Raises DuplicatedStudyError."""
        name = check_key(study_name if study_name is not None else f"no-name-{uuid.uuid4()}")
        with self._outside_transactions():
            return study_rows.insert_study(self.database, name, directions)

    def delete_study(self, study_id: int) -> None:
        """Delete a study, committed at once."""
        with self._outside_transactions():
            self.unit_of_work.settle()
            study_rows.delete_study(self.database, study_id)
            self._studies.discard(study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        with self._lock:
            cache = self._fresh(study_id)
            cache.user_attrs = {**cache.user_attrs, check_key(key): plain(value)}
            self._studies.stage(study_id).user.add(key)
            self._flush()

    def drop_study_user_attr(self, study_id: int, key: str) -> None:
        """Delete a user attribute of a study, committed at once."""
        with self._outside_transactions():
            self.unit_of_work.settle()
            cache = self.unit_of_work.load(study_id)
            study_rows.delete_user_attribute(self.database, study_id, key)
            self._studies.stage(study_id).user.discard(key)
            cache.user_attrs = {name: value for name, value in cache.user_attrs.items() if name != key}

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        with self._lock:
            cache = self._fresh(study_id)
            cache.system_attrs = {**cache.system_attrs, check_key(key): plain(value)}
            self._studies.stage(study_id).system.add(key)
            self._flush()

    def get_study_id_from_name(self, study_name: str) -> int:
        with self._lock, self.unit_of_work.translated():
            # Optuna's HyperbandPruner calls this at every decision, also while the database cannot be reached.
            if not self.unit_of_work.autocommit:
                for cache in self._studies.caches.values():
                    if cache.name == study_name:
                        return cache.study_id
            study_id = study_rows.find_study(self.database, study_name)
        if study_id is None:
            raise KeyError(f"no study named {study_name!r}")
        return study_id

    def get_study_name_from_id(self, study_id: int) -> str:
        with self._lock:
            return self.unit_of_work.load(study_id).name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        with self._lock:
            return list(self.unit_of_work.load(study_id).directions)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        with self._lock:
            return self._fresh(study_id).user_attrs

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        with self._lock:
            return self._fresh(study_id).system_attrs

    def get_all_studies(self) -> list[FrozenStudy]:
        with self._lock:
            return study_rows.list_studies(self.database, self._studies)

    # -- trials: writing ----------------------------------------------------------------------------------------------

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Create a trial. Its number is preliminary until the commit: another driver may have used it meanwhile."""
        with self._lock:
            cache = self._fresh(study_id)
            trial = new_trial() if template_trial is None else from_template(template_trial)
            if self.campaign is not None and trial.state == TrialState.RUNNING:
                trial.system_attrs[OWNER] = self.campaign
            local = trial._trial_id = self._studies.new_id(cache)
            trial.number = cache.next_number()
            cache.put(trial)
            cache.uncommitted[local] = None
            self._own(cache, local, trial.state)
            self._studies.stage(study_id).new[local] = None
            self._flush()
            if trial.state == TrialState.RUNNING:
                self.last_started = local
            return local

    def undo_start(self, trial_id: int) -> None:
        """Undo the start of a trial that is staged and not committed; an enqueued one waits again.

        With ``autocommit=False`` only. The id of another trial is void afterwards, as if it had never been.
        """
        with self._lock:
            cache = self._studies.cache_of[trial_id]
            staged, trial = self._studies.stage(cache.study_id), cache.trials[trial_id]
            new, enqueued = trial_id in staged.new, FIXED in trial.system_attrs
            if not new or enqueued:
                system = {key: value for key, value in trial.system_attrs.items() if key != OWNER}
                fields: dict[str, Any] = {
                    "state": TrialState.WAITING,
                    "datetime_start": None,
                    "params": {},
                    "distributions": {},
                }
                self._studies.replace(cache, trial, system_attrs=system, **fields)
            cache.ours.discard(trial_id)
            staged.forget(trial_id)
            if new and enqueued:
                staged.new[trial_id] = None
            elif new:
                cache.drop(trial_id)
                self._studies.forget_trials([trial_id])

    def _own(self, cache: StudyCache, local: int, state: TrialState) -> None:
        if self.unit_of_work.autocommit or state != TrialState.RUNNING:
            cache.ours.discard(local)
        else:
            cache.ours.add(local)

    def adopt(self, trial_ids: Iterable[int]) -> None:
        """Record that this process runs these trials from now on, so that ``sync`` does not read them again."""
        with self._lock:
            for local in trial_ids:
                self._studies.cache_of[local].ours.add(local)

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        self.set_trial_params(trial_id, {param_name: (param_value_internal, distribution)})

    def set_trial_params(self, trial_id: int, values: Mapping[str, tuple[float, BaseDistribution]]) -> None:
        """Set several parameters at once.

        Args:
            trial_id: An unfinished trial.
            values: Parameter name -> the value as Optuna stores it (``to_internal_repr``), and its distribution.
        """
        with self._changing(trial_id) as (cache, trial):
            params, distributions = dict(trial.params), dict(trial.distributions)
            for name, (value, distribution) in values.items():
                known = cache.distributions.get(check_key(name))
                if known is not None and same_distribution(known, distribution):
                    distribution = known  # all trials share one object, to save memory
                elif known is not None:
                    check_distribution_compatibility(known, distribution)
                params[name], distributions[name] = distribution.to_external_repr(value), distribution
            self._studies.replace(cache, trial, params=params, distributions=shared_distributions(distributions))
            self._studies.stage(cache.study_id).of(trial_id).params.update(values)

    def forget_params(self, trial_id: int) -> None:
        """Remove the trial's parameters that are not in the database yet, so that it can be sampled again."""
        with self._lock:
            cache = self._studies.cache_of[trial_id]
            staged = self._studies.stage(cache.study_id)
            trial = cache.trials[trial_id]
            removed = set(trial.params) if trial_id in staged.new else set(staged.of(trial_id).params)
            self._studies.replace(
                cache,
                trial,
                params={name: value for name, value in trial.params.items() if name not in removed},
                distributions={name: each for name, each in trial.distributions.items() if name not in removed},
            )
            staged.of(trial_id).params -= removed

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        with self._lock:
            cache, trial = self._fresh_of(trial_id)
            self.check_trial_is_updatable(trial_id, trial.state)
            if state == TrialState.RUNNING and trial.state != TrialState.WAITING:
                return False
            fields: dict[str, Any] = {"state": state}
            changes = self._studies.stage(cache.study_id).of(trial_id)
            changes.state = True
            if values is not None:
                fields["values"], changes.values = checked_values(values), True
            if state == TrialState.RUNNING:
                fields["datetime_start"], changes.claim = datetime.now(), True
                if self.campaign is not None:
                    fields["system_attrs"] = {**trial.system_attrs, OWNER: self.campaign}
                    changes.system.add(OWNER)
            if state.is_finished():
                fields["datetime_complete"] = datetime.now()
                fields["system_attrs"] = shared_attributes(trial.system_attrs)
            self._studies.replace(cache, trial, **fields)
            self._own(cache, trial_id, state)
            if state == TrialState.RUNNING:
                self.last_started = trial_id
            if self._flush(trial_id):
                return True
        if state == TrialState.RUNNING:
            return False
        raise UpdateFinishedTrialError(f"trial {trial.number} was finished by another process")

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        self.set_trial_intermediate_values(trial_id, {int(step): intermediate_value})

    def set_trial_intermediate_values(self, trial_id: int, values: Mapping[int, float]) -> None:
        """Set several intermediate values at once, by step."""
        with self._changing(trial_id) as (cache, trial):
            check_steps(values)
            steps = {**trial.intermediate_values, **{step: float(value) for step, value in values.items()}}
            self._studies.replace(cache, trial, intermediate_values=steps)
            self._studies.stage(cache.study_id).of(trial_id).steps.update(dict.fromkeys(values))

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.set_trial_user_attrs(trial_id, {key: value})

    def set_trial_user_attrs(self, trial_id: int, values: Mapping[str, Any]) -> None:
        """Set several user attributes at once; none of them when one cannot be stored (ValueError, TypeError)."""
        self.set_trial_attrs(trial_id, values, {})

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.set_trial_attrs(trial_id, {}, {key: value})

    def set_trial_attrs(self, trial_id: int, user: Mapping[str, Any], system: Mapping[str, Any]) -> None:
        """Set several attributes of both kinds at once; none when one cannot be stored (ValueError, TypeError)."""
        with self._changing(trial_id) as (cache, trial):
            fields, changes = {}, self._studies.stage(cache.study_id).of(trial_id)
            if user:
                fields["user_attrs"] = trial.user_attrs | checked_attributes(user)
            if system:
                fields["system_attrs"] = trial.system_attrs | checked_attributes(system)
            self._studies.replace(cache, trial, **fields)
            changes.user.update(user)
            changes.system.update(system)

    # -- trials: reading ----------------------------------------------------------------------------------------------

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        with self._lock:
            local = self._fresh(study_id).of_number(trial_number)
        if local is None:
            raise KeyError(f"no trial {trial_number} in the study with id {study_id}")
        return local

    def get_trial(self, trial_id: int) -> FrozenTrial:
        with self._lock:
            trial = self._fresh_of(trial_id)[1]
        # Optuna's Trial keeps what it gets here and writes into its dictionaries.
        return trial if trial.state.is_finished() else opened(trial)

    def get_trial_number_from_id(self, trial_id: int) -> int:
        with self._lock:
            return self._fresh_of(trial_id)[1].number

    def get_trial_params(self, trial_id: int) -> dict[str, Any]:
        with self._lock:
            return self._fresh_of(trial_id)[1].params

    def get_trial_user_attrs(self, trial_id: int) -> dict[str, Any]:
        with self._lock:
            return self._fresh_of(trial_id)[1].user_attrs

    def get_trial_system_attrs(self, trial_id: int) -> dict[str, Any]:
        with self._lock:
            return self._fresh_of(trial_id)[1].system_attrs

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The study's trials by ascending number.

        Without ``deepcopy`` these are the objects in memory, which the caller must not change.
        """
        with self._lock:
            found = self._fresh(study_id).in_states(states)
            return [detached(trial) for trial in found] if deepcopy else found.copy()

    def get_n_trials(self, study_id: int, state: tuple[TrialState, ...] | TrialState | None = None) -> int:
        with self._lock:
            states = (state,) if isinstance(state, TrialState) else state
            return len(self._fresh(study_id).in_states(states))

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        with self._lock:
            cache = self._fresh(study_id)
            if len(cache.directions) > 1:
                raise RuntimeError("a study with several directions has no single best trial; use its `best_trials`")
            best = cache.best()
        if best is None:
            raise ValueError("no trial is complete yet")
        return best

    def counted(self, study_id: int) -> int:
        """How many trials count for the study's budget: all but waiting ones and those copied from other studies."""
        with self._lock:
            return self.unit_of_work.load(study_id).counted()

    def distributions(self, study_id: int) -> dict[str, BaseDistribution]:
        """The first distribution of each parameter in the study; later ones must be compatible with it."""
        with self._lock:
            return dict(self.unit_of_work.load(study_id).distributions)

    def changes(self, study_id: int, since: Any) -> tuple[Any, Changes]:
        """What changed in the study since an earlier call, for ``StudyWatch``.

        Args:
            study_id: The study.
            since: The first part of that call's result; None: report the whole study.

        Returns:
            A position for the next call, and the changes.
        """
        with self._lock:
            return self._fresh(study_id).changes(since)

    def remove_session(self) -> None:
        """Close the connection; the next use opens it again."""
        self.close()
