"""A study's trials as arrays, by trial number: what the model needs of them, kept up to date from what changed."""

from __future__ import annotations

import contextlib
import functools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ...study_changes import Changes, observed
from .pareto import best_of_several
from .search_space import Common, Groups
from .top_k import Best, Key

RELATIVE = "tpe:relative_params"
"""Trial system attribute (with ``:0``, ``:1`` ...), as Optuna writes it: what was suggested to a trial that runs."""

NONE, RUNNING, COMPLETE, PRUNED, INFEASIBLE = range(5)


class Known:
    """What was read of a trial that runs; ``names`` of the parameters that it counts with."""

    __slots__ = ("attrs", "names", "number", "params", "sizes")

    def __init__(self, trial: FrozenTrial, names: frozenset[str]):
        self.number, self.params, self.attrs, self.names = trial.number, trial.params, trial.system_attrs, names
        # Optuna's trial adds to the dictionaries of the in-memory storage where they lie.
        self.sizes = len(trial.params), len(trial.system_attrs)

    def same(self, trial: FrozenTrial) -> bool:
        params, attrs = trial.params, trial.system_attrs
        return (
            self.number == trial.number
            and self.sizes == (len(params), len(attrs))
            and (self.params is params or self.params == params)
            and (self.attrs is attrs or self.attrs == attrs)
        )


