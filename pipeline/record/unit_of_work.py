"""One transaction a commit: locked, guarded by the budget, and written exactly once even when its answer is lost."""

from __future__ import annotations

import contextlib
import copy
import json
import threading
import uuid
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from ...errors import PilotuneError, RecordAway
from .conflicts import CommitResult, keep_budget, let_others, settle_numbers
from .database import Database, open_link
from .db_errors import words
from .staged import Before, Pending, Staged, write_study
from .statements import statements
from .study_cache import StudyCache, replica
from .sync import TICK, look, read_attributes, read_new, read_study


class LeaseLost(PilotuneError):
    """Another driver declared this campaign dead and took its trials over; nothing more of it is written."""


WHOLE_LOOK = 60
"""Of so many looks at what others did, one reads their unfinished trials whole."""


class UnitOfWork:
    """Mirrors, staged changes and transactions; what Optuna calls is in ``RecordStorage``."""

    def __init__(self, url: str, *, autocommit: bool, database: Database | None = None):
        self.url, self.autocommit = url, autocommit
        self.database: Database = database or open_link(url)
        self.campaign: str | None = None
        self.fence: tuple[int, str] | None = None
        self._lock = threading.RLock()
        self._mirrors: dict[int, StudyCache] = {}
        self._home: dict[int, StudyCache] = {}
        self._staged: dict[int, Staged] = {}
        self._sql = statements(self.database.dialect)
        self._last_id = -1
        self._tick, self._ticker = 0, f"{TICK}{uuid.uuid4().hex}"
        self._pending: Pending | None = None
        self._others = False  # whether others have written since a commit last looked for that
        self._inside: set[int] = set()
        self._refused: list[int] = []
        self._overtaken: list[int] = []

    # What is in memory

    def _mirror(self, study_id: int) -> StudyCache:
        """The study's mirror, read from the database at its first use."""
        cache = self._mirrors.get(study_id)
        if cache is None:
            if self._inside:
                cache = read_study(self.database, study_id)
                self._refresh(cache)
            else:
                with self.database.reading():
                    cache = read_study(self.database, study_id)
                    self._refresh(cache)
            self._mirrors[study_id] = cache
        return cache

    def _new_id(self, cache: StudyCache) -> int:
        self._last_id += 1
        self._home[self._last_id] = cache
        return self._last_id

    def _stage(self, study_id: int) -> Staged:
        staged = self._staged.get(study_id)
        if staged is None:
            staged = self._staged[study_id] = Staged()
        return staged

    # Reading

    def sync(self, study_id: int | None = None) -> bool:
        """Read what other processes changed in the study (default: in all that are loaded); staged changes stay.

        Returns whether anything was read. On SQLite it costs one PRAGMA when nobody else wrote. Raises RecordAway.
        """
        with self._lock:
            self._settle()
            mirrors = list(self._mirrors.values()) if study_id is None else [self._mirror(study_id)]
            return sum(self._sync(cache) for cache in mirrors) > 0

    def _sync(self, cache: StudyCache) -> bool:
        if self._inside:
            return False
        with self._translated():
            version = self.database.data_version()
        if version is not None and version == cache.seen:
            return False
        self._others = True
        with self.database.reading():
            # Where each write is a commit, others may build on what they write over.
            self._refresh(cache, whole=self.autocommit or cache.looks % WHOLE_LOOK == WHOLE_LOOK - 1)
        return True

    def _refresh(self, cache: StudyCache, *, whole: bool = True) -> None:
        """Read changes, inside a transaction; ``whole``: all that others may have changed.

        The version is taken first: what changes after it is read the next time.
        """
        version = self.database.data_version()
        staged = self._staged.get(cache.study_id, Staged())
        unfinished = cache.in_states((TrialState.RUNNING, TrialState.WAITING))
        theirs = [
            i
            for i in (t._trial_id for t in unfinished)
            if i not in cache.ours and i in cache.db_ids and i not in staged.trials
        ]
        look(self.database, cache, theirs, partial(self._new_id, cache), whole=whole)
        cache.looks = 0 if whole else cache.looks + 1
        user, system = read_attributes(self.database, cache.study_id, cache.texts)
        cache.user_attrs = user | {k: cache.user_attrs[k] for k in staged.user}
        cache.system_attrs = system | {k: cache.system_attrs[k] for k in staged.system}
        cache.seen = version

    # Writing

    def commit(self, limit: int | None = None) -> CommitResult:
        """Write all staged changes in one transaction; without any, nothing is sent.

        Args:
            limit: The most trials the study may hold (``counted``); trials that would start beyond it are refused.

        Raises:
            RecordAway: The database did not take it. The staged changes are kept, and the next commit writes them;
                whether this one landed after all is looked up first, so nothing is written twice.
            LeaseLost: Another driver took this campaign's trials over.
        """
        with self._lock:
            self._settle()
            if not self._inside:
                ids = sorted(study_id for study_id, staged in self._staged.items() if staged)
                if ids:
                    with self._transaction(ids, limit):
                        pass
            result = CommitResult(tuple(self._refused), tuple(self._overtaken))
            self._refused, self._overtaken = [], []
            return result

    @contextlib.contextmanager
    def locked(self, study_id: int, limit: int | None = None) -> Iterator[None]:
        """One transaction around the caller's reads and staged changes: no other driver writes to the study meanwhile.

        The mirror is in step with the database inside, and everything staged for the study is committed at the end.
        All or nothing: after an exception what the caller staged inside is gone from memory too (with RecordAway after
        the last moment, it may have landed; the next use finds out). What the commit refused is in the next
        ``commit``'s result. Nested use joins the outer transaction. Keep it short: others wait. Raises RecordAway,
        LeaseLost.
        """
        with self._lock:
            if self._inside:
                if study_id not in self._inside:
                    raise ValueError("a second study cannot be locked inside the first one's transaction")
                yield
                return
            self._settle()
            cache = self._mirror(study_id)
            staged = copy.deepcopy(self._staged.get(study_id, Staged()))
            with self._transaction([study_id], limit, Before(cache, staged, frozenset(cache.ours))):
                yield

    @contextlib.contextmanager
    def _transaction(self, study_ids: list[int], limit: int | None, before: Before | None = None) -> Iterator[None]:
        mirrors = [self._mirror(study_id) for study_id in study_ids]
        taken: dict[int, Staged] = {}
        pending = Pending(study_ids[0], self._tick + 1, before=before)
        try:
            self.database.begin(write=True)
            changed = self._enter(mirrors, before is not None)
            self._inside = set(study_ids)
            try:
                yield
            finally:
                self._inside = set()
            for cache in mirrors:
                self._guard(cache, limit, changed)
                taken[cache.study_id] = staged = self._staged.pop(cache.study_id, Staged())
                if staged:
                    pending.written[cache.study_id] = staged, write_study(self.database, cache, staged)
            if pending.written:
                self._count(pending)
        except BaseException as error:
            fault = self.database.fault(error)
            if fault is None:
                self.database.rollback()
            else:
                self.database.drop()
            self._put_back(taken, before)
            if fault is None:
                raise
            raise fault from error
        try:
            self.database.commit()
        except SQLAlchemyError as error:
            self.database.drop()
            self._pending = pending if pending.written else None
            raise self.database.fault(error) or RecordAway(f"the database did not take it: {words(error)}") from error
        self._landed(pending)

    def _enter(self, mirrors: list[StudyCache], whole: bool) -> bool:
        """Lock the studies, see that the campaign still owns its trials, read what others wrote; whether they did."""
        version = self.database.data_version()
        stale = [cache for cache in mirrors if version is None or cache.seen != version]
        for cache in stale:
            if self.database.run(self._sql.lock, (cache.study_id,)).first() is None:
                raise PilotuneError(f"the study {cache.name!r} is no longer in the database")
        changed = bool(stale) or self._others
        if changed:
            self._check_fence()
        for cache in stale:
            if whole:
                self._refresh(cache)
            else:
                read_new(self.database, cache, partial(self._new_id, cache))
        return changed

    def _check_fence(self) -> None:
        if self.fence is None:
            return
        text = self.database.run(self._sql.attribute, self.fence).scalar()
        if text is not None and json.loads(text).get("state") == "dead":
            raise LeaseLost(
                "another driver took this campaign for dead and goes on with its trials; "
                "this one ends without writing more"
            )

    def _guard(self, cache: StudyCache, limit: int | None, changed: bool) -> None:
        """Drop what must not be written, remember it for the result, and number the new trials for good."""
        staged = self._stage(cache.study_id)
        if changed:
            self._overtaken += let_others(self.database, cache, staged, limit)
        if limit is not None:
            refused = keep_budget(self.database, cache, staged, limit)
            for local in refused:
                if local not in cache.trials:
                    del self._home[local]
            self._refused += refused
        settle_numbers(cache, staged)

    # Exactly once

    def _count(self, pending: Pending) -> None:
        self._sql.write(self.database, "study_system", [(pending.study_id, self._ticker, str(pending.tick))])

    def _landed(self, pending: Pending) -> None:
        self._others = False
        if pending.written:
            self._tick = pending.tick
        for study_id, (_, new_ids) in pending.written.items():
            cache = self._mirrors[study_id]
            for local, db_id in new_ids.items():
                cache.know(local, db_id)
                cache.last_db_id = max(cache.last_db_id, db_id)

    def _put_back(self, taken: dict[int, Staged], before: Before | None = None) -> None:
        """Stage again what did not land, with what was staged since on top of it."""
        later = {study_id: self._staged.pop(study_id, Staged()) for study_id in taken}
        self._staged |= taken
        if before is not None:
            self._undo(before)
        for study_id, staged in later.items():
            for local in [local for local in staged.trials if local not in self._home]:
                staged.forget(local)
            self._stage(study_id).add(staged)

    def _undo(self, before: Before) -> None:
        """Forget what was staged inside ``locked``; the next ``sync`` reads what the database has instead."""
        cache, then = before.cache, before.staged
        now = self._staged.pop(cache.study_id, Staged())
        for local in now.new.keys() - then.new.keys():
            cache.drop(local)
            del self._home[local]
        kept = then.new.keys() & cache.trials.keys()
        self._staged[cache.study_id] = Staged(
            {local: None for local in then.new if local in kept},
            {local: changes for local, changes in then.trials.items() if local in now.trials},
            then.user,
            then.system,
        )
        cache.ours &= before.ours
        cache.seen = None

    def _settle(self) -> None:
        """Find out whether the commit whose answer was lost is in the database.

        Raises RecordAway while nobody can tell.
        """
        pending = self._pending
        if pending is None or self._inside:
            return
        # With the study locked, the lost transaction is over: it held the same lock until its end.
        with self.database.writing():
            self.database.run(self._sql.lock, (pending.study_id,))
            text = self.database.run(self._sql.attribute, (pending.study_id, self._ticker)).scalar()
        self._pending = None
        if text is not None and json.loads(text) >= pending.tick:
            self._landed(pending)
        else:
            self._put_back({i: staged for i, (staged, _) in pending.written.items()}, pending.before)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            fault = self.database.fault(error)
            if fault is None:
                raise
            if not self._inside:
                self.database.drop()
            raise fault from error

    def counted(self, study_id: int) -> int:
        """How many trials count for the study's budget: not those that wait, nor those learned from other studies."""
        with self._lock:
            return self._mirror(study_id).counted()

    def distributions(self, study_id: int) -> dict[str, BaseDistribution]:
        """The distribution that each parameter of the study had first; later ones must be compatible."""
        with self._lock:
            return dict(self._mirror(study_id).distributions)

    @property
    def single_driver(self) -> bool:
        """Whether the database takes one driver at a time."""
        return self.database.dialect == "sqlite"

    def clock(self) -> float:
        """Unix seconds by the database server's clock, which all drivers of a study share."""
        return self.database.clock()

    def unload(self, study_id: int) -> None:
        """Forget what is in memory of a study without staged changes; its trials' ids are void."""
        with self._lock:
            if not self._staged.get(study_id) and study_id not in self._inside and self._pending is None:
                self._staged.pop(study_id, None)
                self._discard(study_id)

    def _discard(self, study_id: int) -> None:
        cache = self._mirrors.pop(study_id, None)
        for local in cache.trials if cache is not None else ():
            del self._home[local]

    def adopt(self, trial_ids: Iterable[int]) -> None:
        """From now on this process runs these trials: ``sync`` no longer reads them again."""
        with self._lock:
            for local in trial_ids:
                self._home[local].ours.add(local)

    def forget_params(self, trial_id: int) -> None:
        """Take the parameters of a trial back that are not in the database yet, so that it can be sampled again."""
        with self._lock:
            cache = self._home[trial_id]
            staged = self._stage(cache.study_id)
            trial = cache.trials[trial_id]
            gone = set(trial.params) if trial_id in staged.new else set(staged.of(trial_id).params)
            self._replace(
                cache,
                trial,
                params={k: v for k, v in trial.params.items() if k not in gone},
                distributions={k: v for k, v in trial.distributions.items() if k not in gone},
            )
            staged.of(trial_id).params -= gone

    def _replace(self, cache: StudyCache, trial: FrozenTrial, **fields: Any) -> None:
        cache.put(replica(trial, **fields))

    def close(self) -> None:
        """Close the connection; the next use opens it again. Staged changes are not written."""
        with self._lock:
            self.database.drop()
