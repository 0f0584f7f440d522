"""Reads a study's trials as individuals, by what changed, and says which of them may be parents."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sortedcontainers import SortedDict, SortedList

from ...attributes import GENERATION, KEPT, LEARNED
from ...study_changes import Changes, StudyWatch, observed
from ..published import published

Key = frozenset[tuple[str, float]]
Rank = tuple[float, ...]
COMPLETE, PRUNED, INFEASIBLE = range(3)
"""First part of a rank: these kinds of trials come one after the other."""


@dataclass(slots=True)
class Individual:
    """One trial.

    Attributes:
        number: Of the trial.
        generation: Its generation.
        kept: Numbers of the trials that were bred without a change before it.
        params: Its parameters.
        rank: The less the better; None for a trial that cannot be a parent: it runs, failed, or reported nothing.
        ended: When it ended, as seconds since 1970, for the order of ages; None while it runs.
        key: What trials of the same configuration have in common.
    """

    number: int
    generation: int
    kept: tuple[int, ...]
    params: Mapping[str, Any]
    rank: Rank | None
    ended: float | None
    key: Key | None


class Individuals:
    """The trials of one study.

    A trial without a generation of its own (enqueued, copied, or of another program) is of the newest generation at
    the time when it was first seen; when a study is read anew, that is by its number.

    Args:
        keys: Whether to keep the configurations of all trials, for :meth:`tried`.

    Attributes:
        distributions: By parameter: the newest that was seen.
    """

    def __init__(self, keys: bool) -> None:
        self._watch, self._keys = StudyWatch(), keys
        self.distributions: dict[str, BaseDistribution] = {}
        self._clear()

    def _clear(self) -> None:
        self._by_id: dict[int, Individual] = {}
        self._by_number: dict[int, Individual] = {}
        self._ranked: Any = SortedList()  # (rank, number) of all possible parents
        self._ages: Any = SortedList()  # (end, number) of all that have ended
        self._generations: Any = SortedDict()  # by generation the set of the trials' ids
        self._tried: Counter[Key] = Counter()

    # -- changes ------------------------------------------------------------------------------------------------------

    def refresh(self, study: Study) -> None:
        """Read what changed in the study."""
        changes: Changes = self._watch.refresh(study)
        if changes.whole:
            self._clear()
        for gone in changes.gone:
            self._remove(gone)
        sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
        for trial in sorted(changes.trials, key=lambda trial: trial.number):
            if trial.state != TrialState.WAITING and not self._is_unchanged(trial):
                self._put(trial, sign)

    def _is_unchanged(self, trial: FrozenTrial) -> bool:
        """Whether the trial runs as before: most storages list all running trials with each change."""
        known = self._by_id.get(trial._trial_id)
        return (
            known is not None
            and known.ended is None
            and trial.state == TrialState.RUNNING
            and not observed(trial)
            and known.number == trial.number
            and GENERATION not in trial.system_attrs
            and not self._keys
        )

    def _put(self, trial: FrozenTrial, sign: float) -> None:
        known = self._by_id.get(trial._trial_id)
        self._remove(trial._trial_id)
        generation, kept = _lineage(trial)
        if generation is None:
            generation = self.newest if known is None else known.generation
        ended = None if trial.state == TrialState.RUNNING and not observed(trial) else _ended(trial)
        key = self._key(trial) if self._keys else None
        rank = _rank(trial, sign) if observed(trial) else None
        found = Individual(trial.number, generation, kept, trial.params, rank, ended, key)
        self._by_id[trial._trial_id] = self._by_number[trial.number] = found
        self._generations.setdefault(generation, set()).add(trial._trial_id)
        if key is not None:
            self._tried[key] += 1
        if rank is not None:
            self._ranked.add((rank, trial.number))
        if ended is not None:
            self._ages.add((ended, trial.number))
        self.distributions.update(trial.distributions)

    def _key(self, trial: FrozenTrial) -> Key:
        suggested = published(trial) if trial.state == TrialState.RUNNING else {}
        distributions = {**self.distributions, **trial.distributions}
        return key_of({**suggested, **trial.params}, distributions)

    def _remove(self, trial_id: int) -> None:
        found = self._by_id.pop(trial_id, None)
        if found is None:
            return
        if self._by_number.get(found.number) is found:  # else a trial that was renumbered has it now
            del self._by_number[found.number]
        ids = self._generations[found.generation]
        ids.discard(trial_id)
        if not ids:
            del self._generations[found.generation]
        if found.key is not None:
            self._tried[found.key] -= 1
        if found.rank is not None:
            self._ranked.remove((found.rank, found.number))
        if found.ended is not None:
            self._ages.remove((found.ended, found.number))

    # -- what is asked of them ----------------------------------------------------------------------------------------

    @property
    def newest(self) -> int:
        """The newest generation, of running trials too; 0 without any."""
        return int(self._generations.peekitem()[0]) if self._generations else 0

    @property
    def parents(self) -> int:
        """Number of the trials that may be parents."""
        return len(self._ranked)

    def tried(self, key: Key) -> bool:
        """Whether any trial has this configuration."""
        return self._tried[key] > 0

    def newest_but(self, trial_id: int) -> int:
        """The newest generation of the other trials."""
        for back in range(1, min(len(self._generations), 2) + 1):
            generation, ids = self._generations.peekitem(-back)
            if ids != {trial_id}:
                return int(generation)
        return 0

    def slots(self, generation: int, but: int = -1) -> int:
        """How many individuals a generation has, kept ones and failures included; all but the trial with id ``but``."""
        ids = self._generations.get(generation, ())
        return sum(1 + len(self._by_id[each].kept) for each in ids if each != but)

    def ended(self, generation: int, but: int = -1) -> int:
        """How many of these have ended."""
        members = (self._by_id[each] for each in self._generations.get(generation, ()) if each != but)
        return sum(1 + len(each.kept) for each in members if each.ended is not None)

    def best(self, count: int, before: int | None = None) -> list[Individual]:
        """The best possible parents, at most ``count``, best first.

        Args:
            before: Only those of earlier generations than this one.
        """
        found = (self._by_number[number] for _, number in self._ranked)
        return list(islice((each for each in found if before is None or each.generation < before), count))

    def youngest(self, count: int) -> list[Individual]:
        """The possible parents of the trials that ended last, kept ones included, at most ``count``, newest first."""
        return list(islice(self._entries(self._by_number[number] for _, number in reversed(self._ages)), count))

    def newest_parents(self, count: int, before: int) -> list[Individual]:
        """The best ``count`` possible parents of the generation before, kept ones included.

        Where all its trials failed, of the generation before that one, and so on.
        """
        for generation in self._generations.irange(maximum=before - 1, reverse=True):
            members = sorted((self._by_id[each] for each in self._generations[generation]), key=_number)
            if found := sorted(self._entries(iter(members)), key=lambda each: (each.rank or (), each.number)):
                return found[:count]
        return []

    def _entries(self, carriers: Iterator[Individual]) -> Iterator[Individual]:
        for carrier in carriers:
            if carrier.rank is not None:
                yield carrier
            for number in carrier.kept:
                kept = self._by_number.get(number)
                if kept is not None and kept.rank is not None:
                    yield kept


def _number(individual: Individual) -> int:
    return individual.number


def key_of(params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]) -> Key:
    """What two configurations have in common only if they are the same. Parameters without a distribution are left out.

    >>> from optuna.distributions import IntDistribution
    >>> key_of({"n": 2, "m": 1}, {"n": IntDistribution(1, 3)})
    frozenset({('n', 2.0)})
    """
    found = []
    for name, value in params.items():
        distribution = distributions.get(name)
        if distribution is None or distribution.single():
            continue
        try:
            found.append((name, float(distribution.to_internal_repr(value))))
        except (ValueError, TypeError):  # another process may have another space
            continue
    return frozenset(found)


def _lineage(trial: FrozenTrial) -> tuple[int | None, tuple[int, ...]]:
    """The generation that the trial was written with, None where it was not, and the trials kept with it."""
    attrs = trial.system_attrs
    generation, kept = attrs.get(GENERATION), attrs.get(KEPT)
    if type(generation) is not int or generation < 0 or LEARNED in trial.user_attrs:
        return None, ()
    return generation, tuple(number for number in kept if type(number) is int) if isinstance(kept, list) else ()


def _ended(trial: FrozenTrial) -> float:
    """When a trial ended; of one that is paused, when it began."""
    moment = trial.datetime_complete or trial.datetime_start
    return moment.timestamp() if moment is not None else 0.0


def _rank(trial: FrozenTrial, sign: float) -> Rank | None:
    """The rank of a trial that is complete, pruned or paused; the less the better.

    Complete trials come first, by value; then pruned ones by their last step, farthest first, and the value there; then
    those that violate a soft constraint, by how much. None for one that reported nothing, or NaN at last.
    """
    if any(key.startswith("constraints") for key in trial.system_attrs):
        violation = sum(value for value in trial.constraints.values() if value > 0)
        if violation > 0:
            return (INFEASIBLE, float(violation))
    if trial.state == TrialState.COMPLETE:
        value = float(trial.values[0])
        return None if math.isnan(value) else (COMPLETE, sign * value)
    if not trial.intermediate_values:
        return None
    step = max(trial.intermediate_values)
    value = float(trial.intermediate_values[step])
    return None if math.isnan(value) else (PRUNED, -float(step), sign * value)
