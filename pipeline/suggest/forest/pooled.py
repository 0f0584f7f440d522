"""A forest and where the candidates of a pool lie in it, which is kept while trees stay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .trees import Features, Forest


class PooledForest:
    """A forest and the leaves of candidates.

    Args:
        trees: The number of trees.
        rng: Its random numbers.
    """

    def __init__(self, trees: int, rng: np.random.Generator) -> None:
        self._forest = Forest(trees, rng)
        self._features: np.ndarray | None = None  # of the pool
        self._nodes = np.zeros((trees, 0), dtype=np.int32)

    @property
    def missing(self) -> int:
        """The number of trees that have not been grown yet."""
        return self._forest.count - self._forest.grown

    def learn(self, running: Sequence[int], ended: Sequence[int], features_of: Features) -> None:
        """Trials of these rows run with a configuration, or have ended."""
        if running:
            self._forest.place(running, features_of(np.array(running)))
        if ended:
            self._forest.finish(ended, features_of(np.array(ended)))

    def grow(self, trees: int, rows: np.ndarray, targets: np.ndarray, features_of: Features) -> None:
        """Grow the oldest trees anew; see :meth:`Forest.grow`."""
        for _ in range(trees):
            tree = self._forest.grow(rows, targets, features_of)
            if self._features is not None:
                self._nodes[tree] = self._forest.nodes(self._features, tree)

    def fill(self, features: np.ndarray) -> None:
        """Take over a pool: the features of all its candidates. Trees that are grown later look at it as well."""
        self._features = np.asarray(features, dtype=np.float32)
        self._nodes = np.zeros((self._forest.count, len(features)), dtype=np.int32)
        for tree in range(self._forest.grown):
            self._nodes[tree] = self._forest.nodes(self._features, tree)

    def renew(self, which: np.ndarray, features: np.ndarray) -> None:
        """Some candidates of the pool are others now."""
        assert self._features is not None
        self._features[which] = features
        self._nodes[:, which] = self._forest.nodes(features)

    def predict(self, targets: np.ndarray, features: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The means and standard deviations, over trees, of configurations, or of the pool.

        Args:
            targets: By row; NaN: the row does not count.
            features: Of the configurations; None: those of the pool.
        """
        values = self._forest.values(targets)
        nodes = self._nodes if features is None else self._forest.nodes(features)
        return self._forest.predict(values, nodes)
