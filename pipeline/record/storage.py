"""The study's storage as Optuna sees it: reads from memory, writes staged and committed together."""

from __future__ import annotations

import contextlib
import math
import uuid
from collections.abc import Container, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.distributions import BaseDistribution, CategoricalDistribution, check_distribution_compatibility
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.study import StudyDirection

# Optuna's storages return this class, and it has no public name.
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import IntegrityError

from ..study_changes import Changes
from . import tables
from .database import Database
from .interning import shared_attributes, shared_distributions
from .study_cache import OWNER, StudyCache, detached, opened
from .sync import read_attributes
from .tables import STEP_LIMIT, check_key, plain, studies, study_directions, trials
from .unit_of_work import UnitOfWork


class RecordStorage(UnitOfWork, optuna.storages.BaseStorage):
    """An Optuna storage in Optuna's own database schema, on SQLite or PostgreSQL, made for one driver with many trials.

    Every study it is asked for is kept in memory; what Optuna writes changes the memory at once and is staged for the
    database.

    Args:
        url: As ``normalize_url`` gives it.
        autocommit: True: each write is a commit and each read looks for changes of other processes first, as Optuna's
            own storages do. False: the owner calls ``commit``, ``sync`` and ``locked``.
        link: To a database that has Optuna's tables; None: one to ``url`` is opened.

    Trial ids are local to this object. Creating and deleting a study are committed at once. Beyond Optuna's methods
    there are ``commit``, ``sync``, ``locked``, ``counted``, ``adopt``, ``forget_params``, ``clock`` and ``close``; all
    may raise RecordAway. Raises UserError when the database cannot be opened.
    """

    def __init__(self, url: str, *, autocommit: bool = True, database: Database | None = None):
        super().__init__(url, autocommit=autocommit, database=database)

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "autocommit": self.autocommit}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["url"], autocommit=state["autocommit"])  # type: ignore[misc]

    # Access to the mirrors

    def _fresh(self, study_id: int) -> StudyCache:
        cache = self._mirror(study_id)
        if self.autocommit:
            self._settle()
            self._sync(cache)
        return cache

    def _fresh_of(self, trial_id: int) -> tuple[StudyCache, FrozenTrial]:
        cache = self._home.get(trial_id)
        if cache is None:
            raise KeyError(f"no trial with id {trial_id}")
        if self.autocommit:
            self._fresh(cache.study_id)
        return cache, cache.trials[trial_id]

    def _flush(self, trial_id: int | None = None) -> bool:
        """Commit, when each write is to be one; False when another process finished or started the trial first."""
        if not self.autocommit or self._inside:
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

    # Studies

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        name = check_key(study_name if study_name is not None else f"no-name-{uuid.uuid4()}")
        rows = [{"direction": direction, "objective": place} for place, direction in enumerate(directions)]
        with self._lock, self._not_inside():
            try:
                with self.database.writing():
                    made = self.database.run(sa.insert(studies).returning(studies.c.study_id), {"study_name": name})
                    study_id = int(made.scalar_one())
                    self.database.run(sa.insert(study_directions), [{"study_id": study_id, **row} for row in rows])
            except IntegrityError:
                raise DuplicatedStudyError(f"a study named {name!r} exists") from None
            return study_id

    def delete_study(self, study_id: int) -> None:
        with self._lock, self._not_inside():
            self._settle()
            its_trials = sa.select(trials.c.trial_id).where(trials.c.study_id == study_id)
            with self.database.writing():
                lock = sa.select(studies.c.study_id).where(studies.c.study_id == study_id).with_for_update()
                if self.database.run(lock).first() is None:
                    raise KeyError(f"no study with id {study_id}")
                for table in tables.OF_TRIAL:
                    self.database.run(sa.delete(table).where(table.c.trial_id.in_(its_trials)))
                for table in (trials, *tables.OF_STUDY, studies):
                    self.database.run(sa.delete(table).where(table.c.study_id == study_id))
            self._staged.pop(study_id, None)
            self._discard(study_id)

    @contextlib.contextmanager
    def _not_inside(self) -> Iterator[None]:
        if self._inside:
            raise ValueError("studies cannot be created or deleted inside a locked one")
        yield

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        with self._lock:
            cache = self._fresh(study_id)
            cache.user_attrs = {**cache.user_attrs, check_key(key): plain(value)}
            self._stage(study_id).user.add(key)
            self._flush()

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        with self._lock:
            cache = self._fresh(study_id)
            cache.system_attrs = {**cache.system_attrs, check_key(key): plain(value)}
            self._stage(study_id).system.add(key)
            self._flush()

    def get_study_id_from_name(self, study_name: str) -> int:
        with self._lock, self._translated():
            if not self.autocommit:  # Optuna's Hyperband asks at every verdict, and the database may be away
                for cache in self._mirrors.values():
                    if cache.name == study_name:
                        return cache.study_id
            query = sa.select(studies.c.study_id).where(studies.c.study_name == study_name)
            study_id = self.database.run(query).scalar()
        if study_id is None:
            raise KeyError(f"no study named {study_name!r}")
        return int(study_id)

    def get_study_name_from_id(self, study_id: int) -> str:
        with self._lock:
            return self._mirror(study_id).name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        with self._lock:
            return list(self._mirror(study_id).directions)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        with self._lock:
            return self._fresh(study_id).user_attrs

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        with self._lock:
            return self._fresh(study_id).system_attrs

    def get_all_studies(self) -> list[FrozenStudy]:
        with self._lock, self.database.reading():
            found = []
            for study_id, name in self.database.run(sa.select(studies).order_by(studies.c.study_id)).all():
                user, system = read_attributes(self.database, study_id)
                query = sa.select(study_directions.c.direction).where(study_directions.c.study_id == study_id)
                directions = list(self.database.run(query.order_by(study_directions.c.objective)).scalars())
                cache, staged = self._mirrors.get(study_id), self._staged.get(study_id)
                if cache is not None and staged is not None:
                    user |= {key: cache.user_attrs[key] for key in staged.user}
                    system |= {key: cache.system_attrs[key] for key in staged.system}
                found.append(FrozenStudy(name, None, user, system, study_id, directions=directions))
            return found

    # Trials

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        with self._lock:
            cache = self._fresh(study_id)
            trial = _new_trial() if template_trial is None else _from_template(template_trial)
            if self.campaign is not None and trial.state == TrialState.RUNNING:
                trial.system_attrs[OWNER] = self.campaign
            local = trial._trial_id = self._new_id(cache)
            trial.number = cache.next_number()
            cache.put(trial)
            cache.uncommitted[local] = None
            self._own(cache, local, trial.state)
            self._stage(study_id).new[local] = None
            self._flush()
            return local

    def _own(self, cache: StudyCache, local: int, state: TrialState) -> None:
        if self.autocommit or state != TrialState.RUNNING:
            cache.ours.discard(local)
        else:
            cache.ours.add(local)

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        self.set_trial_params(trial_id, {param_name: (param_value_internal, distribution)})

    def set_trial_params(self, trial_id: int, values: Mapping[str, tuple[float, BaseDistribution]]) -> None:
        """Several at once: by name the value as Optuna keeps it (``to_internal_repr``), and its distribution."""
        with self._changing(trial_id) as (cache, trial):
            params, distributions = dict(trial.params), dict(trial.distributions)
            for name, (value, distribution) in values.items():
                known = cache.distributions.get(check_key(name))
                if known is not None and _same(known, distribution):
                    distribution = known  # one object for all trials: there may be a million of them
                elif known is not None:
                    check_distribution_compatibility(known, distribution)
                params[name], distributions[name] = distribution.to_external_repr(value), distribution
            self._replace(cache, trial, params=params, distributions=shared_distributions(distributions))
            self._stage(cache.study_id).of(trial_id).params.update(values)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        with self._lock:
            cache, trial = self._fresh_of(trial_id)
            self.check_trial_is_updatable(trial_id, trial.state)
            if state == TrialState.RUNNING and trial.state != TrialState.WAITING:
                return False
            fields: dict[str, Any] = {"state": state}
            changes = self._stage(cache.study_id).of(trial_id)
            changes.state = True
            if values is not None:
                fields["values"], changes.values = _checked(values), True
            if state == TrialState.RUNNING:
                fields["datetime_start"], changes.claim = datetime.now(), True
                if self.campaign is not None:
                    fields["system_attrs"] = {**trial.system_attrs, OWNER: self.campaign}
                    changes.system.add(OWNER)
            if state.is_finished():
                fields["datetime_complete"] = datetime.now()
                fields["system_attrs"] = shared_attributes(trial.system_attrs)
            self._replace(cache, trial, **fields)
            self._own(cache, trial_id, state)
            if self._flush(trial_id):
                return True
        if state == TrialState.RUNNING:
            return False
        raise UpdateFinishedTrialError(f"trial {trial.number} was finished by another process")

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        self.set_trial_intermediate_values(trial_id, {int(step): intermediate_value})

    def set_trial_intermediate_values(self, trial_id: int, values: Mapping[int, float]) -> None:
        """Several at once."""
        with self._changing(trial_id) as (cache, trial):
            for step in values:
                if not -STEP_LIMIT <= step < STEP_LIMIT:
                    raise ValueError(f"a step is a whole number of 32 bits in the database, got {step}")
            steps = {**trial.intermediate_values, **{step: float(value) for step, value in values.items()}}
            self._replace(cache, trial, intermediate_values=steps)
            self._stage(cache.study_id).of(trial_id).steps.update(values)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.set_trial_user_attrs(trial_id, {key: value})

    def set_trial_user_attrs(self, trial_id: int, values: Mapping[str, Any]) -> None:
        """Several at once; none where one of them cannot be kept."""
        with self._changing(trial_id) as (cache, trial):
            attrs = trial.user_attrs | {check_key(key): plain(value) for key, value in values.items()}
            self._replace(cache, trial, user_attrs=attrs)
            self._stage(cache.study_id).of(trial_id).user.update(values)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        with self._changing(trial_id) as (cache, trial):
            self._replace(cache, trial, system_attrs={**trial.system_attrs, check_key(key): plain(value)})
            self._stage(cache.study_id).of(trial_id).system.add(key)

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
        with self._lock:
            found = self._fresh(study_id).in_states(states)
            return [detached(trial) for trial in found] if deepcopy else found.copy()

    def changes(self, study_id: int, since: Any) -> tuple[Any, Changes]:
        """What changed in the study since an earlier answer (its first part; None: the whole), for ``StudyWatch``."""
        with self._lock:
            return self._fresh(study_id).changes(since)

    def get_n_trials(self, study_id: int, state: tuple[TrialState, ...] | TrialState | None = None) -> int:
        with self._lock:
            states = (state,) if isinstance(state, TrialState) else state
            return len(self._fresh(study_id).in_states(states))

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        with self._lock:
            cache = self._fresh(study_id)
            if len(cache.directions) > 1:
                raise RuntimeError("a study of several directions has no single best trial; see its best_trials")
            best = cache.best()
        if best is None:
            raise ValueError("no trial is complete yet")
        return best

    def remove_session(self) -> None:
        self.close()


def _new_trial() -> FrozenTrial:
    return FrozenTrial(
        number=-1,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=datetime.now(),
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=-1,
    )


def _same(one: BaseDistribution, other: BaseDistribution) -> bool:
    """Whether two distributions are interchangeable; equal choices may still differ in type, as 1 and True do."""
    if one is other:
        return True
    if isinstance(one, CategoricalDistribution) and isinstance(other, CategoricalDistribution):
        kinds = [[type(choice) for choice in each.choices] for each in (one, other)]
        return kinds[0] == kinds[1] and one == other
    return type(one) is type(other) and one == other


def _from_template(template: FrozenTrial) -> FrozenTrial:
    trial = detached(template)
    trial.user_attrs = {check_key(key): plain(value) for key, value in trial.user_attrs.items()}
    trial.system_attrs = {check_key(key): plain(value) for key, value in trial.system_attrs.items()}
    trial.intermediate_values = {int(step): float(value) for step, value in trial.intermediate_values.items()}
    trial.values = None if template.values is None else _checked(template.values)
    return trial


def _checked(values: Sequence[float]) -> list[float]:
    numbers = [float(value) for value in values]
    if any(math.isnan(number) for number in numbers):
        raise ValueError("a trial's value cannot be NaN")
    return numbers
