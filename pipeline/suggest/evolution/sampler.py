"""The sampler ``evolution``: an evolutionary algorithm whose population is in the database only."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ...space import Space
from ..constraint_values import store_constraints
from ..exhaustive import FIXED
from ..genes import Gene
from ..published import publish
from .breeding import Breeder
from .individuals import Individual, Individuals
from .settings import Settings
from .suggestion import suggest


class EvolutionSampler(BaseSampler):
    """An evolutionary algorithm: each trial is a changed copy of a good one, or a cross of two.

    At first trials are drawn at random. When ``population`` of them have ended, each new trial is a child. Its parent
    is the best of a sample of the population; with some probability it takes a run of parameters from a second parent;
    and some of its parameters are changed. Without a barrier a child is bred whenever a trial is asked for, from what
    has ended by then. With a barrier generations follow each other: none is bred before the last one has ended as a
    whole.

    The population is not stored: it is read from the trials, so a study that is resumed, or has several drivers, goes
    on as it is. Each trial has the attributes ``pilotune:generation`` and ``pilotune:parent``.

    A trial that failed is never a parent. Complete trials come before pruned ones, which are compared at their last
    step; trials that violate a soft constraint come last. Where a child needs a parameter that its parent lacks, it is
    drawn at random.

    Safe to use from several threads. A pickled copy has the random state, and reads the study anew.

    Args:
        population: Number of individuals from which parents are taken, and of trials at random at first.
        offspring: Number of children of a generation; with a barrier only. Default: as ``population``.
        sample: How many individuals, drawn from the population, compete to be a parent. 1: parents are drawn evenly.
        mutate: Probability of each parameter to change; ``"one"``: exactly one changes, whichever.
        mutate_child: Probability of a child to be changed by ``mutate`` at all.
        step: Standard deviation of a change, where the range of a parameter is 1. None: any other value, drawn evenly.
        ordered: Take steps along the order of choices, too. Default: they become any other choice.
        crossover: Probability of a second parent. With it the default settings found better values than without.
        elitist: The population is the best trials of all. False: the youngest ones; with a barrier, the best of the
            last generation.
        barrier: Breed a generation only when as many trials of the last one have ended as it has.
        repeats: Run a configuration again that a trial has already. False: only while no new one is found.
        inherit: Whether the objective finds the checkpoint of a trial's parent in ``trial.parent_checkpoint_dir``.
        seed: Of the random numbers. Default None: different numbers each time.
        space: The search space with its conditions and constraints; None: what the parents have.
        constraints_func: From a finished trial to a sequence of numbers, each above 0 where a constraint is violated.
            Deprecated in Optuna, which has ``trial.set_constraint``.

    Attributes:
        settings: These settings.
        inherit: As given.

    Raises:
        ValueError: They contradict each other.

    Example:
        >>> import optuna
        >>> from pilotune.pipeline.suggest.evolution import EvolutionSampler
        >>> study = optuna.create_study(sampler=EvolutionSampler(seed=0))
        >>> study.optimize(lambda trial: (trial.suggest_float("x", -10, 10) - 2) ** 2, n_trials=100)
        >>> abs(study.best_params["x"] - 2) < 0.5
        True
    """

    def __init__(
        self,
        *,
        population: int = 16,
        offspring: int | None = None,
        sample: int = 2,
        mutate: float | str = 0.2,
        mutate_child: float = 1.0,
        step: float | None = 0.1,
        ordered: bool = False,
        crossover: float = 0.5,
        elitist: bool = True,
        barrier: bool = False,
        repeats: bool = True,
        inherit: bool = False,
        seed: int | None = None,
        space: Space | None = None,
        constraints_func: Callable[[FrozenTrial], Sequence[float]] | None = None,
    ) -> None:
        self.settings = Settings(
            population=population,
            sample=sample,
            offspring=offspring,
            mutate=mutate,
            mutate_child=mutate_child,
            step=step,
            ordered=ordered,
            crossover=crossover,
            elitist=elitist,
            barrier=barrier,
            repeats=repeats,
        )
        self.inherit = inherit
        self._space, self._constraints_func = space, constraints_func
        self._rng = random.Random(seed)
        self._lock = threading.RLock()
        self._read_anew()

    def _read_anew(self) -> None:
        self._individuals = Individuals(keys=not self.settings.repeats)
        self._breeder = Breeder(self.settings, self._rng, self._space)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_individuals"], state["_breeder"], state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()
        self._read_anew()

    def reseed_rng(self) -> None:
        """Continue with other random numbers, as Optuna asks of copies of a sampler."""
        self._rng.seed()

    # -- what a campaign asks ------------------------------------------------------------------------------------------

    @property
    def at_once(self) -> int | None:
        """The most trials that run at once because of the barrier; None without one."""
        settings = self.settings
        return max(settings.population, settings.generation_size(1)) if settings.barrier else None

    def waits(self, study: Study) -> bool:
        """Whether the next suggestion should wait until a running trial has ended.

        It should where the newest generation has all its trials, and some of them run. A trial that is asked for all
        the same is one more of that generation, and may end in place of another: so whoever does not wait goes on, too.
        """
        if not self.settings.barrier:
            return False
        with self._lock:
            self._refresh(study)
            newest = self._individuals.newest
            size = self.settings.generation_size(newest)
            return self._individuals.ended(newest) < size <= self._individuals.slots(newest)

    # -- Optuna's interface of a sampler -------------------------------------------------------------------------------

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that are suggested together: all of the space, or all that any trial had."""
        if self._space is not None:
            found = self._space.distributions
        else:
            with self._lock:
                self._refresh(study)
                found = dict(self._individuals.distributions)
        return {name: distribution for name, distribution in found.items() if not distribution.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A child, or a configuration at random. Without a space a child has the parameters of its parent."""
        with self._lock:
            self._refresh(study)
            self._breeder.know(search_space)
            generation, pool = self._pool(trial._trial_id)
            room = self._room(generation, trial._trial_id)
            fixed = self._fixed(study, trial, search_space)
            suggestion = suggest(self._breeder, self._individuals, self.settings, pool, search_space, fixed, room)
        suggestion.note(study, trial, generation)
        found = {name: value for name, value in suggestion.params.items() if name in search_space}
        if self._space is None and not self.settings.repeats:
            publish(study, trial, found)
        return found

    def _fixed(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> Mapping[str, Any]:
        """Values that a trial has already: those that the user gave."""
        found: dict[str, Any] = trial.system_attrs.get(FIXED, {})
        return found

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value at random, for a parameter that the parent lacks."""
        self._raise_error_if_multi_objective(study)
        with self._lock:
            return Gene(param_name, param_distribution).draw(self._rng)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Write the values of ``constraints_func``, where there is one, to the trial's attributes."""
        if self._constraints_func is not None:
            store_constraints(study, trial, state, self._constraints_func)

    def _refresh(self, study: Study) -> None:
        """Read what changed in the study. Raises ValueError where it has several directions."""
        self._raise_error_if_multi_objective(study)
        self._individuals.refresh(study)

    def _pool(self, trial_id: int) -> tuple[int | None, list[Individual]]:
        """The generation of a trial that is asked for, None for one more than its parents', and the possible parents.

        Without any parents the trial is drawn at random.
        """
        settings, individuals = self.settings, self._individuals
        if not settings.barrier:
            if individuals.parents < settings.population:
                return 0, []
            choose = individuals.best if settings.elitist else individuals.youngest
            return None, choose(settings.population)
        newest = individuals.newest_but(trial_id)
        whole = individuals.ended(newest, but=trial_id) >= settings.generation_size(newest)
        coming = newest + 1 if whole else newest
        if settings.elitist:
            return coming, individuals.best(settings.population, before=coming)
        return coming, individuals.newest_parents(settings.population, before=coming)

    def _room(self, generation: int | None, trial_id: int) -> int:
        """How many individuals a generation lacks, with the trial that is asked for; without a barrier any number."""
        settings = self.settings
        if generation is None or not settings.barrier:
            return settings.population
        return settings.generation_size(generation) - self._individuals.slots(generation, but=trial_id)
