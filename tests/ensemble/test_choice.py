"""An ensemble is chosen by some rows and compared on others."""

from __future__ import annotations

import numpy as np
import pytest

from pilotune.errors import UserError
from pilotune.pipeline.ensemble import choice, scores
from pilotune.pipeline.ensemble.choice import calibration_curves, choose
from pilotune.pipeline.ensemble.held import Predictions

from .catalogs import classes, normals

NONE = np.empty(0)


def numbers(seed: int = 0, rows: int = 90) -> Predictions:
    mean, std, y = normals(seed, rows=rows)
    return Predictions(tuple(range(12)), y, mean, std, NONE)


def labels(seed: int = 0) -> Predictions:
    probabilities, y = classes(seed)
    return Predictions(tuple(range(12)), y, NONE, NONE, probabilities)


def test_a_third_of_the_rows_is_set_aside():
    held = numbers()
    chosen = choose(held)
    assert (len(chosen.predictions.y), len(chosen.check.y)) == (60, 30)
    assert sorted([*chosen.predictions.y, *chosen.check.y]) == sorted(held.y)
    other = choose(held, seed=1)
    assert not np.array_equal(other.check.y, chosen.check.y)


def test_rows_that_trials_have_kept_for_checks_are_taken_instead():
    held, check = numbers(0), numbers(1, rows=5)
    chosen = choose(held, check)
    assert chosen.predictions is held
    assert chosen.check is check
    assert chosen.scores(chosen.weights)["nll"] == scores.nll(check.mean, check.std, check.y, chosen.weights)


@pytest.mark.parametrize(("made", "loss"), [(numbers, "nll"), (numbers, "crps"), (numbers, "rmse"),
                                            (labels, "nll"), (labels, "accuracy")])  # fmt: skip
@pytest.mark.parametrize("select", ["greedy", "topk"])
def test_members_are_listed_by_weight_with_their_own_loss(made, loss, select):
    chosen = choose(made(), members=3, select=select, loss=loss)
    weights = chosen.weights[chosen.members]
    assert weights.sum() == pytest.approx(1)
    assert list(weights) == sorted(weights, reverse=True)
    assert len(weights) == 3 if select == "topk" else len(weights) <= 3
    assert chosen.losses[chosen.best] == chosen.losses.min()
    sign = -1 if loss == "accuracy" else 1
    own = [sign * chosen.own(model) for model in range(12)]
    assert own[chosen.best] == min(own)


def test_the_default_is_eight_members_or_fewer_models():
    assert np.count_nonzero(choose(numbers(), select="topk").weights) == choice.MEMBERS
    few = numbers()
    few = Predictions((0, 1), few.y, few.mean[:2], few.std[:2], NONE)
    assert np.count_nonzero(choose(few, select="topk").weights) == 2


@pytest.mark.parametrize("made", [numbers, labels])
def test_a_picture_has_the_ensemble_and_the_best_model(made):
    _, _, caption, curves = calibration_curves(choose(made()), "trial 3")
    assert list(curves) == ["the ensemble", "trial 3"]
    assert "that the selection has not seen" in caption
    for said, found in curves.values():
        assert len(said) == len(found)
        assert ((found >= 0) & (found <= 1)).all()


def test_what_cannot_be_asked_for_is_said():
    with pytest.raises(UserError, match="--members 13: only 12 trials have predictions to choose from; give 12 or"):
        choose(numbers(), members=13)
    with pytest.raises(UserError, match="--loss accuracy: the trials predict numbers; give nll or crps or rmse"):
        choose(numbers(), loss="accuracy")
    with pytest.raises(UserError, match="--loss crps: the trials predict classes; give nll or accuracy"):
        choose(labels(), loss="crps")
    with pytest.raises(UserError, match=r"held\.npz has 1 row, but one is needed to choose members by"):
        choose(numbers(rows=1))
