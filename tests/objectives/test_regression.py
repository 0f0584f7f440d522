"""The ready-made regression network: its losses, its parts, what it keeps, and tables that it cannot use."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pilotune import TrialPruned
from pilotune.objectives import torch_regressor
from pilotune.objectives.regression_parts import DATA, load_regression_parts, split_numbers
from pilotune.objectives.torch_regression import LEAST_STD, RECIPE, NormalNetwork, Training, nll, predict_rows
from pilotune.pipeline.trial.exceptions import ObjectiveError

from ..support.objective_trial import Script, make_trial

SMALL = {"layers": 1, "units": 8, "epochs": 4, "every": 2}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks so small are slower with several threads, and very slow on a machine that is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def rows(count: int, seed: int = 0) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A target with a noise that depends on the place, far from zero and in a unit of its own."""
    random = np.random.default_rng(seed)
    x = random.uniform(-1, 1, (count, 1))
    return x, 5000 + 300 * x[:, 0] + random.normal(size=count) * np.where(x[:, 0] < 0, 20, 80)


def train(recipe: dict[str, Any]) -> tuple[NormalNetwork, Training]:
    torch.manual_seed(0)
    given = {**RECIPE, "units": 16, "epochs": 20, "lr": 0.03, **recipe}
    network = NormalNetwork(1, given)
    training = Training(network, given, *rows(300), *rows(100, seed=1))
    assert list(training.run()) == list(range(1, given["epochs"] + 1))
    return network, training


@pytest.mark.parametrize("recipe", [{"loss": "nll"}, {"beta": 1.0}, {"loss": "warm_up", "schedule": "constant"}])
def test_the_network_learns_mean_and_noise_with_each_loss(recipe: dict[str, Any]) -> None:
    network, training = train(recipe)
    mean, std = predict_rows(network, np.array([[-0.5], [0.5]]))
    np.testing.assert_allclose(mean, [4850, 5150], atol=40)
    assert 10 < std[0] < 35
    assert 55 < std[1] < 120
    x, y = rows(100, seed=1)
    assert training.score == pytest.approx(nll(*predict_rows(network, x), y), abs=1e-3)


def test_the_losses_differ_in_what_they_weigh() -> None:
    scores = {str(recipe): train({"epochs": 3, **recipe})[1].score for recipe in
              ({"loss": "nll"}, {"beta": 0.0}, {"beta": 1.0}, {"loss": "warm_up", "warm_up": 0.5})}  # fmt: skip
    assert scores["{'loss': 'nll'}"] == scores["{'beta': 0.0}"]
    assert len(set(scores.values())) == 3


def test_the_best_weights_are_those_of_the_best_epoch() -> None:
    best, last = (
        train({"epochs": 8, "lr": 0.5, "schedule": "constant", "best_weights": kept}) for kept in (True, False)
    )
    assert best[1].score < last[1].score
    x, y = rows(100, seed=1)
    assert best[1].score == pytest.approx(nll(*predict_rows(best[0], x), y), abs=1e-3)


def test_a_training_that_diverges_has_no_score_and_keeps_nothing(tmp_path: Path) -> None:
    params = {**SMALL, "lr": 1e30, "schedule": "constant", "best_weights": False}
    assert math.isnan(torch_regressor.train(make_trial(tmp_path, params))["value"])
    assert not list(tmp_path.rglob("held.npz"))


def test_a_constant_column_and_the_least_deviation() -> None:
    network = NormalNetwork(2, {**RECIPE, "layers": 0})
    x = np.column_stack([np.full(50, 0.998), np.arange(50.0)])
    network.scale(x, np.arange(50.0))
    assert float(network.x_spread[0]) == 1
    network.body[-1].bias.data[1] = -100
    assert predict_rows(network, x)[1] == pytest.approx(LEAST_STD * np.arange(50.0).std(), rel=1e-5)


