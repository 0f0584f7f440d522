"""A study in memory: its trials as Optuna wants to see them, kept so that no call looks at all of them."""

from __future__ import annotations

import copy
from bisect import bisect_left
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ..changes import Changes

OWNER = "pilotune:campaign"
"""Trial system attribute: the campaign that runs the trial."""
LEARNED = "pilotune:from"
"""Trial user attribute: the trial was copied from this one of another study, and does not count for the budget."""


def replica(trial: FrozenTrial) -> FrozenTrial:
    """A shallow copy, cheaper than ``copy.copy``.

    Trials that were given out are never changed, only replaced by such copies.
    """
    new = FrozenTrial.__new__(FrozenTrial)
    new.__dict__.update(trial.__dict__)
    return new


def detached(trial: FrozenTrial) -> FrozenTrial:
    """A copy whose dictionaries the caller may change; distributions are shared, since nobody changes those."""
    new = replica(trial)
    new.params, new.distributions = dict(trial.params), dict(trial.distributions)
    new.intermediate_values = dict(trial.intermediate_values)
    new.user_attrs = copy.deepcopy(trial.user_attrs) if trial.user_attrs else {}
    new.system_attrs = copy.deepcopy(trial.system_attrs) if trial.system_attrs else {}
    new.values = trial.values
    return new


class View:
    """The trials in some states, in order of their numbers, kept up to date by the mirror."""

    def __init__(self, states: Container[TrialState], trials: Iterable[FrozenTrial]):
        self.states = states
        self.trials = sorted((t for t in trials if t.state in states), key=lambda t: t.number)
        self.numbers = [t.number for t in self.trials]

    def change(self, old: FrozenTrial | None, new: FrozenTrial | None) -> None:
        was = old is not None and old.state in self.states
        now = new is not None and new.state in self.states
        if was and now and old is not None and new is not None and old.number == new.number:
            self.trials[self._place(old)] = new
            return
        if was and old is not None:
            place = self._place(old)
            del self.trials[place], self.numbers[place]
        if now and new is not None:
            place = len(self.numbers)
            if place and self.numbers[-1] >= new.number:
                place = bisect_left(self.numbers, new.number)
            self.trials.insert(place, new)
            self.numbers.insert(place, new.number)

    def _place(self, trial: FrozenTrial) -> int:
        place = bisect_left(self.numbers, trial.number)
        # Optuna's schema does not forbid two trials of one number.
        while self.trials[place]._trial_id != trial._trial_id:
            place += 1
        return place


@dataclass
class StudyMirror:
    """One study.

    Trials are known by local ids, which last as long as the process; ``db_ids`` has those of the committed ones.
    """

    study_id: int
    name: str
    directions: list[StudyDirection]
    user_attrs: dict[str, Any] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)
    trials: dict[int, FrozenTrial] = field(default_factory=dict)
    db_ids: dict[int, int] = field(default_factory=dict)
    local_ids: dict[int, int] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    uncommitted: dict[int, None] = field(default_factory=dict)
    ours: set[int] = field(default_factory=set)
    learned: int = 0
    last_db_id: int = 0
    seen: tuple[int, int] | None = None
    _views: dict[frozenset[TrialState], View] = field(default_factory=dict)
    _best: FrozenTrial | None = None
    _best_known: bool = True
    _changed: dict[int, int] = field(default_factory=dict)  # local ids in the order of their last change
    _changes: int = 0

    def __post_init__(self) -> None:
        for states in (frozenset(TrialState), frozenset({TrialState.WAITING})):
            self._views[states] = View(states, ())

    def put(self, trial: FrozenTrial) -> None:
        """Add a trial, or put a new copy in the place of the old one."""
        local = trial._trial_id
        old = self.trials.get(local)
        self.trials[local] = trial
        if old is None or old.number != trial.number:
            if old is not None and self.numbers.get(old.number) == local:
                del self.numbers[old.number]
            self.numbers[trial.number] = local
        for view in self._views.values():
            view.change(old, trial)
        for name in trial.distributions.keys() - self.distributions.keys():
            self.distributions[name] = trial.distributions[name]
        self.learned += (LEARNED in trial.user_attrs) - (old is not None and LEARNED in old.user_attrs)
        self._rank(old, trial)
        self._note(local)

    def know(self, local: int, db_id: int) -> None:
        """The trial is in the database under ``db_id``."""
        self.db_ids[local], self.local_ids[db_id] = db_id, local
        self.uncommitted.pop(local, None)

    def drop(self, local: int) -> None:
        """Forget a trial that never reached the database."""
        old = self.trials.pop(local)
        if self.numbers.get(old.number) == local:
            del self.numbers[old.number]
        for view in self._views.values():
            view.change(old, None)
        self.learned -= LEARNED in old.user_attrs
        self.uncommitted.pop(local, None)
        self.ours.discard(local)
        self._note(local)

    def _note(self, local: int) -> None:
        self._changes += 1
        self._changed.pop(local, None)
        self._changed[local] = self._changes

    def changes(self, since: tuple[StudyMirror, int] | None) -> tuple[tuple[StudyMirror, int], Changes]:
        """What changed since an earlier answer's first part, and this answer's own; see ``pipeline.changes``."""
        now = (self, self._changes)
        if since is None or since[0] is not self:
            return now, Changes(list(self.trials.values()), whole=True)
        ids = []
        for local in reversed(self._changed):
            if self._changed[local] <= since[1]:
                break
            ids.append(local)
        ids.reverse()
        return now, Changes([self.trials[i] for i in ids if i in self.trials], [i for i in ids if i not in self.trials])

    def renumber(self, local: int, number: int) -> None:
        old = self.trials[local]
        if old.number != number:
            new = replica(old)
            new.number = number
            self.put(new)

    def in_states(self, states: Container[TrialState] | None) -> list[FrozenTrial]:
        """The trials in ``states`` (None: all), in order of their numbers; the mirror's own list, not to be changed."""
        chosen = frozenset(TrialState) if states is None else frozenset(s for s in TrialState if s in states)
        view = self._views.get(chosen)
        if view is None:
            view = self._views[chosen] = View(chosen, self.trials.values())
        return view.trials

    def next_number(self) -> int:
        everything = self._views[frozenset(TrialState)].numbers
        return everything[-1] + 1 if everything else 0

    def counted(self) -> int:
        """Trials that count for the budget: all but those that wait and those copied from other studies."""
        return len(self.trials) - len(self._views[frozenset({TrialState.WAITING})].trials) - self.learned

    def best(self) -> FrozenTrial | None:
        """The complete trial with the best value, the first of equals; of one direction only."""
        if not self._best_known:
            self._best, self._best_known = None, True
            for trial in self.in_states((TrialState.COMPLETE,)):
                self._rank(None, trial)
        return self._best

    def _rank(self, old: FrozenTrial | None, trial: FrozenTrial) -> None:
        best = self._best
        if old is not None and best is not None and best._trial_id == trial._trial_id:
            self._best_known = False
        if trial.state != TrialState.COMPLETE or len(self.directions) != 1 or not self._best_known:
            return
        if best is None:
            self._best = trial
            return
        sign = -1 if self.directions[0] == StudyDirection.MAXIMIZE else 1
        if (sign * trial.values[0], trial.number) < (sign * best.values[0], best.number):
            self._best = trial
