"""The ready-made objectives, called directly, without a driver."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pilotune import TrialPruned
from pilotune.objectives import (
    boosting_classifier,
    cnn_classifier,
    functions,
    settings,
    sklearn_classifier,
    svm_classifier,
    tables,
    torch_classifier,
)
from pilotune.pipeline.trial.exceptions import ObjectiveError

from ..support.objective_trial import Script, make_trial


@pytest.mark.parametrize("point", [(-np.pi, 12.275), (np.pi, 2.275), (9.42478, 2.475)])
def test_branin_has_its_published_minimum_at_three_points(point):
    assert functions.branin(*point) == pytest.approx(0.397887, abs=1e-5)


def test_branin_is_higher_elsewhere():
    grid = [functions.branin(x, y) for x in np.linspace(-5, 10, 40) for y in np.linspace(0, 15, 40)]
    assert min(grid) > 0.397887


@pytest.mark.parametrize("function", [functions.sphere, functions.rastrigin])
def test_functions_of_all_numbers_are_lowest_at_zero(tmp_path, function):
    assert function(make_trial(tmp_path, {"x": 0.0, "y": 0, "note": "a"})) == pytest.approx(0.0)
    assert function(make_trial(tmp_path, {"x": 0.7, "y": 0})) > 0.4


def test_rastrigin_of_whole_numbers_is_their_sum_of_squares(tmp_path):
    assert functions.rastrigin(make_trial(tmp_path, {"x": 2, "y": -1})) == pytest.approx(5.0)


def test_schaffer_returns_two_values_of_which_neither_is_best_alone():
    assert functions.schaffer(0.0) == (0.0, 4.0)
    assert functions.schaffer(2.0) == (4.0, 0.0)


def test_learning_curve_reports_each_epoch_and_falls(tmp_path):
    link = Script()
    error = functions.learning_curve(make_trial(tmp_path, {"epochs": 9, "noise": 0.0}, link))
    steps, errors = zip(*link.reports, strict=True)
    assert steps == tuple(range(1, 10))
    assert list(errors) == sorted(errors, reverse=True)
    assert error == errors[-1]


def last_rate(folder: Path) -> float:
    """The learning rate in the checkpoint of a network."""
    return torch.load(folder / "last.pt")["optimizer"]["param_groups"][0]["lr"]


def trees_rate(folder: Path) -> float:
    """The learning rate of a saved model of trees."""
    return pickle.loads((folder / "trees.pickle").read_bytes()).learning_rate


def test_learning_curve_of_a_bad_configuration_ends_higher(tmp_path):
    ends = []
    for number, lr in enumerate((0.01, 0.1, 100.0)):
        folder = tmp_path / str(number)
        folder.mkdir()
        ends.append(functions.learning_curve(make_trial(folder, {"lr": lr, "noise": 0.0})))
    assert ends[0] < ends[1] < ends[2]


@pytest.mark.parametrize(
    ("train", "params", "steps"),
    [
        (functions.learning_curve, {"epochs": 6}, [1, 2, 3, 4, 5, 6]),
        (torch_classifier.train, {"data": "iris", "epochs": 6, "dropout": 0.3}, [1, 2, 3, 4, 5, 6]),
        (cnn_classifier.train, {"rows": 200, "channels": 4, "epochs": 4, "dropout": 0.3}, [1, 2, 3, 4]),
        (svm_classifier.train, {"rows": 200}, [1, 2, 4, 8]),
        (boosting_classifier.train, {"data": "wine", "rounds": 7, "every": 2, "max_features": 0.5}, [2, 4, 6, 7]),
    ],
)
def test_an_interrupted_attempt_continues_to_the_same_result(tmp_path, train, params, steps):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    expected = Script()
    train(make_trial(whole, params, expected))

    first, second = Script(prune_at=steps[1]), Script()
    with pytest.raises(TrialPruned):
        train(make_trial(cut, params, first))
    train(make_trial(cut, params, second))
    assert [step for step, _ in expected.reports] == steps
    assert [step for step, _ in second.reports] == steps[2:]
    assert first.reports + second.reports == expected.reports


@pytest.mark.parametrize(
    ("train", "params", "read"),
    [
        (torch_classifier.train, {"data": "iris", "epochs": 3, "lr": 0.01}, last_rate),
        (boosting_classifier.train, {"data": "wine", "rounds": 3, "every": 1, "learning_rate": 0.2}, trees_rate),
    ],
)
def test_a_copy_goes_on_with_its_own_rate_from_the_checkpoint_of_another_trial(tmp_path, train, params, read):
    name = "lr" if "lr" in params else "learning_rate"
    with pytest.raises(TrialPruned):
        train(make_trial(tmp_path, params, Script(prune_at=1)))
    assert read(tmp_path) == params[name]
    script = Script()
    train(make_trial(tmp_path, {**params, name: 0.003}, script))
    assert [step for step, _ in script.reports] == [2, 3]
    assert read(tmp_path) == 0.003


def test_sklearn_classifier_learns_the_wines():
    outcome = sklearn_classifier.train(data="wine", model="svm", C=1.0, kernel="rbf")
    assert outcome["value"] > 0.95
    assert outcome["spread"] < 0.1


@pytest.mark.parametrize("model", ["logistic", "forest", "boosting", "neighbors"])
def test_every_model_of_the_sklearn_classifier_learns(model):
    few = {"logistic": {"max_iter": 50}, "boosting": {"max_iter": 10}, "forest": {"n_estimators": 20}}.get(model, {})
    assert sklearn_classifier.train(data="iris", model=model, **few)["value"] > 0.9


def test_a_hyperparameter_of_another_model_is_refused_by_name():
    with pytest.raises(ObjectiveError, match="the model 'forest' takes no C; it takes n_estimators"):
        sklearn_classifier.train(data="iris", model="forest", C=1.0)


def test_an_unknown_model_is_refused_with_the_known_ones():
    with pytest.raises(ObjectiveError, match="there is no model 'tree'; the models are svm, logistic"):
        sklearn_classifier.train(data="iris", model="tree")


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_torch_classifier_learns_the_irises(tmp_path, optimizer):
    params = {"data": "iris", "epochs": 15, "lr": 0.02, "optimizer": optimizer, "momentum": 0.9, "activation": "tanh"}
    assert torch_classifier.train(make_trial(tmp_path, params)) >= 0.9


REPORTING = [torch_classifier, cnn_classifier, svm_classifier, boosting_classifier]


@pytest.mark.parametrize("module", REPORTING)
def test_a_classifier_that_reports_refuses_a_parameter_it_does_not_have(tmp_path, module):
    with pytest.raises(ObjectiveError, match="there is no parameter speed; the parameters are data, target, size"):
        module.train(make_trial(tmp_path, {"speed": 0.1}))


@pytest.mark.parametrize(
    ("module", "name", "value", "sentence"),
    [
        (torch_classifier, "optimizer", "lion", "there is no optimizer 'lion'; offered are adamw, sgd"),
        (cnn_classifier, "kernel", 2, "there is no kernel 2; offered are 1, 3, 5, 7"),
        (svm_classifier, "kernel", "box", "there is no kernel 'box'; offered are linear, rbf, poly, sigmoid"),
        (boosting_classifier, "score", "train", "there is no score 'train'; offered are validation, test"),
    ],
)
def test_a_classifier_that_reports_refuses_a_value_it_does_not_offer(tmp_path, module, name, value, sentence):
    with pytest.raises(ObjectiveError, match=sentence):
        module.train(make_trial(tmp_path, {name: value}))


@pytest.mark.parametrize(
    ("module", "params"),
    [
        (torch_classifier, {"epochs": 15}),
        (cnn_classifier, {"epochs": 4}),
        (cnn_classifier, {"epochs": 5, "blocks": 5, "units": 32, "lr": 0.003, "channels": 8}),
        (svm_classifier, {"stages": False}),
        (svm_classifier, {"kernel": "poly", "degree": 2, "gamma": 0.1, "coef0": 1.0}),
        (boosting_classifier, {"rounds": 15, "every": 5}),
    ],
)
def test_a_classifier_that_reports_learns_the_digits(tmp_path, module, params):
    script = Script()
    score = module.train(make_trial(tmp_path, params, script))
    assert score > 0.85
    assert script.reports[-1][1] == score


def test_a_convolutional_network_of_a_table_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(ObjectiveError, match="cnn_classifier needs images, and iris is a table; use mlp_classifier"):
        cnn_classifier.train(make_trial(tmp_path, {"data": "iris"}))


@pytest.mark.parametrize(
    ("package", "name", "modules"),
    [
        ("torch", "torch", ["torch_training", "torch_classifier", "cnn_classifier"]),
        ("scikit-learn", "sklearn", ["svm_classifier", "boosting_classifier", "sklearn_classifier"]),
    ],
)
def test_an_objective_whose_package_is_missing_says_how_to_get_it(monkeypatch, package, name, modules):
    for known in [each for each in sys.modules if each.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, known)
    monkeypatch.setitem(sys.modules, name, None)  # an import of it raises ModuleNotFoundError
    for module in modules:
        monkeypatch.delitem(sys.modules, f"pilotune.objectives.{module}", raising=False)
        with pytest.raises(ObjectiveError, match=f"the objective needs {package}.*, not installed .*: pip install"):
            importlib.import_module(f"pilotune.objectives.{module}")


def test_the_error_for_a_missing_package_names_it():
    assert str(settings.missing("pillow", ModuleNotFoundError(name="PIL"))).endswith("pip install pillow")


def test_a_csv_table_gives_classes_by_name_and_a_column_per_value_of_text(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text("size,colour,kind\n1.5,red,b\n2.5,blue,a\n3.5,red,b\n", encoding="utf-8")
    monkeypatch.setenv("PILOTUNE_STUDY_DIR", str(tmp_path))
    x, y = tables.load_table("t.csv")
    assert x.tolist() == [[1.5, 0, 1], [2.5, 1, 0], [3.5, 0, 1]]
    assert y.tolist() == [1, 0, 1]
    x, y = tables.load_table(str(tmp_path / "t.csv"), target="colour")
    assert x.shape == (3, 3)
    assert y.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("text", "target", "sentence"),
    [
        ("a,b\n1,x\n2,y\n", "c", "there is no column 'c'; the columns are a, b"),
        ("a,b\n1,x\n,y\n", None, "values are missing in a; fill them in"),
    ],
)
def test_a_csv_table_that_cannot_be_used_is_refused_in_a_sentence(tmp_path, text, target, sentence):
    file = tmp_path / "t.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ObjectiveError, match=sentence):
        tables.load_table(str(file), target)


def test_a_missing_csv_table_is_named(tmp_path):
    with pytest.raises(ObjectiveError, match=r"no\.csv: there is no such CSV file"):
        tables.load_table(str(tmp_path / "no.csv"))


def test_split_rows_keeps_the_share_of_each_class_and_loses_no_row():
    classes = np.repeat([0, 1, 2], [100, 50, 2])
    first, second = tables.split_rows(classes, 0.2, seed=3)
    assert sorted([*first, *second]) == list(range(152))
    assert np.bincount(classes[second]).tolist() == [20, 10, 1]


def test_split_rows_refuses_a_class_of_one_row():
    with pytest.raises(ObjectiveError, match="class 1 has one row only"):
        tables.split_rows(np.array([0, 0, 1]), 0.5, seed=0)


def test_the_test_functions_import_nothing_heavy():
    heavy = "{'torch', 'sklearn', 'numpy', 'pandas', 'optuna'}"
    code = f"import sys, pilotune.objectives.functions; print(sorted({heavy} & sys.modules.keys()))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
