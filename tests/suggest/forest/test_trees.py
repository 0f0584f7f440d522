"""A forest: leaves have the mean of their rows, also of those that came after a tree was grown."""

from __future__ import annotations

import numpy as np
import pytest

from pilotune.pipeline.suggest.forest.pooled import PooledForest
from pilotune.pipeline.suggest.forest.trees import MOST_ROWS, Forest


def table(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features and targets of some rows."""
    features = np.random.default_rng(seed).random((count, 3))
    return features, 4 * features[:, 0] + features[:, 1]


def grown(features: np.ndarray, targets: np.ndarray, rows: int, trees: int = 8) -> Forest:
    """A forest that knows the first rows."""
    forest = Forest(trees, np.random.default_rng(1))
    for _ in range(trees):
        forest.grow(np.arange(rows), targets, lambda chosen: features[chosen])
    return forest


def test_it_predicts_what_it_was_grown_from() -> None:
    features, targets = table(200)
    forest = grown(features, targets, 200, trees=50)
    fresh, wanted = table(100, seed=2)
    means, deviations = forest.predict(forest.values(targets), forest.nodes(fresh))
    assert np.abs(means - wanted).mean() < 0.3
    assert (deviations > 0).all()


def test_a_tree_alone_has_the_values_of_its_bag() -> None:
    features, targets = table(50)
    forest = grown(features, targets, 50, trees=1)
    bag = np.unique(forest._bags[0, :50])
    means, deviations = forest.predict(forest.values(targets), forest.nodes(features[bag]))
    assert means == pytest.approx(targets[bag], abs=1e-6)
    assert not deviations.any()
    means, _ = forest.predict(forest.values(2 * targets), forest.nodes(features[bag]))
    assert means == pytest.approx(2 * targets[bag], abs=1e-6)  # other targets need no other tree


def test_a_result_that_comes_later_counts_in_its_leaves_until_its_trees_are_grown_anew() -> None:
    features, targets = table(60)
    forest = grown(features, targets, 50)
    targets[55] = 100.0

    def at_the_row() -> float:
        means, _ = forest.predict(forest.values(targets), forest.nodes(features[55:56]))
        return float(means[0])

    before = at_the_row()
    forest.finish([55], features[55:56])
    after = at_the_row()
    assert before < 6 < 30 < after <= 52  # a leaf has one row or few
    for _ in range(forest.count):
        forest.grow(np.arange(60), targets, lambda chosen: features[chosen])
    assert forest._grown_at.min() == forest._finished_at[forest._late[55]]  # it counts only where it is in a bag
    assert at_the_row() > 20


def test_a_running_trial_counts_as_what_it_is_taken_for() -> None:
    features, targets = table(60)
    forest = grown(features, targets, 50)
    forest.place([55], features[55:56])
    nodes, unknown = forest.nodes(features[55:56]), targets.copy()
    unknown[55] = np.nan
    plain = forest.predict(forest.values(unknown), nodes)[0]
    unknown[55] = 50.0
    lied = forest.predict(forest.values(unknown), nodes)[0]
    assert lied[0] > plain[0] + 10
    forest.grow(np.arange(50), targets, lambda chosen: features[chosen])  # trees that are grown now do not know it
    assert forest.predict(forest.values(unknown), forest.nodes(features[55:56]))[0][0] > plain[0] + 10


def test_rows_that_all_trees_know_are_dropped_and_running_ones_are_not() -> None:
    features, targets = table(2_000)
    forest = grown(features, targets, 20, trees=4)
    forest.place([1_999], features[1_999:])
    for row in range(20, 1_000):
        forest.finish([row], features[row : row + 1])
        forest.grow(np.arange(row + 1), targets, lambda chosen: features[chosen])
    assert 1_999 in forest._late
    assert len(forest._finished_at) <= 128
    assert np.isfinite(forest.values(targets)).all()


def test_bags_are_bounded() -> None:
    features, targets = table(5_000)
    forest = grown(features, targets, 5_000, trees=3)
    assert forest._bags.shape == (3, MOST_ROWS)
    assert len(np.unique(forest._bags)) > 2 * MOST_ROWS


def test_a_pool_is_where_its_candidates_are() -> None:
    features, targets = table(100)
    pool, others = table(40, seed=3)[0], table(10, seed=4)[0]
    forest = PooledForest(6, np.random.default_rng(0))
    forest.grow(3, np.arange(80), targets, lambda chosen: features[chosen])
    forest.fill(pool)
    assert forest.missing == 3
    forest.grow(5, np.arange(80), targets, lambda chosen: features[chosen])
    which = np.arange(5, 15)
    forest.renew(which, others)
    pool[which] = others
    forest.learn([90], [91, 92], lambda rows: features[rows])
    kept, anew = forest.predict(targets), forest.predict(targets, pool)
    assert kept[0].tolist() == anew[0].tolist()
    assert kept[1].tolist() == anew[1].tolist()
