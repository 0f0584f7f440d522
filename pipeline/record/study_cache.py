"""One study in memory: its trials as Optuna expects them, indexed so that no call has to go through all of them."""

from __future__ import annotations

import copy
from array import array
from bisect import bisect_left
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ..attributes import LEARNED
from ..study_changes import Changes
from .row_watermark import RowWatermark

_EVERY = frozenset(TrialState)
_WAITING = frozenset({TrialState.WAITING})
_LOG = 65_536
"""Changes that are kept in the log, besides four for each trial: a reader that asks once in a while finds its place."""


def replica(trial: FrozenTrial, **changes: Any) -> FrozenTrial:
    """A shallow copy of a trial, with some of the constructor's arguments changed.

    Trials that callers have received are never changed, only replaced by such copies. Only the constructor sets
    attributes: Python then stores an object in a third of the memory.
    """
    arguments: dict[str, Any] = {
        "number": trial.number,
        "state": trial.state,
        "values": trial.values,
        "datetime_start": trial.datetime_start,
        "datetime_complete": trial.datetime_complete,
        "params": trial.params,
        "distributions": trial.distributions,
        "user_attrs": trial.user_attrs,
        "system_attrs": trial.system_attrs,
        "intermediate_values": trial.intermediate_values,
        "trial_id": trial._trial_id,
    }
    if changes:
        arguments |= changes
    return FrozenTrial(value=None, **arguments)


def alike(one: FrozenTrial, other: FrozenTrial) -> bool:
    """Whether two trials are equal in everything. ``one == other`` would triple the memory they take (``__dict__``)."""
    return (
        one.state == other.state
        and one.number == other.number
        and one.values == other.values
        and one.params == other.params
        and one.intermediate_values == other.intermediate_values
        and one.user_attrs == other.user_attrs
        and one.system_attrs == other.system_attrs
        and one.datetime_start == other.datetime_start
        and one.datetime_complete == other.datetime_complete
        and one.distributions == other.distributions
    )


_PLAIN = (str, int, float, bool, type(None))


def _copied(attrs: dict[str, Any]) -> dict[str, Any]:
    return {key: value if type(value) in _PLAIN else copy.deepcopy(value) for key, value in attrs.items()}


def opened(trial: FrozenTrial, copied: Callable[[dict[str, Any]], dict[str, Any]] = dict) -> FrozenTrial:
    """A copy whose dictionaries the caller may change; ``copied`` copies the attributes.

    Distributions are shared, since nobody changes those.
    """
    return replica(
        trial,
        params=dict(trial.params),
        distributions=dict(trial.distributions),
        intermediate_values=dict(trial.intermediate_values),
        user_attrs=copied(trial.user_attrs),
        system_attrs=copied(trial.system_attrs),
    )


def detached(trial: FrozenTrial) -> FrozenTrial:
    """As ``opened``, but lists and mappings inside the attributes are copies too."""
    return opened(trial, _copied)


class View:
    """The trials in some states by ascending number, kept up to date by the cache."""

    def __init__(self, states: Container[TrialState], trials: Iterable[FrozenTrial]):
        self.states = tuple(state for state in TrialState if state in states)
        self.trials = sorted((t for t in trials if t.state in self.states), key=lambda t: t.number)
        self.numbers = [t.number for t in self.trials]

    def change(self, old: FrozenTrial | None, new: FrozenTrial | None) -> None:
        """``old`` became ``new``; None: there was none before, or there is none now."""
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

    def at(self, number: int) -> FrozenTrial | None:
        """The trial with this number, the first of several; None when there is none."""
        place = bisect_left(self.numbers, number)
        return self.trials[place] if place < len(self.numbers) and self.numbers[place] == number else None

    def _place(self, trial: FrozenTrial) -> int:
        place = trial.number  # right where the view has all trials and no number is missing
        if place < len(self.trials) and self.trials[place]._trial_id == trial._trial_id:
            return place
        place = bisect_left(self.numbers, trial.number)
        # Optuna's schema does not forbid two trials with the same number.
        while self.trials[place]._trial_id != trial._trial_id:
            place += 1
        return place


