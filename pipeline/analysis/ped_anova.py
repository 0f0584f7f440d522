"""Computes PED-ANOVA: how much each parameter has to do with whether a trial is among the best tenth.

The shares are those of Optuna's ``PedAnovaImportanceEvaluator``, to which a test compares them. Here arrays are made
once, since the importance of a study takes 41 evaluations of the same trials; and importing Optuna's evaluator takes
two seconds, because scikit-learn comes with it. (Watanabe, Bansal, Hutter, *PED-ANOVA: Efficiently
Quantifying Hyperparameter Importance in Arbitrary Subspaces*, 2023, and *Conditional PED-ANOVA*, 2026.)
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .evaluators import COPY, Target, failing
from .reading import StudyData

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

BEST = 0.1
"""The share of the trials that is compared with all of them."""

CELLS = 50
"""Most cells of a range; a parameter's values are counted by cell."""

LEAST = 2
"""Trials with the same range of a parameter; fewer are left out."""

PRIOR = 1.0
"""Weight of the prior, in trials."""

TINY = 1e-12
"""Added to each density."""

Whole = npt.NDArray[np.int64]
Density = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Range:
    """One distribution of a parameter.

    Attributes:
        size: The number of its cells or choices; 0 where it has only one value, so that it can make no difference.
        choices: It has choices, which are in no order.
    """

    size: int
    choices: bool


@dataclass(frozen=True)
class Column:
    """The values of one parameter.

    Attributes:
        ranges: The different distributions that trials have for it.
        which: The place of each trial's among them; -1 where it does not have the parameter.
        cells: The cell of each trial's value in its range.
        groups: The trials between which values may be shuffled: those with exactly the same distribution.
    """

    ranges: Sequence[Range]
    which: Whole
    cells: Whole
    groups: Sequence[Sequence[int]]

    def shuffled(self, rng: random.Random) -> Column:
        """The same values, shuffled between the trials."""
        order = np.arange(len(self.which))
        for places in self.groups:
            mixed = list(places)
            rng.shuffle(mixed)
            order[list(places)] = mixed
        return replace(self, which=self.which[order], cells=self.cells[order])


def column(trials: Sequence[FrozenTrial], name: str) -> Column:
    """One parameter's values. A value outside of its range, which a sampler of a user's may have returned, is left out.

    Raises ValueError, TypeError or OverflowError where a value is none that its distribution could have.
    """
    from optuna.distributions import distribution_to_json

    places: dict[BaseDistribution, int] = {}
    known: dict[int, tuple[int, str]] = {}  # by the distribution's id: most trials share theirs
    groups: dict[str, list[int]] = defaultdict(list)
    which = np.full(len(trials), -1, dtype=np.int64)
    for at, trial in enumerate(trials):
        distribution = trial.distributions.get(name)
        if distribution is None:
            continue
        if id(distribution) not in known:
            place = places.setdefault(distribution, len(places))
            known[id(distribution)] = place, distribution_to_json(distribution)
        place, text = known[id(distribution)]
        groups[text].append(at)
        if distribution._contains(distribution.to_internal_repr(trial.params[name])):
            which[at] = place
    cells, ranges = np.zeros(len(trials), dtype=np.int64), []
    for distribution, place in places.items():
        chosen = np.flatnonzero(which == place)
        made, cells[chosen] = _in_cells(distribution, [trials[i].params[name] for i in chosen.tolist()])
        ranges.append(made)
    return Column(ranges, which, cells, list(groups.values()))