class History:
    """One study.

    Args:
        running: Trials that run are part of the model (the constant liar).
        relative: They count with all that was suggested to them, also what they did not ask for yet.

    Attributes:
        size: One more than the largest trial number.
        state: By trial number: NONE (no trial, or one that does not count), RUNNING, COMPLETE, PRUNED, INFEASIBLE.
        good: By trial number: one of the best, see ``divide``.
        columns: By parameter: values by trial number, NaN where there is none; choices as indices.
        finished: The number of complete and pruned trials.
        log: Numbers of the trials that changed, in order; its first entry is change number ``log_start``.
    """

    def __init__(self, directions: Sequence[StudyDirection], *, running: bool, relative: bool):
        self._signs = np.array([-1.0 if d == StudyDirection.MAXIMIZE else 1.0 for d in directions])
        self._running, self._relative = running, relative
        self.common, self.groups = Common(), Groups()
        self.distributions: dict[str, BaseDistribution] = {}
        self._clear()

    def _clear(self) -> None:
        self.size = 0
        self.state = np.zeros(64, dtype=np.int8)
        self.good = np.zeros(64, dtype=bool)
        self._owner = np.full(64, -1, dtype=np.int64)
        self._keys = np.zeros((64, 2))
        self._losses = np.zeros((64, len(self._signs)))
        self.columns: dict[str, np.ndarray] = {}
        self.finished = 0
        self.log: list[int] = []
        self.log_start = 0
        self._places: dict[int, int] = {}
        self._known: dict[int, Known] = {}
        self._early: dict[int, FrozenTrial] = {}  # run with parameters whose distributions nobody told yet
        self._best = {kind: Best(functools.partial(self._first, kind)) for kind in (COMPLETE, PRUNED, INFEASIBLE)}
        self._divided: list[int] = []
        self.good_version = 0
        self._ranks: tuple[int, int, list[int]] | None = None
        self._losses_version = 0
        self.generation = getattr(self, "generation", 0) + 1

    @property
    def changes(self) -> int:
        """The number of changes so far."""
        return self.log_start + len(self.log)

    def changed(self, since: int) -> list[int] | None:
        """Numbers of the trials that changed since that many changes; None when that is too long ago."""
        if since < self.log_start:
            return None
        return self.log[since - self.log_start :]

    def _note(self, number: int) -> None:
        if len(self.log) > 4096 + self.size:
            cut = len(self.log) // 2
            del self.log[:cut]
            self.log_start += cut
        self.log.append(number)
        if self.good[number]:
            self.good_version += 1

    # -- what happened ------------------------------------------------------------------------------------------------

    def learn(self, changes: Changes) -> None:
        if changes.whole:
            self._clear()
        for gone in changes.gone:
            self._forget(gone)
        trials = [trial for trial in changes.trials if not self._is_known(trial)]
        trials.sort(key=lambda trial: trial.number)
        # Two trials that change numbers with each other must not overwrite one another.
        for trial in trials:
            place = self._places.get(trial._trial_id)
            if place is not None and place != trial.number:
                self._forget(trial._trial_id)
        names = len(self.distributions)
        for trial in trials:
            if trial.state != TrialState.RUNNING or observed(trial):
                self._learn(trial)
        for trial in trials:
            if self._running and trial.state == TrialState.RUNNING and not observed(trial):
                self._learn_running(trial)
        if len(self.distributions) > names:
            for trial in list(self._early.values()):
                self._known[trial._trial_id].number = -1
                self._learn_running(trial)

    def _is_known(self, trial: FrozenTrial) -> bool:
        """Whether it runs as it did: storages that keep no account of changes give all trials that run at each look."""
        known = self._known.get(trial._trial_id)
        return known is not None and known.same(trial) and trial.state == TrialState.RUNNING and not observed(trial)

    def _learn(self, trial: FrozenTrial) -> None:
        self._early.pop(trial._trial_id, None)
        if not observed(trial):
            self._forget(trial._trial_id)
            return
        self.common.learn(trial.distributions)
        self.groups.learn(trial.distributions)
        number = self._take(trial)
        self._write(number, trial, {})
        self._known.pop(trial._trial_id, None)
        kind, key = self._ranked(trial)
        self.state[number] = kind
        self._keys[number] = key
        self.finished += 1
        if kind == COMPLETE:
            self._losses[number] = np.multiply(trial.values, self._signs)
            self._losses_version += 1
        self._best[kind].add((*key, number))

    def _learn_running(self, trial: FrozenTrial) -> None:
        number = self._take(trial)
        self.state[number] = RUNNING
        suggested = self._suggested(trial) if self._relative else {}
        names = self._write(number, trial, suggested)
        self._known[trial._trial_id] = Known(trial, names)

    def _suggested(self, trial: FrozenTrial) -> dict[str, Any]:
        texts: list[str] = []
        while text := trial.system_attrs.get(f"{RELATIVE}:{len(texts)}"):
            texts.append(text)
        if not texts:
            return {}
        try:
            found = json.loads("".join(texts))
        except json.JSONDecodeError:  # another process is just writing the parts
            return {}
        self._early.pop(trial._trial_id, None)
        if any(name not in self.distributions for name in found):
            self._early[trial._trial_id] = trial
        return {name: value for name, value in found.items() if name in self.distributions}

    def _ranked(self, trial: FrozenTrial) -> tuple[int, tuple[float, float]]:
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

    def _take(self, trial: FrozenTrial) -> int:
        """Make the row of the trial's number its own; what counted there before counts no more."""
        number = trial.number
        self._grow(number + 1)
        self._retract(number)
        if self._owner[number] != trial._trial_id:
            self._wipe(number)
            self._owner[number] = trial._trial_id
            self._places[trial._trial_id] = number
        elif trial._trial_id not in self._known:  # finished before: whatever changed, begin anew
            self._wipe(number)
        self._note(number)
        return number

    def _retract(self, number: int) -> None:
        kind = int(self.state[number])
        if kind >= COMPLETE:
            self._best[kind].remove((*self._keys[number].tolist(), number))
            self.finished -= 1
            self._losses_version += kind == COMPLETE
        self.state[number] = NONE

    def _forget(self, trial_id: int) -> None:
        self._known.pop(trial_id, None)
        self._early.pop(trial_id, None)
        number = self._places.pop(trial_id, None)
        if number is not None and self._owner[number] == trial_id:
            self._retract(number)
            self._wipe(number)
            self._owner[number] = -1
            self._note(number)

    def _wipe(self, number: int) -> None:
        if self._owner[number] >= 0:
            for column in self.columns.values():
                column[number] = math.nan

    def _write(self, number: int, trial: FrozenTrial, suggested: Mapping[str, Any]) -> frozenset[str]:
        names = set()
        distributions = trial.distributions
        for name, value in trial.params.items():
            self._put(number, name, value, distributions[name])
            names.add(name)
        for name, value in suggested.items():
            if name not in names:
                try:
                    self._put(number, name, value, self.distributions[name])
                except (ValueError, TypeError):  # what another process wrote need not fit
                    continue
                names.add(name)
        known = self._known.get(trial._trial_id)
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
        self.good = np.concatenate([self.good, np.zeros(more, dtype=bool)])
        self._owner = np.concatenate([self._owner, np.full(more, -1, dtype=np.int64)])
        self._keys = np.concatenate([self._keys, np.zeros((more, 2))])
        self._losses = np.concatenate([self._losses, np.zeros((more, len(self._signs)))])
        for name, column in self.columns.items():
            self.columns[name] = np.concatenate([column, np.full(more, math.nan)])

    # -- the good ones ------------------------------------------------------------------------------------------------

    def divide(self, count: int) -> list[int]:
        """The numbers of the ``count`` best trials in order: complete ones, then pruned ones, then infeasible ones.

        They are marked in ``good``.
        """
        best = self._best_complete(count)
        for kind in (PRUNED, INFEASIBLE):
            best = best + self._best[kind].first(max(0, count - len(best)))
        best = sorted(best)
        if best != self._divided:
            for number in set(best).symmetric_difference(self._divided):
                self._note(number)
            self.good[self._divided] = False
            self.good[best] = True
            self._divided = best
            self.good_version += 1
        return best

    def _best_complete(self, count: int) -> list[int]:
        if len(self._signs) == 1:
            return self._best[COMPLETE].first(count)
        if self._ranks is None or self._ranks[:2] != (self._losses_version, count):
            numbers = np.flatnonzero(self.state[: self.size] == COMPLETE)
            chosen = numbers[best_of_several(self._losses[numbers], count)]
            self._ranks = (self._losses_version, count, chosen.tolist())
        return self._ranks[2]

    def _first(self, kind: int, count: int) -> list[Key]:
        numbers = np.flatnonzero(self.state[: self.size] == kind)
        keys = self._keys[numbers]
        order = np.lexsort((numbers, keys[:, 1], keys[:, 0]))[:count]
        return [(*keys[i].tolist(), int(numbers[i])) for i in order]

    @contextlib.contextmanager
    def without(self, number: int) -> Iterator[None]:
        """As if the trial did not run: it is the one that is asked for."""
        if number >= self.size or self.state[number] != RUNNING:
            yield
            return
        self.state[number] = NONE
        self._note(number)
        try:
            yield
        finally:
            self.state[number] = RUNNING
            self._note(number)

    # -- the values ---------------------------------------------------------------------------------------------------

    def rows(self, names: Iterable[str], numbers: np.ndarray | Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """The values of ``names`` (columns) in those of the trials ``numbers`` that have them all; and these trials."""
        numbers = np.asarray(numbers, dtype=np.int64)
        columns = [self.columns.get(name) for name in names]
        if any(column is None for column in columns):
            return np.empty((0, len(columns))), numbers[:0]
        values = np.stack([column[numbers] for column in columns if column is not None], axis=1)
        whole = ~np.isnan(values).any(axis=1)
        return (values, numbers) if whole.all() else (values[whole], numbers[whole])