@dataclass
class StudyCache:
    """One study: its attributes, and its trials by local id (see ``LoadedStudies``).

    Trials that callers have received are never changed: a change puts a copy in the place of the old trial.

    Attributes:
        trials: All trials by local id.
        db_ids: Local id -> id in the database, of committed trials; ``local_ids`` is the inverse.
        uncommitted: Local ids of new trials that are not in the database yet, in order of creation.
        ours: Local ids of the trials that this process runs: nobody else changes them, so ``sync`` skips them.
        distributions: The first distribution of each parameter.
        learned: How many trials were copied from other studies.
        last_db_id: The highest id in the database that is known; new trials have higher ones.
        seen_version: ``Database.data_version`` when the cache was last read; None: it has to be read.
        syncs: Reads since the last full rescan.
        attribute_texts: The study's attributes as they were last read: (kind, key) -> JSON and value.
    """

    study_id: int
    name: str
    directions: list[StudyDirection]
    user_attrs: dict[str, Any] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)
    trials: dict[int, FrozenTrial] = field(default_factory=dict)
    db_ids: dict[int, int] = field(default_factory=dict)
    local_ids: dict[int, int] = field(default_factory=dict)
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    uncommitted: dict[int, None] = field(default_factory=dict)
    ours: set[int] = field(default_factory=set)
    learned: int = 0
    last_db_id: int = 0
    seen_version: tuple[int, int] | None = None
    watermark: RowWatermark = field(default_factory=RowWatermark)
    syncs: int = 0
    attribute_texts: dict[tuple[str, str], tuple[str, Any]] = field(default_factory=dict)
    _views: dict[frozenset[TrialState], View] = field(default_factory=dict)
    _best: FrozenTrial | None = None
    _best_known: bool = True
    _log: array[int] = field(default_factory=lambda: array("q"))  # local ids in the order of their changes
    _forgotten: int = 0  # changes that are no longer in the log

    def __post_init__(self) -> None:
        for states in (_EVERY, _WAITING):
            self._views[states] = View(states, ())

    def put(self, trial: FrozenTrial) -> None:
        """Add a trial, or replace the one with the same local id."""
        local = trial._trial_id
        old = self.trials.get(local)
        self.trials[local] = trial
        for view in self._views.values():
            view.change(old, trial)
        if old is None or old.distributions is not trial.distributions:
            for name in trial.distributions.keys() - self.distributions.keys():
                self.distributions[name] = trial.distributions[name]
        if old is None or old.user_attrs is not trial.user_attrs:
            self.learned += (LEARNED in trial.user_attrs) - (old is not None and LEARNED in old.user_attrs)
        self._rank(old, trial)
        self._log_change(local)

    def set_db_id(self, local: int, db_id: int) -> None:
        """The trial is in the database with the id ``db_id``."""
        self.db_ids[local], self.local_ids[db_id] = db_id, local
        self.uncommitted.pop(local, None)

    def drop(self, local: int) -> None:
        """Forget a trial that never reached the database."""
        old = self.trials.pop(local)
        for view in self._views.values():
            view.change(old, None)
        self.learned -= LEARNED in old.user_attrs
        self.uncommitted.pop(local, None)
        self.ours.discard(local)
        self._log_change(local)

    def _log_change(self, local: int) -> None:
        self._log.append(local)
        if len(self._log) > _LOG + 4 * len(self.trials):
            half = len(self._log) // 2
            del self._log[:half]
            self._forgotten += half

    def changes(self, since: tuple[StudyCache, int] | None) -> tuple[tuple[StudyCache, int], Changes]:
        """A position in the log, and what changed since an earlier position; see ``RecordStorage.changes``."""
        now = (self, self._forgotten + len(self._log))
        if since is None or since[0] is not self or since[1] < self._forgotten:
            return now, Changes(list(self.trials.values()), whole=True)
        # Of each trial only the last change counts, which is the first one from the end.
        ids = list(dict.fromkeys(reversed(self._log[since[1] - self._forgotten :])))
        ids.reverse()
        return now, Changes([self.trials[i] for i in ids if i in self.trials], [i for i in ids if i not in self.trials])

    def renumber(self, local: int, number: int) -> None:
        old = self.trials[local]
        if old.number != number:
            self.put(replica(old, number=number))

    def of_number(self, number: int) -> int | None:
        """The local id of the trial with this number; None when there is none."""
        trial = self._views[_EVERY].at(number)
        return None if trial is None else trial._trial_id

    def in_states(self, states: Container[TrialState] | None) -> list[FrozenTrial]:
        """The trials in ``states`` (None: all) by ascending number. The caller must not change the list."""
        chosen = _EVERY if states is None else frozenset(s for s in TrialState if s in states)
        view = self._views.get(chosen)
        if view is None:
            view = self._views[chosen] = View(chosen, self.trials.values())
        return view.trials

    def next_number(self) -> int:
        everything = self._views[_EVERY].numbers
        return everything[-1] + 1 if everything else 0

    def counted(self) -> int:
        """How many trials count for the budget: all but waiting ones and those copied from other studies."""
        return len(self.trials) - len(self._views[_WAITING].trials) - self.learned

    def best(self) -> FrozenTrial | None:
        """The complete trial with the best value, the first of equals; None when there is none. One direction only."""
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
