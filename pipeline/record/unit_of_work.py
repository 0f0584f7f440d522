"""Commits staged changes: one transaction each, within the budget, exactly once even when the answer is lost.

Exactly once: every commit also writes a counter of this object (the study system attribute ``TICK`` and a random id).
When the connection breaks at COMMIT, nobody knows whether the database took it. Then the next use locks the study,
which waits for the lost transaction to end, and reads the counter: it shows whether the changes have to be written
again.
"""

from __future__ import annotations

import contextlib
import copy
import json
import threading
import uuid
from collections.abc import Callable, Collection, Iterator
from functools import partial

from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from ...errors import PilotuneError, RecordAway
from ..attributes import TICK
from .conflicts import CommitResult, assign_numbers, drop_overtaken, drop_starts, enforce_budget, first_number
from .database import Database
from .db_errors import words
from .loaded_studies import LoadedStudies
from .staged import Before, Pending, Staged, write_study
from .statements import statements
from .study_cache import StudyCache
from .sync import read_attributes, read_new, read_study, refresh


class LeaseLost(PilotuneError):
    """Another driver declared this campaign dead and took over its trials; this one writes nothing more."""


FULL_RESCAN = 60
"""Every 60th ``sync`` that reads anything reads the unfinished trials of others whole, since the other reads miss
two rare cases (see ``sync.py``). A whole read fetches every row of those trials, so it must be rare."""


