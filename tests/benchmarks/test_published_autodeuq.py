"""AutoDEUQ's experiment: which rows a method sees, equal training time, and the tables."""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("pandas")

from benchmarks.published import autodeuq as experiment
from benchmarks.published import autodeuq_tables as tables
from pilotune import ensemble

SHORT = ("space.epochs={int: [2, 3]}", "space.batch_size=64")


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    """A table whose rows say which they are, and short trainings."""
    (tmp_path / "uci").mkdir()
    values = np.column_stack([np.arange(120.0), np.arange(120.0) % 7, np.arange(120.0)])
    with gzip.open(tmp_path / "uci/yacht.txt.gz", "wt") as file:
        np.savetxt(file, values)
    monkeypatch.setenv("PILOTUNE_DATA", str(tmp_path))
    monkeypatch.setattr(experiment, "SPACES", {"yacht": SHORT, "gap": SHORT})
    monkeypatch.setattr(experiment, "PUBLISHED", {**experiment.PUBLISHED, "epochs": 2})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    experiment.uci.table.cache_clear()
    yield
    experiment.uci.table.cache_clear()
    torch.set_num_threads(threads)


def test_the_published_splits_are_those_of_the_seed_one():
    np.random.seed(1)
    orders = [np.random.choice(range(50), 50, replace=False) for _ in range(3)]
    train, test = experiment.uci.split(50, 2)
    assert [*train, *test] == list(orders[2])
    assert (len(train), len(test)) == (45, 5)


def test_no_row_of_the_test_is_in_another_part():
    given = experiment.problem("yacht", 3)
    parts = (given.parts.y, given.parts.y_held, given.parts.y_selection, given.y_test)
    assert [len(each) for each in parts] == [76, 16, 16, 12]
    assert sorted(np.concatenate(parts)) == list(range(120))
    assert (given.parts.x[:, 0] == given.parts.y).all()
    wide = experiment.all_rows(given).parts
    assert sorted(wide.y) == sorted([*given.parts.y, *given.parts.y_selection])
    assert (wide.x[:, 0] == wide.y).all()


def member(score: float, seconds: float) -> experiment.Member:
    return experiment.Member(score, seconds, np.zeros((2, 1)), np.zeros((2, 1)))


def test_a_shorter_search_leaves_time_to_train_its_best_network_again():
    members = [member(2.0, 10.0), member(1.0, 20.0), member(float("nan"), 60.0), member(0.5, 30.0)]
    # Five times the last one takes 150 s of 120 s; after two trials 90 s are left, which is too little for 100 s.
    assert experiment.shorter_search(members, experiment.seeds_of_best).tolist() == [5]
    cheap = [member(2.0, 10.0), member(1.0, 1.0), *[member(3.0, 10.0)] * 3]
    assert experiment.shorter_search(cheap, experiment.seeds_of_best).tolist() == [0, 5, 0, 0]


@pytest.mark.slow
def test_a_run_is_kept_and_its_table_has_all_methods(tmp_path, monkeypatch, capsys):
    words = ["autodeuq.py", "--cache", str(tmp_path / "cache"), "--trials", "3", "--splits", "0", "1", "--members", "2"]
    monkeypatch.setattr("sys.argv", [*words, "--tables", "gap", "yacht"])
    experiment.main()
    printed = capsys.readouterr().out
    for part in ("Negative log likelihood, moment-matched", "| yacht |", "greedy 2, bagged", "Gap test"):
        assert part in printed
    monkeypatch.setattr(experiment, "run", lambda *_: pytest.fail("a run that is kept must not be made again"))
    experiment.main()
    again = capsys.readouterr().out
    assert printed.endswith(again)


def predictions(*means: float) -> np.ndarray:
    return np.array([[[mean] * 4, [1.0] * 4] for mean in means])


def kept() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Four networks, of which the first is the best one by its score, and the second diverged."""
    groups = ("search", "seeds", "greedy", "hand", "published")
    row = {
        "table": "yacht", "split": 0, "scores": [0.1, float("nan"), 0.3, 0.2], "greedy_weights": [1.0],
        "seconds": dict.fromkeys(groups, [1.0] * 4), "search_seconds": 5.0, "all_seconds": 9.0,
    }  # fmt: skip
    arrays = {"y_selection": np.array([4.0, 4.0, 6.0, 6.0]), "y_test": np.full(4, 2.0)}
    arrays["search_selection"] = predictions(3.0, np.nan, 6.0, 4.0)
    arrays["search_test"] = predictions(0.0, np.nan, 2.0, 4.0)
    return row, {**arrays, **{f"{name}_test": predictions(2.0) for name in ("seeds", "greedy", "hand", "published")}}


def test_members_are_chosen_by_the_rows_for_it_alone():
    row, arrays = kept()
    weights = tables.chosen(row, arrays, 2)
    assert weights["single best"].tolist() == [1, 0, 0, 0]
    assert weights["top"].tolist() == [0, 0, 0.5, 0.5]
    assert weights["greedy"].tolist() == [0, 0, 0.5, 0.5]
    arrays["search_test"][:] = 7.0
    again = tables.chosen(row, arrays, 2)
    assert all((again[name] == weights[name]).all() for name in weights)


def test_the_scores_are_those_of_the_test_rows():
    row, arrays = kept()
    found = tables.all_scores(row, arrays, 2)
    assert found["single best"].rmse == 2.0
    assert found["top"].rmse == 1.0
    assert found["by hand"].matched == pytest.approx(ensemble.nll([[2.0]], [[1.0]], [2.0]))
    text = tables.report([(row, arrays)], 2, "gap", (0.5, 1.0))
    assert "top 2: 0 of 1 (none)" in text
    assert "deep ensemble by hand: 1 of 1 (yacht)" in text


def test_the_gap_is_measured_beside_the_data():
    grid = np.linspace(-30, 30, 601)
    apart = np.where(abs(grid) < 20, 5.0, 0.1)
    std = np.where(grid < 0, 0.5, 1.0)
    found = tables.gap_values(np.array([[apart, std], [-apart, std]]), None, (0.5, 1.0))
    assert found == pytest.approx([0.1, 5.0, 50.0, 2500.0, 0.5, 1.0, 0.0])
