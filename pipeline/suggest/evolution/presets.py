"""Published evolutionary algorithms, as settings of the one engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from optuna.trial import FrozenTrial

from ...space import Space
from ..sizes import population_for, sample_for
from .sampler import EvolutionSampler
from .settings import ONE


class AgeingSampler(EvolutionSampler):
    """Regularized (ageing) evolution: a child differs in one parameter, and parents are the youngest trials.

    The population is the ``population`` trials that ended last, however good. The parent is the best of ``sample`` of
    them, and one of its active parameters gets another value. Real, Aggarwal, Huang and Le: Regularized Evolution for
    Image Classifier Architecture Search, AAAI 2019 (arXiv:1802.01548).

    Args:
        population: Default 100, as published. A study file's default is a fifth of the budget, but from 16 to 100.
        sample: Default a tenth of the population, as published, and up to 10 of a small one, but at most a quarter.
        step: Standard deviation of a change of a number, where its range is 1. Default None: any other value.
        barrier, repeats, inherit, seed, space, constraints_func: As of :class:`EvolutionSampler`. Repeats are allowed
            by default: where values are noisy, running a lucky configuration again corrects them.

    Raises:
        ValueError: ``sample`` is larger than the population.

    Example:
        >>> import optuna
        >>> from pilotune.pipeline.suggest.evolution import AgeingSampler
        >>> study = optuna.create_study(sampler=AgeingSampler(population=16, seed=0))
        >>> study.optimize(lambda trial: trial.suggest_int("a", 0, 9) + trial.suggest_int("b", 0, 9), n_trials=100)
        >>> study.best_value < 3
        True
    """

    def __init__(
        self,
        *,
        population: int | None = None,
        sample: int | None = None,
        step: float | None = None,
        barrier: bool = False,
        repeats: bool = True,
        inherit: bool = False,
        seed: int | None = None,
        space: Space | None = None,
        constraints_func: Callable[[FrozenTrial], Sequence[float]] | None = None,
    ) -> None:
        size = population_for(None) if population is None else population
        super().__init__(
            population=size,
            sample=sample_for(size) if sample is None else sample,
            mutate=ONE,
            step=step,
            crossover=0.0,
            elitist=False,
            barrier=barrier,
            repeats=repeats,
            inherit=inherit,
            seed=seed,
            space=space,
            constraints_func=constraints_func,
        )


class GeneticSampler(EvolutionSampler):
    """A genetic algorithm: children of two parents, changed seldom but much, replace their parents.

    That of DeepHyper 0.1.7, which is DEAP's: parents by tournament, two-point crossover, now and then a large normally
    distributed change of some parameters, choices by their order. A child that is as its parent is not run again, but
    counts. With ``barrier``, the children of a generation replace the one before, as published, where the population
    was five times the number of workers; without, the population is the trials that ended last. In spaces of a few
    parameters most children are as their parents, so a generation runs few trials: raise ``mutate_child`` there.

    Args:
        population: Default 40.
        sample: Size of the tournament. Default 3, as are all the following as published.
        crossover: Probability of a second parent. Default 0.5.
        mutate_child: Probability of a child to be changed. Default 0.2.
        mutate: Probability of each parameter of such a child to be changed. Default 0.1.
        step: Standard deviation of a change, where the range is 1. Default 1.0, so most changes lead to an end of it.
        barrier, repeats, seed, space, constraints_func: As of :class:`EvolutionSampler`.

    Raises:
        ValueError: ``sample`` is larger than the population.

    Example:
        >>> import optuna
        >>> from pilotune.pipeline.suggest.evolution import GeneticSampler
        >>> study = optuna.create_study(sampler=GeneticSampler(population=20, seed=0))
        >>> study.optimize(lambda trial: trial.suggest_int("a", 0, 9) + trial.suggest_int("b", 0, 9), n_trials=100)
        >>> study.best_value < 3
        True
    """

    def __init__(
        self,
        *,
        population: int = 40,
        sample: int = 3,
        crossover: float = 0.5,
        mutate_child: float = 0.2,
        mutate: float | str = 0.1,
        step: float = 1.0,
        barrier: bool = False,
        repeats: bool = True,
        seed: int | None = None,
        space: Space | None = None,
        constraints_func: Callable[[FrozenTrial], Sequence[float]] | None = None,
    ) -> None:
        super().__init__(
            population=population,
            sample=sample,
            crossover=crossover,
            mutate_child=mutate_child,
            mutate=mutate,
            step=step,
            ordered=True,
            elitist=False,
            barrier=barrier,
            repeats=repeats,
            seed=seed,
            space=space,
            constraints_func=constraints_func,
        )


class DHPOSampler(EvolutionSampler):
    """The (mu + lambda) evolution of DHPO: the best of parents and children survive, and nothing is run twice.

    Args:
        population: The number of survivors, mu. Default 4, as published.
        offspring: The number of children of a generation, lambda; with a barrier only. Default: as ``population``.
        mutate: Probability of each parameter to change. Default 0.2, as published.
        step: Standard deviation of a change of a number, where its range is 1. Default None: any other value. Steps of
            0.1 were worse than random search on DHPO's own experiment (``benchmarks/published/dhpo.py``).
        barrier, seed, space, constraints_func: As of :class:`EvolutionSampler`. It was published with a barrier.

    Example:
        >>> import optuna
        >>> from pilotune.pipeline.suggest.evolution import DHPOSampler
        >>> study = optuna.create_study(sampler=DHPOSampler(seed=0))
        >>> study.optimize(lambda trial: trial.suggest_int("a", 0, 9) + trial.suggest_int("b", 0, 9), n_trials=64)
        >>> len({tuple(trial.params.values()) for trial in study.trials})
        64
    """

    def __init__(
        self,
        *,
        population: int = 4,
        offspring: int | None = None,
        mutate: float | str = 0.2,
        step: float | None = None,
        barrier: bool = False,
        seed: int | None = None,
        space: Space | None = None,
        constraints_func: Callable[[FrozenTrial], Sequence[float]] | None = None,
    ) -> None:
        super().__init__(
            population=population,
            offspring=offspring,
            sample=1,
            mutate=mutate,
            step=step,
            crossover=0.0,
            elitist=True,
            barrier=barrier,
            repeats=False,
            seed=seed,
            space=space,
            constraints_func=constraints_func,
        )
