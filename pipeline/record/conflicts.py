"""Drops what a commit must not write: trials that others started or finished first, and starts beyond the budget."""

from __future__ import annotations

from dataclasses import dataclass

from optuna.trial import TrialState

from .database import Database
from .staged import Staged
from .study_cache import StudyCache
from .sync import read_again, read_left, read_states


@dataclass(frozen=True)
class CommitResult:
    """What a commit did not write.

    Attributes:
        refused: Local ids of trials that were to start here but did not, since the study has as many trials as its
            budget allows. New trials are gone from memory; those that waited in the database wait again.
        overtaken: Local ids of trials that another process started or finished first. What was staged for them is
            dropped, and memory holds what the database holds.
    """

    refused: tuple[int, ...] = ()
    overtaken: tuple[int, ...] = ()


def let_others(database: Database, cache: StudyCache, staged: Staged, limit: int | None) -> list[int]:
    """Drop what is staged for trials that others started or finished first; returns their local ids."""
    touched = {local: changes for local, changes in staged.trials.items() if local in cache.db_ids}
    states = read_states(database, [cache.db_ids[local] for local in touched]) if touched else {}
    again: set[int] = set()
    if limit is not None and len(cache.trials) - cache.learned > limit:
        # Waiting trials count for the budget as soon as others start them.
        waiting = [t._trial_id for t in cache.in_states((TrialState.WAITING,)) if t._trial_id in cache.db_ids]
        again = read_left(database, cache, [local for local in waiting if local not in touched])
    overtaken = []
    for local, changes in touched.items():
        state = states.get(cache.db_ids[local])
        if state is None or state.is_finished() or (changes.claim and state != TrialState.WAITING):
            staged.forget(local)
            cache.ours.discard(local)
            overtaken.append(local)
    read_again(database, cache, [*again, *overtaken])
    return overtaken


def keep_budget(database: Database, cache: StudyCache, staged: Staged, limit: int) -> list[int]:
    """Drop starts beyond ``limit`` counted trials, the latest first; returns their local ids."""
    claims = [local for local, changes in staged.trials.items() if changes.claim and local not in staged.new]
    starts = [*claims, *(local for local in staged.new if cache.trials[local].state == TrialState.RUNNING)]
    refused = starts[max(0, limit - (cache.counted() - len(starts))) :]
    for local in refused:
        if local in staged.new:
            cache.drop(local)
        cache.ours.discard(local)
        staged.forget(local)
    read_again(database, cache, [local for local in refused if local in cache.db_ids])
    return refused


def settle_numbers(cache: StudyCache, staged: Staged) -> None:
    """Give the new trials their final numbers, without gaps."""
    if staged.new:
        first = min(cache.trials[local].number for local in staged.new)
        for place, local in enumerate(staged.new):
            cache.renumber(local, first + place)
