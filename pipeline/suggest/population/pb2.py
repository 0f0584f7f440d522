"""The sampler ``pb2``: as ``pbt``, but the numbers of a copy are chosen by a model of what improved the members."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from ...attributes import LEARNED, PARENT, STEP
from ...space import Space
from ..evolution.genes import Gene
from .bandit import Bandit
from .pbt import PBTSampler

Floats = NDArray[np.float64]

CANDIDATES = 500
"""Points at random among which the model chooses."""

MOST_CHANGES = 128
"""The newest changes from which the model learns; a fit costs their number to the third power."""


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

    def _explore(
        self, study: Study, trial: FrozenTrial, parent: FrozenTrial, space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        genes = [Gene(name, each) for name, each in space.items() if not isinstance(each, CategoricalDistribution)]
        choices = {
            name: Gene(name, each).draw(self._rng)
            for name, each in space.items()
            if isinstance(each, CategoricalDistribution)
        }
        changes = _Changes(study, self.interval, genes)
        if not genes or len(changes.gains) < 2:
            return {
                **choices,
                **super()._explore(study, trial, parent, {gene.name: space[gene.name] for gene in genes}),
            }
        rng = np.random.default_rng(self._rng.getrandbits(64))
        now = trial.system_attrs[STEP] // self.interval
        before = changes.scaled_last(parent)
        candidates = rng.random((CANDIDATES, len(genes)))
        rows = np.column_stack([candidates, np.full(CANDIDATES, before)])
        bandit = Bandit(changes.rows(), changes.times(), changes.scaled_gains())
        for index in bandit.ranked(rows, now, changes.pending(trial.number, before, len(genes))):
            places = zip(genes, candidates[index], strict=True)
            found = {**choices, **{gene.name: gene.value(float(place)) for gene, place in places}}
            if self._feasible({**parent.params, **found}):
                break
        return found


class _Changes:
    """What each member's value changed in each of its intervals.

    Args:
        study: With one direction.
        interval: Steps of an interval.
        genes: The numbers that the members have.

    Attributes:
        gains: How much better the value was after the interval, one for each change.
    """

    def __init__(self, study: Study, interval: int, genes: list[Gene]) -> None:
        sign = -1.0 if study.direction == StudyDirection.MINIMIZE else 1.0
        self.gains: list[float] = []
        self._places: list[list[float]] = []
        self._before: list[float] = []
        self._times: list[int] = []
        # By number of each trial without a value after its start: its places, and the value that it started with.
        self._waiting: dict[int, tuple[list[float], float | None]] = {}
        self._interval, self._sign = interval, sign
        trials = study.get_trials(deepcopy=False)
        for trial in reversed(trials):
            if len(self.gains) > 2 * MOST_CHANGES:  # older trials have older changes, but for those that run for long
                break
            if LEARNED in trial.user_attrs or not all(gene.name in trial.params for gene in genes):
                continue
            own = _by_interval(trial, interval, sign)
            start, parent = trial.system_attrs.get(STEP, 0) // interval, trial.system_attrs.get(PARENT)
            parents = {} if parent is None else _by_interval(trials[parent], interval, sign)
            known = {start: parents[start], **own} if start in parents else own
            places = [gene.place(trial.params[gene.name]) for gene in genes]
            if not own and not trial.state.is_finished():
                self._waiting[trial.number] = places, known.get(start)
            for done, value in sorted(own.items()):
                if done - 1 in known:
                    self.gains.append(value - known[done - 1])
                    self._places.append(places)
                    self._before.append(known[done - 1])
                    self._times.append(done - 1)
        newest = sorted(range(len(self.gains)), key=lambda i: self._times[i])[-MOST_CHANGES:]
        for name in ("gains", "_places", "_before", "_times"):
            setattr(self, name, [getattr(self, name)[i] for i in newest])
        self._mean = float(np.mean(self._before)) if newest else 0.0
        self._deviation = (float(np.std(self._before)) if newest else 0.0) or 1.0

    def scaled_last(self, trial: FrozenTrial) -> float:
        """A trial's last value, where the values before the changes have mean 0 and deviation 1; 0 without a value."""
        known = _by_interval(trial, self._interval, self._sign)
        return (known[max(known)] - self._mean) / self._deviation if known else 0.0

    def rows(self) -> Floats:
        """Numbers from 0 to 1 and the scaled value before, a row for each change."""
        before = (np.array(self._before) - self._mean) / self._deviation
        found: Floats = np.column_stack([np.array(self._places), before])
        return found

    def times(self) -> Floats:
        """When each change began, in intervals."""
        return np.array(self._times, dtype=float)

    def scaled_gains(self) -> Floats:
        """The gains with mean 0 and deviation 1."""
        gains = np.array(self.gains)
        found: Floats = (gains - gains.mean()) / (gains.std() or 1.0)
        return found

    def pending(self, number: int, before: float, width: int) -> Floats:
        """Rows of the other copies that have no value yet."""
        rows = [
            [*places, before if value is None else (value - self._mean) / self._deviation]
            for each, (places, value) in self._waiting.items()
            if each != number
        ]
        return np.array(rows, dtype=float).reshape(-1, width + 1)


def _by_interval(trial: FrozenTrial, interval: int, sign: float) -> dict[int, float]:
    """The first value at or after each interval's end, larger ones better; NaN and infinite ones are left out."""
    found: dict[int, float] = {}
    for step, value in sorted(trial.intermediate_values.items()):
        if step >= interval and math.isfinite(value):
            found.setdefault(step // interval, sign * value)
    return found