class UnitOfWork:
    """Keeps studies in memory in step with the database, and writes staged changes in transactions.

    ``RecordStorage`` has one and stages what Optuna changes; the driver calls ``commit`` once a tick and ``sync`` every
    few seconds. All methods may raise RecordAway while the database cannot be reached; nothing staged is lost by that,
    and the next call tries again. Safe to use from several threads.

    Args:
        database: Connected, with Optuna's tables.
        autocommit: Whether the owner commits after every write. Then others may build on what they overwrite, so each
            ``sync`` reads all that they may have changed.

    Attributes:
        studies: The studies in memory.
        fence: Study id and attribute key of the campaign's lease. A commit raises LeaseLost once another driver has
            set that lease's state to ``dead``. None: no check.
        repeated: Called in a commit that finds changes of others, with the local ids of the new trials that would
            start: which of them must not, since others took their configurations meanwhile. None: no check.
        lock: Held by every method, and by the owner around its changes of ``studies``.

    Example:
        >>> import optuna, tempfile
        >>> from pilotune.pipeline.record import open_storage
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     storage = open_storage(f"sqlite:///{folder}/study.db")
        ...     study = optuna.create_study(storage=storage, study_name="s")
        ...     trials = [study.ask() for _ in range(3)]
        ...     result = storage.unit_of_work.commit(limit=2)
        ...     storage.close()
        >>> result.refused == (trials[2]._trial_id,)  # the budget allows two
        True
    """

    def __init__(self, database: Database, *, autocommit: bool):
        self.database, self.autocommit = database, autocommit
        self.studies = LoadedStudies()
        self.fence: tuple[int, str] | None = None
        self.repeated: Callable[[Collection[int]], Collection[int]] | None = None
        self.lock = threading.RLock()
        self._sql = statements(database.dialect)
        self._tick, self._ticker = 0, f"{TICK}{uuid.uuid4().hex}"
        self._pending: Pending | None = None  # a commit of which nobody knows yet whether it landed
        self._others_wrote = False  # since a commit last checked the fence and for conflicts
        self._inside: set[int] = set()  # the studies of the transaction in progress
        self._refused: list[int] = []  # for the next CommitResult, as _overtaken
        self._overtaken: list[int] = []

    @property
    def in_transaction(self) -> bool:
        """Whether a commit or ``locked`` is in progress."""
        return bool(self._inside)

    # -- reading ------------------------------------------------------------------------------------------------------

    def load(self, study_id: int) -> StudyCache:
        """The study's cache, read from the database at its first use. Raises KeyError when there is no such study."""
        cache = self.studies.caches.get(study_id)
        if cache is None:
            with contextlib.nullcontext() if self._inside else self.database.reading():
                cache = read_study(self.database, study_id)
                self._read_changes(cache)
            self.studies.caches[study_id] = cache
        return cache

    def sync(self, study_id: int | None = None) -> bool:
        """Read what other processes changed; staged changes stay.

        On SQLite this costs one PRAGMA when nobody else wrote.

        Args:
            study_id: Default: all studies that are loaded.

        Returns:
            Whether anything was read.
        """
        with self.lock:
            self.settle()
            caches = list(self.studies.caches.values()) if study_id is None else [self.load(study_id)]
            return sum(self._sync(cache) for cache in caches) > 0

    def _sync(self, cache: StudyCache) -> bool:
        if self._inside:
            return False
        with self.translated():
            version = self.database.data_version()
        if version is not None and version == cache.seen_version:
            return False
        self._others_wrote = True
        with self.database.reading():
            self._read_changes(cache, whole=self.autocommit or cache.syncs % FULL_RESCAN == FULL_RESCAN - 1)
        return True

    def _read_changes(self, cache: StudyCache, *, whole: bool = True) -> None:
        """Read changes inside a transaction; ``whole``: all that others may have changed, else only what is new."""
        # The version is taken first, so that what changes after it is read the next time.
        version = self.database.data_version()
        staged = self.studies.staged.get(cache.study_id, Staged())
        unfinished = cache.in_states((TrialState.RUNNING, TrialState.WAITING))
        theirs = [
            i
            for i in (t._trial_id for t in unfinished)
            if i not in cache.ours and i in cache.db_ids and i not in staged.trials
        ]
        refresh(self.database, cache, theirs, partial(self.studies.new_id, cache), whole=whole)
        cache.syncs = 0 if whole else cache.syncs + 1
        user, system = read_attributes(self.database, cache.study_id, cache.attribute_texts)
        cache.user_attrs = user | {key: cache.user_attrs[key] for key in staged.user}
        cache.system_attrs = system | {key: cache.system_attrs[key] for key in staged.system}
        cache.seen_version = version

    # -- writing ------------------------------------------------------------------------------------------------------

    def commit(self, limit: int | None = None) -> CommitResult:
        """Write all staged changes in one transaction; without any, nothing is sent.

        Args:
            limit: The most trials that the study may hold (as ``RecordStorage.counted`` counts them). Trials that
                would start beyond it are refused. None: no limit.

        Returns:
            The trials that were refused, and those that another process started or finished first.

        Raises:
            RecordAway: The database did not accept the changes. They stay staged, and the next commit writes them; it
                finds out first whether this one landed after all, so nothing is written twice.
            LeaseLost: Another driver took over this campaign's trials.
        """
        with self.lock:
            self.settle()
            if not self._inside:
                ids = sorted(study_id for study_id, staged in self.studies.staged.items() if staged)
                if ids:
                    with self._transaction(ids, limit):
                        pass
            result = CommitResult(tuple(self._refused), tuple(self._overtaken))
            self._refused, self._overtaken = [], []
            return result

    @contextlib.contextmanager
    def locked(self, study_id: int, limit: int | None = None) -> Iterator[None]:
        """One transaction around the caller's reads and staged changes; no other driver writes to the study meanwhile.

        On entry the cache is brought up to date; at the end everything staged for the study is committed. All or
        nothing: after an exception, what the caller staged inside is gone from memory too. (When the database became
        unreachable at the very end, the changes may have landed; the next use finds out.) What the commit refused is in
        the next ``commit``'s result. Nested use joins the outer transaction. Keep it short, since other drivers wait.

        Args:
            study_id: The study to lock.
            limit: As for ``commit``.

        Raises:
            RecordAway: The database did not accept the changes.
            LeaseLost: Another driver took over this campaign's trials.
            ValueError: Inside another study's ``locked``.
        """
        with self.lock:
            if self._inside:
                if study_id not in self._inside:
                    raise ValueError("a second study cannot be locked inside the first one's transaction")
                yield
                return
            self.settle()
            cache = self.load(study_id)
            staged = copy.deepcopy(self.studies.staged.get(study_id, Staged()))
            with self._transaction([study_id], limit, Before(cache, staged, frozenset(cache.ours))):
                yield

    @contextlib.contextmanager
    def _transaction(self, study_ids: list[int], limit: int | None, before: Before | None = None) -> Iterator[None]:
        caches = [self.load(study_id) for study_id in study_ids]
        taken: dict[int, Staged] = {}
        pending = Pending(study_ids[0], self._tick + 1, before=before)
        try:
            self.database.begin(write=True)
            changed = self._enter(caches, before is not None)
            self._inside = set(study_ids)
            try:
                yield
            finally:
                self._inside = set()
            for cache in caches:
                self._resolve_conflicts(cache, limit, changed)
                taken[cache.study_id] = staged = self.studies.staged.pop(cache.study_id, Staged())
                if staged:
                    pending.written[cache.study_id] = staged, write_study(self.database, cache, staged)
            if pending.written:
                self._sql.write(self.database, "study_system", [(pending.study_id, self._ticker, str(pending.tick))])
        except BaseException as error:
            fault = self.database.fault(error)
            if fault is None:
                self.database.rollback()
            else:
                self.database.drop()
            self.studies.put_back(taken, before)
            if fault is None:
                raise
            raise fault from error
        try:
            self.database.commit()
        except SQLAlchemyError as error:
            self.database.drop()
            self._pending = pending if pending.written else None
            away = self.database.fault(error) or RecordAway(f"the database did not accept the changes: {words(error)}")
            raise away from error
        self._landed(pending)

    def _enter(self, caches: list[StudyCache], whole: bool) -> bool:
        """Lock the studies, check the fence, and read what others wrote; returns whether they wrote anything."""
        version = self.database.data_version()
        stale = [cache for cache in caches if version is None or cache.seen_version != version]
        for cache in stale:
            if self.database.run(self._sql.lock, (cache.study_id,)).first() is None:
                raise PilotuneError(f"the study {cache.name!r} is no longer in the database")
        changed = bool(stale) or self._others_wrote
        if changed:
            self._check_fence()
        for cache in stale:
            if whole:
                self._read_changes(cache)
            else:
                read_new(self.database, cache, partial(self.studies.new_id, cache))
        return changed

    def _check_fence(self) -> None:
        if self.fence is None:
            return
        text = self.database.run(self._sql.attribute, self.fence).scalar()
        if text is not None and json.loads(text).get("state") == "dead":
            raise LeaseLost(
                "another driver declared this campaign dead and continues its trials; "
                "this driver ends without writing more"
            )

    def _resolve_conflicts(self, cache: StudyCache, limit: int | None, changed: bool) -> None:
        """Drop what must not be written, note it for the result, and give the new trials their final numbers."""
        staged = self.studies.stage(cache.study_id)
        if changed:
            self._overtaken += drop_overtaken(self.database, cache, staged, limit)
        refused: list[int] = []
        first = first_number(cache, staged)
        if changed and self.repeated is not None:
            new = [local for local in staged.new if cache.trials[local].state == TrialState.RUNNING]
            refused += self.repeated(new) if new else ()
            drop_starts(self.database, cache, staged, refused)
        if limit is not None:
            refused += enforce_budget(self.database, cache, staged, limit)
        self.studies.forget_trials(local for local in refused if local not in cache.trials)
        self._refused += refused
        assign_numbers(cache, staged, first)

    # -- exactly once -------------------------------------------------------------------------------------------------

    def _landed(self, pending: Pending) -> None:
        self._others_wrote = False
        if pending.written:
            self._tick = pending.tick
        self.studies.committed(pending)

    def settle(self) -> None:
        """Find out whether the commit whose answer was lost is in the database; does nothing when there is none."""
        pending = self._pending
        if pending is None or self._inside:
            return
        # The lost transaction held the same lock until its end, so it is over once the study is locked here.
        with self.database.writing():
            self.database.run(self._sql.lock, (pending.study_id,))
            text = self.database.run(self._sql.attribute, (pending.study_id, self._ticker)).scalar()
        self._pending = None
        if text is not None and json.loads(text) >= pending.tick:
            self._landed(pending)
        else:
            self.studies.put_back({i: staged for i, (staged, _) in pending.written.items()}, pending.before)

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Raise the database's faults as RecordAway, around statements outside a transaction of their own."""
        try:
            yield
        except SQLAlchemyError as error:
            fault = self.database.fault(error)
            if fault is None:
                raise
            if not self._inside:
                self.database.drop()
            raise fault from error

    # -- memory -------------------------------------------------------------------------------------------------------

    def unload(self, study_id: int) -> None:
        """Forget a study that has no staged changes, to free its memory; its trials' ids are void afterwards."""
        with self.lock:
            if not self.studies.staged.get(study_id) and study_id not in self._inside and self._pending is None:
                self.studies.discard(study_id)

    def close(self) -> None:
        """Close the connection; the next use opens it again. Staged changes stay staged and are not written."""
        with self.lock:
            self.database.drop()
