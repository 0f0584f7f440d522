"""The experiment on Covertype: its searches and tables, on a small table of random rows."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

pytest.importorskip("pandas")

from benchmarks.published import covertype as experiment
from pilotune.pipeline.studyfile import load_study_file
from pilotune.pipeline.suggest import make_sampler

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    """600 rows whose first column says which kind they are of, with one epoch for the best network."""
    (tmp_path / "covertype").mkdir()
    kinds = np.tile(np.arange(1, 8), 90)[:600]
    rows = np.random.default_rng(0).normal(size=(600, 54))
    rows[:, 0] = kinds
    head = ",".join([*(f"x{i}" for i in range(54)), "Cover_Type"])
    file = tmp_path / "covertype/covertype_93k.csv.gz"
    np.savetxt(file, np.column_stack([rows, kinds]), delimiter=",", header=head, comments="", fmt="%.3f")
    monkeypatch.setenv("PILOTUNE_DATA", str(tmp_path))
    once = {name: replace(space, epochs=1) for name, space in experiment.SPACES.items()}
    monkeypatch.setattr(experiment, "SPACES", once)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    experiment.covertype.splits.cache_clear()
    yield
    experiment.covertype.splits.cache_clear()
    torch.set_num_threads(threads)


def test_the_splits_share_no_row_and_are_as_large_as_those_of_the_measured_baselines():
    sizes = {name: len(rows[1]) for name, rows in experiment.covertype.splits().items()}
    assert sizes == {"train": 360, "valid": 120, "test": 120}


@pytest.mark.parametrize("method", experiment.METHODS)
def test_every_method_can_be_made(method):
    overrides = [*experiment.SPACES["published"].overrides, *experiment.METHODS[method]]
    file = load_study_file(experiment.EXAMPLE / "study.yaml", overrides)
    assert make_sampler(file, seed=0) is not None
    assert file.space.graphs["net"].size == 31**10 * 2**27


def test_the_test_rows_are_asked_for_the_best_network_of_a_search_only(monkeypatch):
    asked, accuracy = [], experiment.covertype.accuracy
    names = {id(rows): name for name, rows in experiment.covertype.splits().items()}

    def noted(net, split):
        asked.append(names[id(split)])
        return accuracy(net, split)

    monkeypatch.setattr(experiment.covertype, "accuracy", noted)
    found = experiment.search("published", "mixed AgE", 0, 2)
    assert asked == ["valid"] * 3 + ["test"]
    assert len(found.scores) == 2
    assert found.weights > 0


def test_in_the_wide_space_most_networks_are_ended_early():
    found = experiment.search("wide", "random", 0, 24)
    assert len(found.scores) > 6, "the epochs of six whole trainings are shared by more networks"


def test_models_by_hand():
    trees = experiment.by_hand("published", "extremely randomized trees", 0)
    assert (trees.weights, trees.test > 0.9) == (None, True)
    assert experiment.by_hand("published", "AgEBO's published network", 0).weights == 122_535


def test_the_table_has_a_row_for_each_method_with_differences_from_random_search():
    rows = [
        asdict(experiment.Result("published", method, seed, [0.7, 0.75], 0.86, test + seed / 100, 1000, 9.0))
        for method, test in (("random", 0.85), ("tpe", 0.86))
        for seed in range(3)
    ]
    table = experiment.table_of(rows, "published", 2)
    assert "| tpe " in table
    assert "1.00 (1.00 to 1.00)" in table
    assert "3 / 0 / 0" in table
    assert "AgE " not in table
