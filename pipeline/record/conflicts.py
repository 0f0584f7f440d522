"""Drops staged changes that must not be written: to trials that other drivers started or finished first, and new
trials beyond the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import TrialState

from .database import Database
from .staged import Staged
from .study_cache import StudyCache
from .sync import find_changed_states, read_again, read_states


@dataclass(frozen=True)
class CommitResult:
    """The trials whose staged changes a commit did not write.

    Attributes:
        refused: Local ids of trials that were not started because the study's budget is used up, or because another
            process has started the same configuration of an exhaustive sampler. New trials are removed from memory;
            trials that were WAITING in the database are WAITING again.
        overtaken: Local ids of trials that another process started or finished first. Their staged changes are
            dropped, and their copies in memory are read again from the database.
    """

    refused: tuple[int, ...] = ()
    overtaken: tuple[int, ...] = ()


def drop_overtaken(database: Database, cache: StudyCache, staged: Staged, limit: int | None) -> list[int]:
    """Drop staged changes to trials that other processes started or finished first; returns their local ids."""
    touched = {local: changes for local, changes in staged.trials.items() if local in cache.db_ids}
    states = read_states(database, [cache.db_ids[local] for local in touched]) if touched else {}
    reread: set[int] = set()
    if limit is not None and len(cache.trials) - cache.learned > limit:
        # The budget is nearly used up, so it matters how many waiting trials others have started: those count.
        waiting = [t._trial_id for t in cache.in_states((TrialState.WAITING,)) if t._trial_id in cache.db_ids]
        reread = find_changed_states(database, cache, [local for local in waiting if local not in touched])
    overtaken = []
    for local, changes in touched.items():
        state = states.get(cache.db_ids[local])
        if state is None or state.is_finished() or (changes.claim and state != TrialState.WAITING):
            staged.forget(local)
            cache.ours.discard(local)
            overtaken.append(local)
    read_again(database, cache, [*reread, *overtaken])
    return overtaken


def enforce_budget(database: Database, cache: StudyCache, staged: Staged, limit: int) -> list[int]:
    """Drop the starts that would bring the study above ``limit`` counted trials; returns their local ids.

    The latest starts are dropped first.
    """
    claims = [local for local, changes in staged.trials.items() if changes.claim and local not in staged.new]
    starts = [*claims, *(local for local in staged.new if cache.trials[local].state == TrialState.RUNNING)]
    refused = starts[max(0, limit - (cache.counted() - len(starts))) :]
    drop_starts(database, cache, staged, refused)
    return refused


def drop_starts(database: Database, cache: StudyCache, staged: Staged, refused: Sequence[int]) -> None:
    """Drop these starts: new trials vanish from memory, those that were WAITING in the database are so again."""
    for local in refused:
        if local in staged.new:
            cache.drop(local)
        cache.ours.discard(local)
        staged.forget(local)
    read_again(database, cache, [local for local in refused if local in cache.db_ids])


def first_number(cache: StudyCache, staged: Staged) -> int:
    """The number that the first new trial is to have. Asked before any of them is dropped."""
    return min((cache.trials[local].number for local in staged.new), default=0)


def assign_numbers(cache: StudyCache, staged: Staged, first: int) -> None:
    """Give the new trials their final numbers: consecutive from ``first``, in the order of their creation."""
    for offset, local in enumerate(staged.new):
        cache.renumber(local, first + offset)
