"""The populations of samplers where the study file leaves them out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LARGEST_POPULATION, SMALLEST_POPULATION = 100, 16
"""Limits of the population that is chosen by the budget."""

BUDGET_SHARE = 5
"""The population that is chosen by the budget is this part of it, since its first members are drawn at random."""


def population_for(trials: int | None) -> int:
    """The population for a budget of trials: a fifth of it, but from 16 to 100; 100, as published, without a budget.

    >>> population_for(200), population_for(20), population_for(10_000), population_for(None)
    (40, 16, 100, 100)
    """
    if trials is None:
        return LARGEST_POPULATION
    return min(LARGEST_POPULATION, max(SMALLEST_POPULATION, trials // BUDGET_SHARE))


def sample_for(population: int) -> int:
    """How many individuals compete to be the parent in a population: 10 of 100, as published; 5 of 20.

    A tenth of a large population. Of small ones it is a quarter, since the best of two or three is hardly selected: on
    NAS-Bench-201, 200 trials of 16 workers, noisy, the median accuracy of 200 seeds was 91.51 with 10 of 40, and 91.39
    with 4 of 40.

    >>> [sample_for(size) for size in (2, 16, 20, 40, 100, 300)]
    [2, 4, 5, 10, 10, 30]
    """
    return max(2, min(10, population // 4), population // 10)


def ageing_arguments(args: Mapping[str, Any], trials: int | None) -> dict[str, Any]:
    """The arguments of the sampler ``ageing`` with the sizes that they leave out, for a budget of trials.

    >>> ageing_arguments({"seed": 0}, 200)
    {'seed': 0, 'population': 40, 'sample': 10}
    """
    found = {**args}
    found.setdefault("population", population_for(trials))
    if "sample" not in found and isinstance(found["population"], int):
        found["sample"] = sample_for(found["population"])
    return found


POPULATIONS = {"pbt": 16, "pb2": 8}
"""By sampler, the default number of members. With fewer than 16, quantiles mean little; ``pb2`` is made for few."""

QUANTILE = 0.25
"""Default share of the members that are the worst, and that are the best."""


def population_arguments(name: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ``pbt`` or ``pb2`` with the sizes that they leave out, which the campaign needs, too.

    >>> population_arguments("pbt", {"interval": 2})
    {'interval': 2, 'population': 16, 'quantile': 0.25}
    """
    return {**args, "population": args.get("population", POPULATIONS[name]), "quantile": args.get("quantile", QUANTILE)}