def test_an_interrupted_attempt_continues_to_the_same_result(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    params = {**SMALL, "epochs": 5, "dropout": 0.2}
    expected, first, second = Script(), Script(prune_at=2), Script()
    value = torch_regressor.train(make_trial(whole, params, expected))
    with pytest.raises(TrialPruned):
        torch_regressor.train(make_trial(cut, params, first))
    assert torch_regressor.train(make_trial(cut, params, second)) == value
    assert [step for step, _ in expected.reports] == [2, 4, 5]
    assert first.reports + second.reports == expected.reports


def test_a_trial_keeps_its_model_and_the_predictions_of_the_rows_for_selection(tmp_path: Path) -> None:
    params = {**SMALL, "selection": 0.1, "held_out": 0.3, "target": None}
    trial = make_trial(tmp_path, params)
    torch_regressor.train(trial)
    parts = load_regression_parts({**DATA, **{name: params[name] for name in ("selection", "held_out")}})
    held = np.load(trial.artifact("held.npz"))
    assert held["y"].tolist() == parts.y_selection.tolist()
    mean, std = torch_regressor.predict({"model.pt": trial.artifact("model.pt")}, params, parts.x_selection)
    assert held["mean"].tolist() == mean.tolist()
    assert held["std"].tolist() == std.tolist()
    assert (std > 0).all()


def test_the_parts_share_no_row_and_leave_none_out() -> None:
    x = np.arange(100.0)[:, None]
    parts = split_numbers(x, x[:, 0], 0.2, 0.15, seed=3)
    assert sorted([*parts.y, *parts.y_held, *parts.y_selection]) == list(range(100))
    assert (len(parts.y_held), len(parts.y_selection)) == (20, 15)
    assert (parts.x[:, 0] == parts.y).all()
    held = split_numbers(x, x[:, 0], 0.2, 0.0, seed=3)
    assert held.y_selection.tolist() == held.y_held.tolist() == parts.y_held.tolist()


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"loss": "mse"}, "there is no loss 'mse'; offered are nll, beta_nll, warm_up"),
        ({"beta": 2.0}, "beta: must be a number of at least 0 and at most 1, but is 2.0"),
        ({"dropout": 1.0}, "dropout: must be a number of at least 0 and below 1, but is 1.0"),
        ({"best_weights": 1}, "best_weights: must be true or false, but is 1"),
        ({"speed": 1}, "there is no parameter speed; the parameters are data, target, size"),
        ({"held_out": 0.6, "selection": 0.4}, "0.6 and 0.4 of 442 rows leave fewer than two rows to train on"),
        ({"score": "test"}, "diabetes: a table has no test part; score: test needs images"),
        ({"size": 8}, "size: diabetes is a table; size is of a folder of PNG or JPEG files, leave it out"),
        ({"target": "x"}, "target: diabetes has its own targets; target is the column of a CSV file, leave it out"),
        ({"data": "iris"}, "iris: there is no such CSV file; a data set's name would be one of diabetes"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(tmp_path: Path, params: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ObjectiveError, match=re.escape(sentence)):
        torch_regressor.train(make_trial(tmp_path, params))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,y\n1,x\n2,z\n", "the column 'y' holds 'x', which is no number; target names the column with the number"),
        ("a,y\n1,true\n2,false\n", "the column 'y' holds 'True', which is no number"),
        ("a,y\n1,2\n2,inf\n", "the column 'y' holds values that are infinite or above 3e38"),
        ("a,y\n1,2\n2,1e300\n", "the column 'y' holds values that are infinite or above 3e38"),
        ("a,y\n1,2\n2,2\n", "the column 'y' holds 2 only; there must be at least two different numbers"),
        ("a,y\n1,2\n2,\n", "values are missing in y; fill them in or leave those rows out"),
        ("a,y\n1,2\n2,3\n", "0.2 and 0.0 of 2 rows leave fewer than two rows to train on"),
    ],
)
def test_a_table_without_usable_numbers_is_refused_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "t.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ObjectiveError, match=re.escape(sentence)):
        load_regression_parts({**DATA, "data": str(file)})


def test_a_table_with_text_and_a_number_is_read(tmp_path: Path) -> None:
    lines = [f"{number},{'red' if number % 2 else 'blue'},{number / 2}" for number in range(10)]
    (tmp_path / "t.csv").write_text("\n".join(["size,colour,price", *lines, ""]), encoding="utf-8")
    parts = load_regression_parts({**DATA, "data": str(tmp_path / "t.csv"), "target": "size", "rows": 3})
    assert parts.x.shape == (3, 3)
    assert len(parts.y_held) == 2
