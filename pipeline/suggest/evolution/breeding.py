"""Makes configurations: at random, or as children of one parent or two."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution

from ...architecture.sites import Site
from ...space import Space
from ..genes import Gene
from .individuals import Individual
from .settings import ONE, Settings

Params = dict[str, Any]


class Breeder:
    """Varies the parameters of one space.

    Args:
        settings: Of the algorithm.
        rng: Random numbers.
        space: With conditions and constraints; None where the objective defines it as it runs.

    Attributes:
        evolved: The parameters that may change; None: all.
    """

    def __init__(self, settings: Settings, rng: random.Random, space: Space | None) -> None:
        self._settings, self._rng, self._space = settings, rng, space
        self.evolved: frozenset[str] | None = None
        self._genes: dict[str, Gene] = {}
        if space is not None:
            self.know(space.distributions)

    def know(self, distributions: Mapping[str, BaseDistribution]) -> None:
        """Have these parameters; those of the newest ranges count."""
        for name, distribution in distributions.items():
            known = self._genes.get(name)
            if known is None or (known.distribution is not distribution and known.distribution != distribution):
                self._genes[name] = Gene(name, distribution, self._settings.ordered)

    def feasible(self, params: Params) -> bool:
        """Whether a configuration meets the study file's constraints, as far as they can be evaluated."""
        if self._space is None or not self._space.constraints:
            return True
        try:
            return self._space.feasible(params)
        except Exception:  # the campaign evaluates it again, and says what is wrong
            return True

    def at_random(self, names: Iterable[str], fixed: Mapping[str, Any]) -> Params:
        """A configuration at random.

        Args:
            names: The parameters, where the objective defines the space.
            fixed: Values that are given.
        """
        params = {name: self._genes[name].draw(self._rng) for name in names} if self._space is None else {}
        return self._completed(params, fixed)

    def parent(self, pool: Sequence[Individual]) -> Individual:
        """The best of a sample of ``pool``; of equals any."""
        drawn = self._rng.sample(pool, min(self._settings.sample, len(pool)))
        return min(drawn, key=lambda each: each.rank or ())

    def child(
        self, pool: Sequence[Individual], fixed: Mapping[str, Any]
    ) -> tuple[Params, Individual, Individual | None]:
        """A child of parents from ``pool``, which may be as its parent is.

        Returns:
            The child, its parent, and the second parent where there was a crossover.
        """
        settings, rng = self._settings, self._rng
        one, two = self.parent(pool), None
        params = self._inherited(one)
        if settings.crossover and rng.random() < settings.crossover:
            two = self.parent(pool)
            self._cross(params, self._inherited(two))
        params = self._completed(params, fixed)
        if settings.mutate_child >= 1.0 or rng.random() < settings.mutate_child:
            params = self._completed(self._mutated(params, fixed), fixed)
        return params, one, two

    def _inherited(self, individual: Individual) -> Params:
        """The values of a trial that are within the ranges of today."""
        known = ((name, value, self._genes.get(name)) for name, value in individual.params.items())
        return {name: value for name, value, gene in known if gene is not None and gene.contains(value)}

    def _cross(self, params: Params, mates: Params) -> None:
        """Two-point crossover: take a run of parameters from the mate."""
        names = [name for name in self._genes if name in params or name in mates]
        if len(names) < 2:
            return
        first, last = sorted(self._rng.sample(range(1, len(names) + 1), 2))
        params.update({name: mates[name] for name in names[first:last] if name in mates})

    def _mutated(self, params: Params, fixed: Mapping[str, Any]) -> Params:
        """The configuration with other values of one parameter, or of each with the probability ``mutate``."""
        settings, rng = self._settings, self._rng
        sites = [
            site
            for site in self._sites()
            if not any(name in fixed or name not in params for name in site.names) and not self._single(site)
        ]
        if isinstance(settings.mutate, str):
            assert settings.mutate == ONE
            chosen = [rng.choice(sites)] if sites else []
        else:
            chosen = [site for site in sites if rng.random() < settings.mutate]
        changed = dict(params)
        for site in chosen:
            changed |= self._changed(site, params)
        return changed

    def _sites(self) -> list[Site]:
        sites = [Site((name,)) for name in self._genes] if self._space is None else self._space.sites
        return [site for site in sites if self.evolved is None or self.evolved.issuperset(site.names)]

    def _single(self, site: Site) -> bool:
        """Whether there is only one possibility."""
        return site.joint is None and self._genes[site.names[0]].single

    def _changed(self, site: Site, params: Params) -> Params:
        """Other values of a site: of an operation with arguments any other, or one of its values a step away."""
        rng, step = self._rng, self._settings.step
        name = site.names[0]
        if site.joint is not None:
            now = site.current(params)
            if step is None or now is None:
                return dict(rng.choice([each for each in site.joint if each is not now]))
            name = rng.choice(list(now))
        gene, value = self._genes[name], params[name]
        return {name: gene.other(value, rng) if step is None else gene.stepped(value, step, rng)}

    def _completed(self, params: Params, fixed: Mapping[str, Any]) -> Params:
        """The configuration without inactive parameters; those that are active and missing are drawn at random.

        Without a space nobody knows which are active. ``fixed`` values replace those of ``params``.
        """
        if self._space is None:
            return params

        def value(name: str, distribution: BaseDistribution) -> Any:
            gene = self._genes[name]
            if name in fixed and gene.contains(fixed[name]):
                return gene.distribution.to_external_repr(gene.distribution.to_internal_repr(fixed[name]))
            return params[name] if name in params else gene.draw(self._rng)

        return self._space.walk(value)
