"""The published experiments: the compiled network, the loop over trials, and what the tables take from it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from sklearn.svm import SVC

from benchmarks.published import dhpo, search, shadho_curves
from benchmarks.published.dhpo_network import Images, Network, Rates
from benchmarks.published.search import Method, Point, Results, Run, Tried, best, searched

HERE = Path(dhpo.__file__).parent
HYPERBAND = Method("hyperband", dhpo.METHODS["hyperband"].overrides, steps=True)


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def images(count: int) -> Images:
    rng = np.random.default_rng(0)
    return Images(rng.integers(0, 256, (count, 1, 28, 28)), rng.integers(0, 10, count))


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_the_compiled_network_learns_the_same_weights_as_pytorch() -> None:
    data, order = images(300), np.random.default_rng(1).permutation(300)
    ours, theirs = (Network(Rates(0.05, 0.8, 0.0), seed=3, compiled=compiled) for compiled in (True, False))
    assert (ours.compiled, theirs.compiled) == (True, False)
    first = ours.weights.copy()
    for network in (ours, theirs):
        network.train(data, order)
    assert np.abs(ours.weights - first).max() > 1e-3
    np.testing.assert_allclose(ours.weights, theirs.weights, rtol=0, atol=1e-6)
    assert ours.accuracy(data, order) == pytest.approx(theirs.accuracy(data, order))


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_dropout_keeps_the_expected_share_and_a_dead_network_is_not_trained_on() -> None:
    data, order = images(200), np.arange(200)
    learned = []
    for dropout in (0.0, 0.5):
        network = Network(Rates(0.01, 0.0, dropout), seed=0)
        before = network.weights.copy()
        network.train(data, order)
        learned.append(network.weights - before)
        assert not network.dead
    assert not np.array_equal(*learned)
    assert np.corrcoef(*learned)[0, 1] > 0.3

    network = Network(Rates(0.01, 0.0, 0.0), seed=0)
    network.weights[50:52] = -1e6  # the biases of the first convolution
    network.weights[252:256] = -1.0  # and those of the second
    network.train(data, order)
    assert network.dead
    before = network.weights.copy()
    network.train(data, order)
    assert np.array_equal(network.weights, before)


def curve(params: dict[str, Any], seed: int, steps: bool) -> Iterator[Point]:
    """The closer the rate is to 0.3, the better; the test accuracy is one less."""
    score = 90 - abs(params["lr"] - 0.3) * 50
    for step in (1, 3, 9) if steps else (9,):
        yield Point(step, score - 9 + step, score - 1 if step == 9 else 0.0)


@pytest.mark.parametrize("name", [name for name in dhpo.METHODS if name != "hyperband"])
def test_a_method_tries_as_many_configurations_as_it_is_given(name: str) -> None:
    trials = 64 if name == "grid" else 12
    found = searched(HERE / "dhpo.yaml", dhpo.METHODS[name], curve, 0, trials, 9)
    assert [each.cost for each in found] == [9] * trials
    assert all(each.complete and each.test == each.score - 1 for each in found)
    if name == "grid":
        assert len({tuple(each.params.values()) for each in found}) == 64
        assert {each.params["lr"] for each in found} == {0.2, 0.4, 0.6, 0.8}


def test_hyperband_gets_as_many_steps_as_the_others_need() -> None:
    found = searched(HERE / "dhpo.yaml", HYPERBAND, curve, 0, 12, 9)
    spent = sum(each.cost for each in found)
    assert 12 * 9 <= spent < 13 * 9
    assert len(found) > 12
    assert {each.cost for each in found} == {1, 3, 9}
    assert all(each.complete == (each.cost == 9) for each in found)


def tried(cost: int, score: float, complete: bool = True) -> Tried:
    return Tried(cost, score, score - 1, complete, {})


def test_the_best_is_among_the_first_trials_or_steps_and_complete() -> None:
    run = Run("clean", "a", 0, (tried(9, 80), tried(3, 95, False), tried(9, 85), tried(9, 90)), 1.0)
    assert best(run).score == 90
    assert best(run, trials=3).score == 85
    assert best(run, cost=21).score == 85
    assert best(run, cost=20).score == 80


def test_kept_runs_are_found_again_and_not_run_twice(tmp_path: Path) -> None:
    asked = []

    def make(method: Method) -> list[Tried]:
        asked.append(method.name)
        return [tried(9, 80)]

    methods = [dhpo.METHODS["random"], dhpo.METHODS["tpe"]]
    search.add_missing(Results(tmp_path / "runs.jsonl"), "clean", methods[:1], 0, make)
    with (tmp_path / "runs.jsonl").open("a") as out:
        out.write('{"protocol": "cl')  # the run that was stopped
    again = Results(tmp_path / "runs.jsonl")
    search.add_missing(again, "clean", methods, 0, make)
    assert asked == ["random", "tpe"]
    assert Results(tmp_path / "runs.jsonl").has("clean", "tpe", 0)
    text = dhpo.tables(again, "mnist", 9, 1)
    assert "| 80.00           | 79.00             |" in text
    assert "| random |     1 | 1      | 1 " in text


@pytest.mark.parametrize("kernel", ["linear", "rbf", "sigmoid", "poly"])
def test_the_kernels_are_those_of_scikit_learn(kernel: str) -> None:
    rng = np.random.default_rng(0)
    parts = [rng.random((20, 5)) for _ in range(3)]
    machine = shadho_curves.Machine.__new__(shadho_curves.Machine)
    machine.products = [part @ parts[0].T for part in parts]
    machine.squares = [(part**2).sum(1) for part in parts]
    machine.train = machine.held = machine.test = np.arange(20) % 2
    params = {"kernel": kernel, "C": 2.0}
    params |= {} if kernel == "linear" else {"gamma": 0.5}
    params |= {"coef0": 0.3} if kernel in ("sigmoid", "poly") else {}
    params |= {"degree": 3} if kernel == "poly" else {}
    (point,) = machine(params, 0, False)
    reference = SVC(**params).fit(parts[0], machine.train)
    assert point.score == pytest.approx(100 * reference.score(parts[1], machine.held))
    assert point.test == pytest.approx(100 * reference.score(parts[2], machine.test))


def test_a_study_of_shadho_has_each_kernels_own_parameters() -> None:
    names = {
        tuple(each.params)
        for each in searched(HERE / "shadho.yaml", Method("random", ("sampler=random",)), flat, 0, 30, 1)
    }
    assert names == {
        ("kernel", "C"),
        ("kernel", "C", "gamma"),
        ("kernel", "C", "gamma", "coef0"),
        ("kernel", "C", "gamma", "coef0", "degree"),
    }


def flat(params: dict[str, Any], seed: int, steps: bool) -> Iterator[Point]:
    yield Point(1, 0.0, 0.0)


def test_their_evolution_breeds_from_the_best_four() -> None:
    found = searched(HERE / "dhpo.yaml", dhpo.METHODS["their evolution"], curve, 0, 64, 9)
    genes = [set(each.params.values()) for each in found]
    assert len({tuple(each.params.values()) for each in found}) == 64
    related = 0
    for begin in range(4, 64, 4):
        best_four = sorted(range(begin), key=lambda k: found[k].score)[-4:]
        related += sum(any(genes[child] & genes[k] for k in best_four) for child in range(begin, begin + 4))
    assert related > 55  # all three genes of a child change with a probability of one in 125
