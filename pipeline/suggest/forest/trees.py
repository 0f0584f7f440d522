"""A random forest whose trees are grown anew one by one, and whose leaves follow the results that come between.

A tree is kept as a partition of the space and the rows of its bag in each leaf, not as values. So a leaf's value is
always the mean of what its rows are worth now: results that came after the tree was grown count in the leaf where they
lie, and running trials with whatever they are taken for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

MOST_ROWS = 400
"""Most rows in the bag of a tree; of more, so many are drawn for each tree."""
NODES = 2 * MOST_ROWS
"""Most nodes of a tree."""
NEVER = np.iinfo(np.int64).max
"""When running trials finish, so far."""

Features = Callable[[np.ndarray], np.ndarray]
"""The features of rows."""


class Forest:
    """A forest over the rows of a table that grows.

    Args:
        trees: The number of trees.
        rng: Its random numbers.

    Attributes:
        grown: The trees that have been grown so far.
    """

    def __init__(self, trees: int, rng: np.random.Generator) -> None:
        self._rng, self.count, self.grown = rng, trees, 0
        self._state = np.random.RandomState(int(rng.integers(2**31)))  # scikit-learn takes no other
        self._trees: list[Any] = [None] * trees
        self._next = 0
        self._nowhere = trees * NODES
        self._bags = np.zeros((trees, MOST_ROWS), dtype=np.int64)  # rows, as many as have a node
        self._bag_nodes = np.full((trees, MOST_ROWS), self._nowhere, dtype=np.int32)
        self._largest = 0  # bag
        self._time, self._grown_at = 0, np.zeros(trees, dtype=np.int64)
        self._late: dict[int, int] = {}  # by row that some tree does not know: its column in what follows
        self._late_nodes = np.zeros((trees, 0), dtype=np.int32)
        self._late_features = np.zeros((0, 0), dtype=np.float32)
        self._finished_at = np.zeros(0, dtype=np.int64)

    @property
    def ready(self) -> bool:
        """Whether all trees have been grown."""
        return self.grown == self.count

    def grow(self, rows: np.ndarray, targets: np.ndarray, features_of: Features) -> int:
        """Grow the oldest tree anew.

        Args:
            rows: That have a target, and are no running trials.
            targets: By row.
            features_of: Of rows.

        Returns:
            The number of the tree.
        """
        from sklearn import config_context
        from sklearn.tree import DecisionTreeRegressor

        tree, self._next = self._next, (self._next + 1) % self.count
        chosen = rows[self._rng.integers(len(rows), size=min(len(rows), MOST_ROWS))]
        grower = DecisionTreeRegressor(random_state=self._state)
        bag = np.asarray(features_of(chosen), dtype=np.float32)
        with config_context(skip_parameter_validation=True, assume_finite=True):
            grower.fit(bag, targets[chosen], check_input=False)
        self._trees[tree] = grower.tree_
        count = len(chosen)
        self._bags[tree, :count], self._bag_nodes[tree, :count] = chosen, self.nodes(bag, tree)
        self._bag_nodes[tree, count:] = self._nowhere
        self._largest = max(self._largest, count)
        self._grown_at[tree] = self._time
        self.grown = max(self.grown, min(self.count, tree + 1))
        if len(self._late):
            self._late_nodes[tree] = self.nodes(self._late_features, tree)
        return tree

    # -- rows that trees do not know ----------------------------------------------------------------------------------

    def place(self, rows: Sequence[int], features: np.ndarray) -> None:
        """Running trials have a configuration from now on. ``features``: a row each."""
        self._add(rows, features, NEVER)

    def finish(self, rows: Sequence[int], features: np.ndarray) -> None:
        """Trials have ended: trees that are grown from now on know them. ``features``: a row each."""
        self._time += 1
        if self.grown:
            self._add(rows, features, self._time)

    def _add(self, rows: Sequence[int], features: np.ndarray, finished_at: int) -> None:
        features = np.asarray(features, dtype=np.float32)
        new = len(set(rows) - self._late.keys())
        if len(self._late) + new > len(self._finished_at):
            self._make_room(new, features.shape[1])
        columns = np.array([self._late.setdefault(row, len(self._late)) for row in rows])
        moved = (self._finished_at[columns] == 0) | (self._late_features[columns] != features).any(axis=1)
        self._finished_at[columns] = finished_at
        if moved.any():
            columns, features = columns[moved], features[moved]
            self._late_features[columns] = features
            for tree in range(self.grown):
                self._late_nodes[tree, columns] = self.nodes(features, tree)

    def _make_room(self, more: int, width: int) -> None:
        """Drop the columns of rows that all trees know, and make room for more."""
        first = int(self._grown_at.min()) if self.ready else -1
        left = [(row, column) for row, column in self._late.items() if self._finished_at[column] > first]
        columns = np.array([column for _, column in left], dtype=int)
        self._late = {row: column for column, (row, _) in enumerate(left)}
        room = max(32, more, len(left) // 2)
        features = self._late_features[columns].reshape(len(left), width)
        self._late_features = np.concatenate([features, np.zeros((room, width), dtype=np.float32)])
        nodes = self._late_nodes[:, columns]
        self._late_nodes = np.concatenate([nodes, np.zeros((self.count, room), dtype=np.int32)], axis=1)
        self._finished_at = np.concatenate([self._finished_at[columns], np.zeros(room, dtype=np.int64)])

    # -- predictions --------------------------------------------------------------------------------------------------

    def nodes(self, features: np.ndarray, tree: int | None = None) -> np.ndarray:
        """The leaves of configurations in all trees (a row each), or in one of them, for :meth:`predict`."""
        features = np.asarray(features, dtype=np.float32)
        if tree is not None:
            return np.asarray(self._trees[tree].apply(features) + tree * NODES, dtype=np.int32)
        return np.stack([self.nodes(features, each) for each in range(self.count)])

    def values(self, targets: np.ndarray) -> np.ndarray:
        """The value of each leaf, the mean over its rows.

        Args:
            targets: By row; NaN: the row does not count.
        """
        late = np.fromiter(self._late, dtype=np.int64, count=len(self._late))
        unknown = self._finished_at[: len(late)][None, :] > self._grown_at[:, None]
        nodes = [
            self._bag_nodes[:, : self._largest],
            np.where(unknown, self._late_nodes[:, : len(late)], self._nowhere),
        ]
        rows = [self._bags[:, : self._largest], np.broadcast_to(late, unknown.shape)]
        where, worth = np.concatenate([each.ravel() for each in nodes]), targets[np.concatenate(rows, axis=None)]
        lacking = np.isnan(worth)
        if lacking.any():
            where, worth = np.where(lacking, self._nowhere, where), np.where(lacking, 0.0, worth)
        sums, counts = np.bincount(where, worth, self._nowhere + 1), np.bincount(where, minlength=self._nowhere + 1)
        mean = sums[:-1].sum() / max(1, counts[:-1].sum())  # of a leaf whose trials have vanished
        return np.where(counts > 0, sums / np.maximum(counts, 1), mean).astype(np.float32)

    def predict(self, values: np.ndarray, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The means and standard deviations, over trees, of configurations.

        Args:
            values: Of :meth:`values`.
            nodes: Of :meth:`nodes`.
        """
        by_tree = values.take(nodes)
        means = by_tree.mean(axis=0)
        by_tree -= means
        variances = np.einsum("ij,ij->j", by_tree, by_tree) / self.count
        return means.astype(float), np.sqrt(variances).astype(float)
