"""Selection of members: never worse than the best model, and the same for any order of models."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotune.pipeline.ensemble import scores, selection
from pilotune.pipeline.ensemble.losses import Accuracy, LogLoss, Loss, of_classes, of_normals

from .catalogs import classes, normals

LOSSES = ("nll", "crps", "rmse", "log loss", "accuracy")


def made(name: str, seed: int, order: Sequence[int] = range(12)) -> Loss:
    """A loss of this name on a made-up catalog, whose models stand in ``order``."""
    if name in ("log loss", "accuracy"):
        probabilities, y = classes(seed)
        return of_classes("nll" if name == "log loss" else name, probabilities[list(order)], y)
    mean, std, truth = normals(seed)
    return of_normals(name, mean[list(order)], std[list(order)], truth)


def scored(name: str, seed: int, weights: np.ndarray) -> float:
    """The same loss by :mod:`.scores`."""
    if name in ("log loss", "accuracy"):
        probabilities, y = classes(seed)
        if name == "log loss":
            return scores.log_loss(probabilities, y, weights)
        return 1 - scores.accuracy(probabilities, y, weights)
    mean, std, truth = normals(seed)
    if name == "rmse":
        return scores.rmse(mean, truth, weights)
    return getattr(scores, name)(mean, std, truth, weights)


@given(st.sampled_from(LOSSES), st.integers(0, 10_000), st.integers(1, 6), st.sampled_from([0, 3]))
@settings(max_examples=20, deadline=None)
def test_greedy_never_loses_to_the_best_model(name, seed, members, bags):
    weights = selection.greedy(made(name, seed), members, bags=bags, seed=seed)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    assert 1 <= np.count_nonzero(weights) <= members
    best = min(scored(name, seed, single) for single in np.eye(len(weights)))
    assert scored(name, seed, weights) <= best + 1e-12


@given(st.sampled_from(LOSSES), st.integers(0, 10_000), st.sampled_from([0, 3]), st.randoms(use_true_random=False))
@settings(max_examples=12, deadline=None)
def test_the_order_of_models_changes_nothing(name, seed, bags, random):
    order = list(range(12))
    random.shuffle(order)
    first, second = made(name, seed), made(name, seed, order)
    weights = selection.greedy(first, 4, bags=bags, seed=7)
    assert np.array_equal(selection.greedy(second, 4, bags=bags, seed=7), weights[order])
    assert np.array_equal(selection.top_k(second.alone, 4), selection.top_k(first.alone, 4)[order])


@given(st.sampled_from(LOSSES), st.integers(0, 10_000), st.lists(st.integers(0, 11), min_size=1, max_size=8))
@settings(max_examples=30, deadline=None)
def test_a_sum_has_the_loss_of_its_members_together(name, seed, added):
    loss = made(name, seed)
    ensemble = loss.empty()
    for model in added[:-1]:
        ensemble.add(model)
    found = ensemble.with_each(np.arange(12))[added[-1]]
    weights = np.bincount(added, minlength=12) / len(added)
    assert loss.of(weights) == pytest.approx(found, rel=1e-9)
    if name != "accuracy":
        assert scored(name, seed, weights) == pytest.approx(found, rel=1e-9)


@pytest.mark.parametrize("name", LOSSES)
def test_each_step_adds_the_model_that_lowers_the_loss_most(name, monkeypatch):
    loss = made(name, 5)

    def weights(models: list[int]) -> np.ndarray:
        return np.bincount(models, minlength=12) / len(models)

    chosen: list[int] = []
    for _ in range(8):
        chosen.append(min(range(12), key=lambda model: loss.of(weights([*chosen, model]))))
    by_hand = min((weights(chosen[:length]) for length in range(1, 9)), key=loss.of)
    monkeypatch.setattr(selection, "STEPS", 8)
    assert loss.of(selection.greedy(loss, 12)) == pytest.approx(loss.of(by_hand))


def test_two_models_that_err_in_opposite_ways_are_chosen_together():
    y = np.zeros(10)
    mean = np.stack([y + 1, y - 1, y + 0.9])
    assert selection.greedy(of_normals("rmse", mean, np.ones((3, 10)), y), 2).tolist() == pytest.approx(
        [0, 0.47, 0.53], abs=0.03
    )


def test_once_there_are_enough_members_only_these_gain_weight():
    for seed, members in itertools.product(range(5), (1, 2, 3)):
        weights = selection.greedy(made("nll", seed), members)
        assert np.count_nonzero(weights) <= members


def test_a_model_twice_in_the_catalog_is_no_advantage():
    mean, std, y = normals(2)
    twice = np.r_[0:12, 0]
    alone = of_normals("nll", mean, std, y)
    doubled = of_normals("nll", mean[twice], std[twice], y)
    assert doubled.of(selection.greedy(doubled, 4)) == pytest.approx(alone.of(selection.greedy(alone, 4)))


def test_bags_draw_half_of_the_models_and_keep_the_heaviest():
    mean, std, y = normals(1)
    like = np.random.default_rng(0).normal(y, 0.8, size=mean.shape)  # models that are equally good
    loss = of_normals("crps", like, std, y)
    one, other = (selection.greedy(loss, 3, bags=5, seed=seed) for seed in (0, 1))
    assert np.count_nonzero(one) == 3
    assert not np.array_equal(one, other)
    assert np.array_equal(one, selection.greedy(loss, 3, bags=5, seed=0))


def test_bags_that_miss_the_only_good_model_do_not_count():
    mean, std, y = normals(1)
    mean[3] = y
    loss = of_normals("rmse", mean, std, y)
    assert selection.greedy(loss, 3, bags=5).tolist() == np.eye(12)[3].tolist()


def test_models_that_are_certain_and_wrong_do_not_break_the_others():
    probabilities, y = classes(0)
    probabilities[0] = 0.0
    probabilities[0, np.arange(60), (y + 1) % 3] = 1.0
    weights = selection.greedy(LogLoss(probabilities, y), 4)
    assert weights[0] == 0
    mean, std, truth = normals(0)
    std[0] = 1e-200
    assert selection.greedy(of_normals("nll", mean, std, truth), 4)[0] == 0


def test_equal_probabilities_count_as_the_first_class():
    votes = np.array([[[0.5, 0.5], [0.5, 0.5]]])
    loss = Accuracy(votes, [0, 1])
    assert loss.alone[0] == pytest.approx((1 + 0.25) / 2)
    assert scores.accuracy(votes, [0, 1]) == 0.5


@pytest.mark.parametrize("members", [0, 13])
def test_a_number_of_members_that_cannot_be_is_refused(members):
    loss = made("nll", 0)
    with pytest.raises(ValueError, match="members must be from 1 to 12"):
        selection.greedy(loss, members)
    with pytest.raises(ValueError, match="members must be from 1 to 12"):
        selection.top_k(loss.alone, members)


def test_a_loss_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="the loss of model 1 is not a number"):
        selection.top_k([0.0, np.nan], 1)
