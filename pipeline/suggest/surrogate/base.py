"""What the samplers with a model of the whole space have in common: one search for each study and space."""

from __future__ import annotations

import importlib
import threading
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ...one_thread import one_thread
from ...space import Space
from ..constraint_values import store_constraints
from ..exhaustive import FIXED
from ..published import publish
from ..search_space import SpaceWatch
from ..tpe import TPESampler
from ..transfer.earlier import EarlierStudy
from ..transfer.knowledge import Knowledge
from ..uniform import RandomSampler
from .encoding import Encoding

K = TypeVar("K")
V = TypeVar("V")
MAX_SEARCHES = 8
"""Searches that one sampler keeps, one for each study and space; the least recently used is dropped."""


class StudySearch(Protocol):
    """The search of one space in one study."""

    def refresh(self, study: Study) -> None:
        """Learn what changed in the study."""

    def prepare(self, study: Study) -> bool:
        """Do a part of what the first suggestion needs; returns whether nothing is left to do."""

    def suggest(self, trial_id: int, fixed: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Suggest a configuration to a trial, after :meth:`refresh`. ``fixed``: values that it has already."""


S = TypeVar("S", bound=StudySearch)


class SearchSampler(BaseSampler, Generic[S]):
    """A sampler whose model suggests all parameters together; a subclass makes the searches.

    Where an objective defines its space as it runs, and not all trials have the same parameters, it leaves the study to
    :class:`TPESampler`. Safe to use from several threads. A pickled copy has the random state, and reads the study
    anew.

    Args:
        seed: Of the random numbers. None: different numbers each time.
        space: The search space with its conditions and constraints; None: what the trials of the study have in common.
        constraints_func: From a finished trial to a sequence of numbers, each above 0 where a constraint is violated.
        imports: The modules that a model needs, the last first.
        earlier: Studies to learn from.
    """

    def __init__(
        self,
        *,
        seed: int | None,
        space: Space | None,
        constraints_func: Callable[[FrozenTrial], Sequence[float]] | None,
        imports: Sequence[str],
        earlier: Sequence[EarlierStudy] = (),
    ) -> None:
        self._space, self._constraints_func = space, constraints_func
        self._rng = None if seed is None else np.random.default_rng(seed)
        self._random = RandomSampler(seed=seed)
        self._tpe = TPESampler(seed=seed, multivariate=True, group=True)
        self._imports, self._earlier = list(imports), tuple(earlier)
        self._searches: OrderedDict[tuple[Any, ...], S] = OrderedDict()
        self._watches: OrderedDict[tuple[int, int], SpaceWatch] = OrderedDict()
        self._lock = threading.RLock()

    @abstractmethod
    def _make_search(self, study: Study, encoding: Encoding, rng: np.random.Generator) -> S:
        """A search of one space in one study, which has learnt nothing yet."""

    def _knowledge(self, encoding: Encoding) -> Knowledge | None:
        """What the earlier studies say of a space; None without such studies."""
        return Knowledge(self._earlier, encoding) if self._earlier else None

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_searches"], state["_watches"], state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._searches, self._watches, self._lock = OrderedDict(), OrderedDict(), threading.RLock()

    def reseed_rng(self) -> None:
        """Continue with other random numbers, as Optuna asks of copies of a sampler."""
        self._rng = None
        self._searches.clear()
        self._tpe.reseed_rng()
        self._random.reseed_rng()

    def _generator(self) -> np.random.Generator:
        if self._rng is None:  # not made in __init__, so that copies of a sampler differ
            self._rng = np.random.default_rng()
        return self._rng

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that are suggested together (Optuna's interface of a sampler)."""
        with self._lock:
            if self._space is None:
                self._watch(study).refresh(study)
            space = self._space_of(study)
        return self._tpe.infer_relative_search_space(study, trial) if space is None else space

    def _space_of(self, study: Study) -> dict[str, BaseDistribution] | None:
        """The parameters that the model suggests together; None where the study is left to TPE."""
        if self._space is not None:
            return {name: found for name, found in self._space.distributions.items() if not found.single()}
        watch = self._watch(study)
        return watch.space if watch.same else None

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Values for the active parameters of ``search_space``."""
        if not search_space:
            return {}
        with self._lock, one_thread():
            if self._space is None and not self._watch(study).same:
                return self._tpe.sample_relative(study, trial, search_space)
            search = self._search(study, search_space)
            search.refresh(study)
            params = search.suggest(trial._trial_id, trial.system_attrs.get(FIXED))
        if self._space is None:
            publish(study, trial, params)
        return params

    def prepare(self, study: Study) -> bool:
        """Do a part of what the first suggestion needs, some milliseconds: import, read the study, make a model.

        For programs that must not wait long, which call this until nothing is left to do. Without it, the first
        suggestion does it all.

        Returns:
            Whether nothing is left to do.
        """
        with self._lock:
            if self._imports:
                importlib.import_module(self._imports.pop())
                return False
            if self._space is None:
                self._watch(study).refresh(study)
            space = self._space_of(study)
            with one_thread():
                return not space or self._search(study, space).prepare(study)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value for one parameter that is not suggested together with others: at random while there is no trial."""
        if self._space is not None or self._watch(study).same:
            return self._random.sample_independent(study, trial, param_name, param_distribution)
        return self._tpe.sample_independent(study, trial, param_name, param_distribution)

    def _watch(self, study: Study) -> SpaceWatch:
        return _kept(self._watches, (id(study._storage), study._study_id), SpaceWatch)

    def _search(self, study: Study, space: dict[str, BaseDistribution]) -> S:
        known = self._space if self._space is not None and space.keys() == self._names() else None

        def make() -> S:
            return self._make_search(study, Encoding(space, known), self._generator())

        return _kept(self._searches, (id(study._storage), study._study_id, *sorted(map(_key, space.items()))), make)

    def _names(self) -> set[str]:
        assert self._space is not None
        return {name for name, found in self._space.distributions.items() if not found.single()}

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Optuna calls this before each trial."""
        self._tpe.before_trial(study, trial)
        self._random.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Write the values of ``constraints_func``, where there is one, to the trial's attributes."""
        if self._constraints_func is not None:
            store_constraints(study, trial, state, self._constraints_func)


def _key(item: tuple[str, BaseDistribution]) -> str:
    name, distribution = item
    return f"{name}: {distribution!r}"


def _kept(kept: OrderedDict[K, V], key: K, make: Callable[[], V]) -> V:
    """What is kept for ``key``, or made now; the least recently used of many is dropped."""
    found = kept.get(key)
    if found is None:
        found = kept[key] = make()
        if len(kept) > MAX_SEARCHES:
            kept.popitem(last=False)
    kept.move_to_end(key)
    return found
