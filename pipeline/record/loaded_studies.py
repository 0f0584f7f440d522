"""Holds the studies in memory: each study's cache and staged changes, and which study a trial id belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from optuna.trial import FrozenTrial

from .staged import Before, Pending, Staged
from .study_cache import StudyCache, replica


class LoadedStudies:
    """The studies that one storage has in memory. Never reads or writes the database.

    Trial ids are local: they are numbered in the order in which this process first saw the trials, so that a trial
    has an id before the database gives it one.

    Attributes:
        caches: Study id -> the study's cache.
        staged: Study id -> its changes that are not committed yet; a study without changes may be missing.
        cache_of: Local trial id -> the cache that holds the trial. Has exactly the trials of all ``caches``.
    """

    def __init__(self) -> None:
        self.caches: dict[int, StudyCache] = {}
        self.staged: dict[int, Staged] = {}
        self.cache_of: dict[int, StudyCache] = {}
        self._last_id = -1

    def new_id(self, cache: StudyCache) -> int:
        """A new local id for a trial of the study; ids are never used twice."""
        self._last_id += 1
        self.cache_of[self._last_id] = cache
        return self._last_id

    def stage(self, study_id: int) -> Staged:
        """The study's staged changes, for the caller to add to."""
        staged = self.staged.get(study_id)
        if staged is None:
            staged = self.staged[study_id] = Staged()
        return staged

    def replace(self, cache: StudyCache, trial: FrozenTrial, **fields: Any) -> None:
        """Replace the trial by a copy with these ``fields`` changed."""
        cache.put(replica(trial, **fields))

    def forget_trials(self, local_ids: Iterable[int]) -> None:
        """Remove these trial ids; they are never used again."""
        for local in local_ids:
            del self.cache_of[local]

    def discard(self, study_id: int) -> None:
        """Remove a study from memory, with its trials' ids and staged changes."""
        self.staged.pop(study_id, None)
        cache = self.caches.pop(study_id, None)
        self.forget_trials(cache.trials if cache is not None else ())

    def committed(self, pending: Pending) -> None:
        """Record that a commit is in the database, and which ids its new trials have there."""
        for study_id, (_, new_ids) in pending.written.items():
            cache = self.caches[study_id]
            for local, db_id in new_ids.items():
                cache.set_db_id(local, db_id)
                cache.last_db_id = max(cache.last_db_id, db_id)

    def put_back(self, taken: dict[int, Staged], before: Before | None = None) -> None:
        """Stage the changes of a failed commit again, and on top of them those that were staged since.

        Args:
            taken: Study id -> the changes that the failed commit took.
            before: What was staged when ``locked`` began: only this stays staged. None outside ``locked``.
        """
        later = {study_id: self.staged.pop(study_id, Staged()) for study_id in taken}
        self.staged |= taken
        if before is not None:
            self._undo(before)
        for study_id, staged in later.items():
            for local in [local for local in staged.trials if local not in self.cache_of]:
                staged.forget(local)
            self.stage(study_id).add(staged)

    def _undo(self, before: Before) -> None:
        """Drop what was staged inside ``locked``; the next ``sync`` restores the trials from the database."""
        cache, then = before.cache, before.staged
        now = self.staged.pop(cache.study_id, Staged())
        for local in now.new.keys() - then.new.keys():
            cache.drop(local)
            del self.cache_of[local]
        kept = then.new.keys() & cache.trials.keys()
        self.staged[cache.study_id] = Staged(
            {local: None for local in then.new if local in kept},
            {local: changes for local, changes in then.trials.items() if local in now.trials},
            then.user,
            then.system,
        )
        cache.ours &= before.ours
        cache.seen_version = None
