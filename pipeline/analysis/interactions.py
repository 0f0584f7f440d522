"""Finds the pairs of parameters that act together: the part of the variance that only both at once explain.

This is the second order of fANOVA (Hutter, Hoos, Leyton-Brown, *An Efficient Approach for Assessing Hyperparameter
Importance*, 2014). A random forest is fitted to the values, and its mean over all other parameters is computed on a
grid of the two. What varies there, beyond what each of the two explains alone, is their interaction; its share is
relative to the variance of the whole forest. The mean of the trees is decomposed, not each tree by itself: a single
tree shows interactions of an additive function, since it splits a range in one of its branches and not in another.

A share may be chance, as a parameter's own may. So the values are replaced by those of a study without interactions
(what the forest says of each parameter alone, and the rest shuffled between the trials), twenty times. A pair is told
from chance if its share is above that of every pair in all of them.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .evaluators import Target

if TYPE_CHECKING:
    import numpy as np
    from optuna.trial import FrozenTrial

LEAST_TRIALS = 20
"""Nothing is said with fewer trials."""
MOST_TRIALS = 300
"""Trials that are used; of more, an even choice. It bounds the time to some seconds."""
MOST_PARAMETERS = 8
"""So many parameters are paired, those by which the forest splits best."""
TREES, ROUNDS = 16, 20
"""Trees in each forest. Shuffles, and draws for the intervals, which leave out the least and the largest share."""
CELLS = 24
"""Cells of the grid for each parameter; for choices and whole numbers, no more than they have values."""
POINTS = 2048
"""Points of the grid where the forest is evaluated for its variance."""
DOMINANT = 0.1
"""An interaction is spoken of, if it has this share and each of the two parameters has less by itself."""


@dataclass(frozen=True)
class Interaction:
    """What two parameters explain only together.

    Attributes:
        pair: Their names.
        share: The share in the variance of the values over the space.
        alone: The share that each of them has by itself.
        interval: The ends of a 90 % interval of ``share``, which holds ``share`` itself too: of drawn trials, of which
            some are the same, a forest learns less, and the less it learns, the smaller an interaction.
        chance: The largest share of any pair in the studies without interactions.
        certain: Whether the share is hardly chance.
    """

    pair: tuple[str, str]
    share: float
    alone: tuple[float, float]
    interval: tuple[float, float]
    chance: float
    certain: bool

    @property
    def dominates(self) -> bool:
        """Whether the two do more together than each of them by itself."""
        return self.certain and self.share >= max(DOMINANT, *self.alone)


def interactions(
    trials: Sequence[FrozenTrial], names: Sequence[str], target: Target
) -> tuple[tuple[Interaction, ...], str]:
    """The interactions of the parameters, largest first.

    Args:
        trials: Complete ones with finite values.
        names: Parameters that all of them have, with the same distribution.
        target: What to explain, by trial.

    Returns:
        The interactions, and why there are none ("" if there are).
    """
    first = trials[0].distributions if trials else {}
    names = [name for name in names if not first[name].single()]
    if len(names) < 2:
        return (), "it takes two parameters that every complete trial has"
    if len(trials) < LEAST_TRIALS:
        return (), f"it takes {LEAST_TRIALS} complete trials"
    if importlib.util.find_spec("sklearn") is None:
        return (), "that needs scikit-learn, which is not installed: pip install scikit-learn"
    chosen = trials[:: -(-len(trials) // MOST_TRIALS)]
    return _measured(chosen, names, target), ""


def _measured(trials: Sequence[FrozenTrial], names: Sequence[str], target: Target) -> tuple[Interaction, ...]:
    import numpy as np

    grids = [_Grid(trials[0].distributions[name]) for name in names]
    table = np.array([[grid.cell(trial.params[name]) for name, grid in zip(names, grids, strict=True)]
                      for trial in trials])  # fmt: skip
    values = np.array([target(trial) for trial in trials])
    forest = _Forest(table, values, [grid.cells for grid in grids], seed=0)
    order = forest.by_splits()[:MOST_PARAMETERS]
    pairs = list(itertools.combinations(sorted(order), 2))
    shares = forest.shares(pairs)
    additive = forest.additive(table)
    drawn: list[np.ndarray] = []
    chance = 0.0
    for seed in range(ROUNDS):
        rng = np.random.default_rng(seed)
        apart = additive + rng.permutation(values - additive)
        chance = max(chance, float(_Forest(table, apart, forest.cells, seed).shares(pairs).max()))
        rows = np.array(random.Random(seed).choices(range(len(trials)), k=len(trials)))
        drawn.append(_Forest(table[rows], values[rows], forest.cells, seed).shares(pairs))
    ends = np.sort(np.array(drawn), axis=0)[[1, -2]]
    alone = forest.alone()
    found = [
        Interaction(
            pair=(names[one], names[two]),
            share=float(shares[i]),
            alone=(float(alone[one]), float(alone[two])),
            interval=(float(min(ends[0, i], shares[i])), float(max(ends[1, i], shares[i]))),
            chance=chance,
            certain=bool(shares[i] > chance),
        )
        for i, (one, two) in enumerate(pairs)
    ]
    return tuple(sorted(found, key=lambda each: -each.share))


class _Grid:
    """The cells of one parameter, on the scale that it is searched on.

    Args:
        distribution: The parameter's.

    Attributes:
        cells: The number of cells.
    """

    def __init__(self, distribution: Any) -> None:
        self._distribution = distribution
        choices = getattr(distribution, "choices", None)
        step = getattr(distribution, "step", None)
        if choices is not None:
            self.cells = len(choices)
        elif step and not distribution.log:
            self.cells = min(CELLS, round((distribution.high - distribution.low) / step) + 1)
        else:
            self.cells = CELLS

    def cell(self, value: Any) -> float:
        """Where a value lies in the cells: from -0.5 to ``cells - 0.5``; whole numbers are the middles."""
        distribution = self._distribution
        if getattr(distribution, "choices", None) is not None:
            return float(distribution.to_internal_repr(value))
        low, high = distribution.low, distribution.high
        if distribution.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        place = (value / 2 - low / 2) / (high / 2 - low / 2)  # halves: a difference may be beyond all floats
        discrete = bool(distribution.step) and not distribution.log
        return float(place * (self.cells - 1) if discrete else place * self.cells - 0.5)


class _Forest:
    """A random forest over the cells of a grid, and the means of its trees over some of the parameters.

    Args:
        table: The place of each trial in the cells of each parameter.
        values: By trial.
        cells: The number of cells by parameter.
        seed: Of the forest.
    """

    def __init__(self, table: np.ndarray, values: np.ndarray, cells: Sequence[int], seed: int) -> None:
        import numpy as np
        from sklearn.ensemble import RandomForestRegressor

        self.cells = list(cells)
        self._forest = RandomForestRegressor(n_estimators=TREES, random_state=seed).fit(table, values)
        boxes = [_leaves(tree.tree_, self.cells) for tree in self._forest.estimators_]
        starts = np.concatenate([start for start, _, _ in boxes])
        ends = np.concatenate([end for _, end, _ in boxes])
        means = np.concatenate([value for _, _, value in boxes])
        there = (ends > starts).all(axis=1)  # a leaf may hold no middle of a cell
        self._starts, self._ends = starts[there], ends[there]
        self._widths = (self._ends - self._starts) / np.array(self.cells)
        self._weights = means[there] * self._widths.prod(axis=1) / TREES
        self._mean = float(self._weights.sum())
        rng = np.random.default_rng(0)
        points = np.column_stack([rng.integers(number, size=POINTS) for number in self.cells]).astype(float)
        self._variance = float(np.var(self._forest.predict(points)))
        self._curves = [self._curve(column) - self._mean for column in range(len(self.cells))]

    def by_splits(self) -> list[int]:
        """The parameters, those first by which the trees split best; what acts only together with others counts."""
        return [int(column) for column in (-self._forest.feature_importances_).argsort(kind="stable")]

    def alone(self) -> np.ndarray:
        """The share of each parameter by itself."""
        import numpy as np

        return np.array([self._share(float(np.mean(curve**2))) for curve in self._curves])

    def shares(self, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
        """The share of each pair's interaction."""
        import numpy as np

        return np.array([self._share(float(np.mean(self._together(one, two) ** 2))) for one, two in pairs])

    def additive(self, table: np.ndarray) -> np.ndarray:
        """What the forest says of each trial by each parameter alone."""
        import numpy as np

        total = np.full(len(table), self._mean)
        for column, curve in enumerate(self._curves):
            nearest = np.clip(np.rint(table[:, column]), 0, len(curve) - 1).astype(int)
            total += curve[nearest]
        return total

    def _share(self, variance: float) -> float:
        return min(1.0, variance / self._variance) if self._variance > 0.0 else 0.0

    def _curve(self, column: int) -> np.ndarray:
        """The mean over all other parameters, by cell of one."""
        import numpy as np

        changes = np.zeros(self.cells[column] + 1)
        weights = self._weights / self._widths[:, column]
        np.add.at(changes, self._starts[:, column], weights)
        np.subtract.at(changes, self._ends[:, column], weights)
        curve: np.ndarray = np.cumsum(changes)[:-1]
        return curve

    def _together(self, one: int, two: int) -> np.ndarray:
        """The mean over all others by cell of two, without what each of them explains alone."""
        import numpy as np

        changes = np.zeros((self.cells[one] + 1, self.cells[two] + 1))
        weights = self._weights / (self._widths[:, one] * self._widths[:, two])
        for rows, first in ((self._starts[:, one], 1.0), (self._ends[:, one], -1.0)):
            for columns, second in ((self._starts[:, two], 1.0), (self._ends[:, two], -1.0)):
                np.add.at(changes, (rows, columns), first * second * weights)
        surface = np.cumsum(np.cumsum(changes, axis=0), axis=1)[:-1, :-1]
        apart: np.ndarray = surface - self._mean - self._curves[one][:, None] - self._curves[two][None, :]
        return apart


def _leaves(tree: Any, cells: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first cell of each leaf of a tree, the one after its last, and its value."""
    import numpy as np

    starts = np.zeros((tree.node_count, len(cells)), dtype=int)
    ends = np.tile(np.array(cells), (tree.node_count, 1))
    left, right, feature = tree.children_left, tree.children_right, tree.feature
    after = np.floor(tree.threshold).astype(int) + 1  # the first cell whose middle is above the threshold
    level = np.array([0])
    while len(level := level[left[level] >= 0]):
        column = feature[level]
        for children in (left[level], right[level]):
            starts[children], ends[children] = starts[level], ends[level]
        ends[left[level], column] = np.minimum(ends[level, column], np.maximum(after[level], 0))
        starts[right[level], column] = np.maximum(starts[level, column], after[level])
        level = np.concatenate([left[level], right[level]])
    leaves = left < 0
    return starts[leaves], ends[leaves], tree.value[leaves, 0, 0]