def _in_cells(distribution: Any, values: Sequence[Any]) -> tuple[Range, Whole]:
    """The distribution as a range, and the cell of each value."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if distribution.single():
        return Range(0, choices=False), np.zeros(len(values), dtype=np.int64)
    if isinstance(distribution, CategoricalDistribution):
        places = [int(distribution.to_internal_repr(value)) for value in values]
        return Range(len(distribution.choices), choices=True), np.array(places, dtype=np.int64)
    low, high, cells = float(distribution.low), float(distribution.high), CELLS
    at = np.array(values, dtype=np.float64)
    if isinstance(distribution, IntDistribution) and distribution.log:
        cells = min(math.ceil(math.log(distribution.high - distribution.low + 1) / math.log(2)) + 1, CELLS)
    elif distribution.step is not None:
        cells = min(round((distribution.high - distribution.low) / distribution.step) + 1, CELLS)
    if distribution.log:
        low, high, at = math.log(low), math.log(high), np.log(at)
    found = np.ceil((at - low) / ((high - low) / (cells - 1)) - 0.5).astype(np.int64)
    return Range(cells, choices=False), np.clip(found, 0, cells - 1)


def importances(columns: Mapping[str, Column], loss: Density, chosen: Whole | None = None) -> dict[str, float]:
    """The importance of each parameter, not normalized.

    Args:
        columns: The parameters' values.
        loss: What each trial reached; small numbers are good.
        chosen: The places of the trials to use; a trial that is in it twice counts twice. None: all, once.
    """
    chosen = np.arange(len(loss)) if chosen is None else chosen
    loss = loss[chosen]
    last = math.ceil(BEST * len(loss)) - 1
    best = loss <= np.partition(loss, last)[last]
    return {name: _importance(each, chosen, best) for name, each in columns.items()}


def _importance(column: Column, chosen: Whole, best: npt.NDArray[np.bool_]) -> float:
    """The importance of one parameter: of each range, how much its values among the best trials differ from all."""
    which, cells, total = column.which[chosen], column.cells[chosen], 0.0
    for place, each in enumerate(column.ranges):
        here = which == place
        among_best = here & best
        if each.size == 0 or here.sum() < LEAST or not among_best.any():
            continue
        density = _density_of_choices if each.choices else _density
        of_best = density(np.bincount(cells[among_best], minlength=each.size)) + TINY
        of_all = density(np.bincount(cells[here], minlength=each.size)) + TINY
        weight = (among_best.sum() / best.sum()) ** 2 / (here.sum() / len(chosen))
        total += float(weight * (of_all @ (of_best / of_all - 1.0) ** 2))
    return total * float(best.sum() / len(chosen)) ** 2


def _density_of_choices(counts: Whole) -> Density:
    """The probability of each choice: a kernel for each choice that occurs, and the prior."""
    kernels, total = np.count_nonzero(counts) + 1, counts.sum()
    smoothed = (total * PRIOR / kernels + counts) / (len(counts) * PRIOR / kernels + 1.0)
    return np.asarray((smoothed + PRIOR / len(counts)) / (total + PRIOR), dtype=np.float64)


def _density(counts: Whole) -> Density:
    """The probability of each cell: Gaussian kernels, as wide as Scott's rule says, and the prior."""
    size, at = len(counts), np.flatnonzero(counts)
    weights, total = counts[at], counts.sum()
    so_far = np.cumsum(weights)
    mean = (at @ weights) / total
    deviation = np.sqrt(((at - mean) ** 2 @ weights) / max(1, total - 1))
    first = at[np.searchsorted(so_far, total // 4, side="left")]
    third = at[min(len(at) - 1, np.searchsorted(so_far, total * 3 // 4, side="right"))]
    width = max(1.059 * min((third - first) / 1.34, deviation) * total**-0.2, 0.5 / 1.64)
    # The kernels are in the middles of cells, so that their integrals need the edges' distances only.
    edges = _cumulative((np.arange(1 - size, size + 1) - 0.5) / width)
    below = np.arange(size)[None, :] - at[:, None] + size - 1
    mass = (edges[below + 1] - edges[below]) / (edges[2 * size - 1 - at] - edges[size - 1 - at])[:, None]
    return np.asarray((weights @ mass + PRIOR * _prior(size)) / (total + PRIOR), dtype=np.float64)


@lru_cache(maxsize=CELLS)
def _prior(size: int) -> Density:
    """The prior's probability of each cell: one wide kernel in the middle."""
    edges = _cumulative((np.arange(size + 1) - 0.5 - (size - 1) / 2) / size)
    return np.asarray(np.diff(edges) / (edges[-1] - edges[0]))


def _cumulative(places: Density) -> Density:
    """The standard normal distribution function."""
    return np.array([0.5 * math.erf(each) for each in (places / math.sqrt(2.0)).tolist()])


class PedAnovaEvaluations:
    """PED-ANOVA of one objective, on arrays of the trials that are made once.

    Args:
        data: The study with the trials to use.
        target: What to explain; less is better.
    """

    def __init__(self, data: StudyData, target: Target):
        self.study, names = data.name, {name: None for trial in data.trials for name in trial.distributions}
        with failing(data.name):
            self.columns = {name: column(data.trials, name) for name in names}
            self.loss = np.array([target(trial) for trial in data.trials], dtype=np.float64)

    def whole(self) -> dict[str, float]:
        with failing(self.study):
            return importances(self.columns, self.loss)

    def with_copies(self, params: Sequence[str], seed: int) -> dict[str, float]:
        rng = random.Random(seed)
        copies = {name + COPY: self.columns[name].shuffled(rng) for name in params}
        with failing(self.study):
            return importances({**self.columns, **copies}, self.loss)

    def drawn(self, seed: int) -> dict[str, float]:
        every = range(len(self.loss))
        with failing(self.study):
            return importances(self.columns, self.loss, np.array(random.Random(seed).choices(every, k=len(every))))
