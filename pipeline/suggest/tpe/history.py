"""Keeps a study's trials as arrays by trial number, updates them with what changed, and splits them for TPE.

Every change gets a number in a log. Mixtures and histograms remember the number up to which they have read, and ask
for the trials that changed since (``changed_since``); so a suggestion costs what changed, not what the study holds.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ...study_changes import Changes, observed
from ..published import published
from ..search_space import IntersectionSpace, ParameterGroups
from .pareto import best_by_hypervolume
from .top_k import Key, TopK

NONE, RUNNING, COMPLETE, PRUNED, INFEASIBLE = range(5)
"""States of a trial number: NONE: no trial, or one that does not count (failed, waiting). INFEASIBLE: finished, but
violates a constraint."""


class RunningSnapshot:
    """What a running trial looked like when it was last read.

    Attributes:
        names: The parameters that it counts with, asked for or only suggested.
    """

    __slots__ = ("attrs", "names", "number", "params", "sizes")

    def __init__(self, trial: FrozenTrial, names: frozenset[str]):
        self.number, self.params, self.attrs, self.names = trial.number, trial.params, trial.system_attrs, names
        # Optuna's in-memory storage adds to these dictionaries in place, so that only their sizes show a change.
        self.sizes = len(trial.params), len(trial.system_attrs)

    def same(self, trial: FrozenTrial) -> bool:
        """Whether the trial still looks like this."""
        params, attrs = trial.params, trial.system_attrs
        return (
            self.number == trial.number
            and self.sizes == (len(params), len(attrs))
            and (self.params is params or self.params == params)
            and (self.attrs is attrs or self.attrs == attrs)
        )


class History:
    """The trials of one study as arrays.

    Args:
        directions: Of the study.
        running: Include running trials (the constant liar).
        relative: Include all values that were suggested to a running trial, not only those it has asked for.

    Attributes:
        size: One more than the largest trial number.
        state: By trial number: NONE, RUNNING, COMPLETE, PRUNED or INFEASIBLE.
        below: By trial number: whether it is below the split, that is one of the best; see ``split_below``.
        columns: By parameter: internal values by trial number (choices as indices); NaN where a trial has none.
        distributions: By parameter: the first that was seen.
        finished: The number of complete, pruned and infeasible trials.
        intersection: The parameters that all finished trials have.
        groups: The parameters in groups that occur together.
        generation: Grows when the history is read anew, and all that was derived from it is void.
        below_version: Grows when the trials below the split or their values change.
        log: The numbers of the trials that changed, in order; its first entry is change number ``log_start``.
    """

    def __init__(self, directions: Sequence[StudyDirection], *, running: bool, relative: bool):
        self._signs = np.array([-1.0 if d == StudyDirection.MAXIMIZE else 1.0 for d in directions])
        self._running, self._relative = running, relative
        self.intersection, self.groups = IntersectionSpace(), ParameterGroups()
        self.distributions: dict[str, BaseDistribution] = {}
        self._clear()

    def _clear(self) -> None:
        self.size = 0
        self.state = np.zeros(64, dtype=np.int8)
        self.below = np.zeros(64, dtype=bool)
        self._owner = np.full(64, -1, dtype=np.int64)
        self._keys = np.zeros((64, 2))
        self._losses = np.zeros((64, len(self._signs)))
        self.columns: dict[str, np.ndarray] = {}
        self.finished = 0
        self.log: list[int] = []
        self.log_start = 0
        self._number_of: dict[int, int] = {}
        self._snapshots: dict[int, RunningSnapshot] = {}
        # Running trials with suggested parameters whose distributions no trial has shown yet, by trial id.
        self._unresolved: dict[int, FrozenTrial] = {}
        self._best = {state: TopK(functools.partial(self._select, state)) for state in (COMPLETE, PRUNED, INFEASIBLE)}
        self._below_numbers: list[int] = []
        self.below_version = 0
        self._best_cache: tuple[int, int, list[int]] | None = None
        self._losses_version = 0
        self.generation = getattr(self, "generation", 0) + 1

    @property
    def change_count(self) -> int:
        """The number of changes so far, which ``changed_since`` takes."""
        return self.log_start + len(self.log)

    def changed_since(self, since: int) -> list[int] | None:
        """The numbers of the trials that changed after change number ``since``; None where the log begins later."""
        if since < self.log_start:
            return None
        return self.log[since - self.log_start :]

    def _log_change(self, number: int) -> None:
        if len(self.log) > 4096 + self.size:
            cut = len(self.log) // 2
            del self.log[:cut]
            self.log_start += cut
        self.log.append(number)
        if self.below[number]:
            self.below_version += 1

    # -- changes ------------------------------------------------------------------------------------------------

    def apply(self, changes: Changes) -> None:
        """Bring the arrays up to date with what changed in the study."""
        if changes.whole:
            self._clear()
        for gone in changes.gone:
            self._remove(gone)
        trials = [trial for trial in changes.trials if not self._is_unchanged(trial)]
        trials.sort(key=lambda trial: trial.number)
        # Trials that were renumbered leave their old rows first: two may have swapped numbers.
        for trial in trials:
            place = self._number_of.get(trial._trial_id)
            if place is not None and place != trial.number:
                self._remove(trial._trial_id)
        names = len(self.distributions)
        for trial in trials:
            if trial.state != TrialState.RUNNING or observed(trial):
                self._add_observed(trial)
        for trial in trials:
            if self._running and trial.state == TrialState.RUNNING and not observed(trial):
                self._add_running(trial)
        if len(self.distributions) > names:
            for trial in list(self._unresolved.values()):
                self._snapshots[trial._trial_id].number = -1
                self._add_running(trial)

    def _is_unchanged(self, trial: FrozenTrial) -> bool:
        """Whether the trial runs and looks as before: most storages list all running trials with each change."""
        known = self._snapshots.get(trial._trial_id)
        return known is not None and known.same(trial) and trial.state == TrialState.RUNNING and not observed(trial)

    def _add_observed(self, trial: FrozenTrial) -> None:
        self._unresolved.pop(trial._trial_id, None)
        if not observed(trial):
            self._remove(trial._trial_id)
            return
        self.intersection.add(trial.distributions)
        self.groups.add(trial.distributions)
        number = self._claim_row(trial)
        self._store_values(number, trial, {})
        self._snapshots.pop(trial._trial_id, None)
        state, key = self._rank_key(trial)
        self.state[number] = state
        self._keys[number] = key
        self.finished += 1
        if state == COMPLETE:
            self._losses[number] = np.multiply(trial.values, self._signs)
            self._losses_version += 1
        self._best[state].add((*key, number))

    def _add_running(self, trial: FrozenTrial) -> None:
        number = self._claim_row(trial)
        self.state[number] = RUNNING
        suggested = self._suggested(trial) if self._relative else {}
        names = self._store_values(number, trial, suggested)
        self._snapshots[trial._trial_id] = RunningSnapshot(trial, names)

    def _suggested(self, trial: FrozenTrial) -> dict[str, Any]:
        found = published(trial)
        if not found:
            return {}
        self._unresolved.pop(trial._trial_id, None)
        if any(name not in self.distributions for name in found):
            self._unresolved[trial._trial_id] = trial
        return {name: value for name, value in found.items() if name in self.distributions}

    def _rank_key(self, trial: FrozenTrial) -> tuple[int, tuple[float, float]]:
        """A finished trial's state, and its rank among those of that state.

        As in Optuna: complete trials by value; pruned ones by the last step, farthest first, then by the value there;
        infeasible ones by the sum of their violations.
        """
        attrs = trial.system_attrs
        if attrs and any(key.startswith("constraints") for key in attrs):
            violation = sum(value for value in trial.constraints.values() if value > 0)
            if violation > 0:
                return INFEASIBLE, (float(violation), 0.0)
        if trial.state == TrialState.COMPLETE:
            loss = float(trial.values[0] * self._signs[0])
            return COMPLETE, (math.inf if math.isnan(loss) else loss, 0.0)
        if not trial.intermediate_values:
            return PRUNED, (1.0, 0.0)
        step = max(trial.intermediate_values)
        value = trial.intermediate_values[step]
        return PRUNED, (-float(step), math.inf if math.isnan(value) else float(value * self._signs[0]))

    # -- rows ---------------------------------------------------------------------------------------------------------

    def _claim_row(self, trial: FrozenTrial) -> int:
        """Give the row of the trial's number to the trial, cleared of any other trial. Returns the number."""
        number = trial.number
        self._grow(number + 1)
        self._unrank(number)
        if self._owner[number] != trial._trial_id:
            self._clear_values(number)
            self._owner[number] = trial._trial_id
            self._number_of[trial._trial_id] = number
        elif trial._trial_id not in self._snapshots:  # it was finished when last read, so any value may differ
            self._clear_values(number)
        self._log_change(number)
        return number

    def _unrank(self, number: int) -> None:
        state = int(self.state[number])
        if state >= COMPLETE:
            self._best[state].remove((*self._keys[number].tolist(), number))
            self.finished -= 1
            self._losses_version += state == COMPLETE
        self.state[number] = NONE

    def _remove(self, trial_id: int) -> None:
        self._snapshots.pop(trial_id, None)
        self._unresolved.pop(trial_id, None)
        number = self._number_of.pop(trial_id, None)
        if number is not None and self._owner[number] == trial_id:
            self._unrank(number)
            self._clear_values(number)
            self._owner[number] = -1
            self._log_change(number)

    def _clear_values(self, number: int) -> None:
        if self._owner[number] >= 0:
            for column in self.columns.values():
                column[number] = math.nan

    def _store_values(self, number: int, trial: FrozenTrial, suggested: Mapping[str, Any]) -> frozenset[str]:
        names = set()
        distributions = trial.distributions
        for name, value in trial.params.items():
            self._put(number, name, value, distributions[name])
            names.add(name)
        for name, value in suggested.items():
            if name not in names:
                try:
                    self._put(number, name, value, self.distributions[name])
                except (ValueError, TypeError):  # another process may have another space
                    continue
                names.add(name)
        known = self._snapshots.get(trial._trial_id)
        if known is not None:
            for name in known.names - names:
                self.columns[name][number] = math.nan
        return frozenset(names)

    def _put(self, number: int, name: str, value: Any, distribution: BaseDistribution) -> None:
        internal = distribution.to_internal_repr(value)
        column = self.columns.get(name)
        if column is None:
            column = self.columns[name] = np.full(len(self.state), math.nan)
            self.distributions[name] = distribution
        column[number] = internal

    def _grow(self, size: int) -> None:
        self.size = max(self.size, size)
        if size <= len(self.state):
            return
        more = max(size, 2 * len(self.state)) - len(self.state)
        self.state = np.concatenate([self.state, np.zeros(more, dtype=np.int8)])
        self.below = np.concatenate([self.below, np.zeros(more, dtype=bool)])
        self._owner = np.concatenate([self._owner, np.full(more, -1, dtype=np.int64)])
        self._keys = np.concatenate([self._keys, np.zeros((more, 2))])
        self._losses = np.concatenate([self._losses, np.zeros((more, len(self._signs)))])
        for name, column in self.columns.items():
            self.columns[name] = np.concatenate([column, np.full(more, math.nan)])

    # -- the split -----------------------------------------------------------------------------------------------------

    def split_below(self, count: int) -> list[int]:
        """Put the ``count`` best finished trials below the split; returns their numbers, ascending.

        Complete trials come first, by value; where there are too few, pruned ones and then infeasible ones.
        """
        return self._mark_below(self._best_complete(count), count)

    def _mark_below(self, best: list[int], count: int) -> list[int]:
        """Put ``best`` below the split, filled up to ``count`` with pruned and infeasible trials."""
        for state in (PRUNED, INFEASIBLE):
            best = best + self._best[state].first(max(0, count - len(best)))
        best = sorted(best)
        if best != self._below_numbers:
            for number in set(best).symmetric_difference(self._below_numbers):
                self._log_change(number)
            self.below[self._below_numbers] = False
            self.below[best] = True
            self._below_numbers = best
            self.below_version += 1
        return best

    def _best_complete(self, count: int) -> list[int]:
        if len(self._signs) == 1:
            return self._best[COMPLETE].first(count)
        if self._best_cache is None or self._best_cache[:2] != (self._losses_version, count):
            numbers = np.flatnonzero(self.state[: self.size] == COMPLETE)
            chosen = numbers[best_by_hypervolume(self._losses[numbers], count)]
            self._best_cache = (self._losses_version, count, chosen.tolist())
        return self._best_cache[2]

    def _select(self, state: int, count: int) -> list[Key]:
        numbers = np.flatnonzero(self.state[: self.size] == state)
        keys = self._keys[numbers]
        order = np.lexsort((numbers, keys[:, 1], keys[:, 0]))[:count]
        return [(*keys[i].tolist(), int(numbers[i])) for i in order]

    @contextlib.contextmanager
    def excluding(self, number: int) -> Iterator[None]:
        """While in this context, the running trial ``number`` does not count: values are being suggested to it."""
        if number >= self.size or self.state[number] != RUNNING:
            yield
            return
        self.state[number] = NONE
        self._log_change(number)
        try:
            yield
        finally:
            self.state[number] = RUNNING
            self._log_change(number)

    # -- values ---------------------------------------------------------------------------------------------------

    def rows(self, names: Iterable[str], numbers: np.ndarray | Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Values of several parameters.

        Returns:
            The internal values (trials x parameters) of those of the trials ``numbers`` that have all parameters
            ``names``, and the numbers of these trials.
        """
        numbers = np.asarray(numbers, dtype=np.int64)
        columns = [self.columns.get(name) for name in names]
        if any(column is None for column in columns):
            return np.empty((0, len(columns))), numbers[:0]
        values = np.stack([column[numbers] for column in columns if column is not None], axis=1)
        whole = ~np.isnan(values).any(axis=1)
        return (values, numbers) if whole.all() else (values[whole], numbers[whole])
