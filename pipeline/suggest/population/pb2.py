"""The sampler ``pb2``: as ``pbt``, but the numbers of a copy are chosen by a model of what improved the members."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

from ...space import Space
from ..genes import Gene
from .gains import Changes
from .pbt import PBTSampler

CANDIDATES = 500
"""Points at random among which the model chooses."""


class PB2Sampler(PBTSampler):
    """Population-based bandits of Parker-Holder et al., 2020 (arXiv:2002.02518): ``pbt`` with a model for numbers.

    A Gaussian process predicts how much a member's value changes in one interval, from its numbers, its value before
    and the time; older changes count less. A copy gets the numbers with the highest upper confidence bound, where other
    copies that have not reported yet lower the uncertainty. Its choices are drawn anew. Made for populations of 4 to 8.

    Args:
        interval, population, quantile, perturb, max_resource, seed, space: As of :class:`PBTSampler`, with a default
            ``population`` of 8.

    Raises:
        ValueError: A setting is out of range.

    Example:
        >>> import optuna
        >>> from pilotune.pipeline.suggest.population import PB2Sampler
        >>> study = optuna.create_study(sampler=PB2Sampler(interval=1, seed=0))
        >>> study.ask({"lr": optuna.distributions.FloatDistribution(0, 1)}).params
        {'lr': 0.8444218515250481}
    """

    def __init__(
        self,
        *,
        interval: int,
        population: int = 8,
        quantile: float = 0.25,
        perturb: list[str] | None = None,
        max_resource: int | None = None,
        seed: int | None = None,
        space: Space | None = None,
    ) -> None:
        super().__init__(
            interval=interval,
            population=population,
            quantile=quantile,
            perturb=perturb,
            max_resource=max_resource,
            seed=seed,
            space=space,
        )

    def _changes(
        self, study: Study, trial: FrozenTrial, parent: FrozenTrial, space: dict[str, BaseDistribution]
    ) -> Iterator[dict[str, Any]]:
        """The model's best numbers first, each with choices drawn anew; then, or without a model, as ``pbt``."""
        genes = [Gene(name, each) for name, each in space.items()]
        choices = [gene for gene in genes if isinstance(gene.distribution, CategoricalDistribution)]
        numbers = [gene for gene in genes if gene not in choices]
        changes = Changes(study, self.interval, numbers)
        if numbers and changes.enough:
            rng = np.random.default_rng(self._rng.getrandbits(64))
            candidates = rng.random((CANDIDATES, len(numbers)))
            for index in changes.ranked(candidates, trial, parent):
                places = zip(numbers, candidates[index].tolist(), strict=True)
                drawn = {gene.name: gene.draw(self._rng) for gene in choices}
                yield {**drawn, **{gene.name: gene.value(place) for gene, place in places}}
        yield from super()._changes(study, trial, parent, space)
