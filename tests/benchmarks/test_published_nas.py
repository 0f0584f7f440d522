"""The searches on NAS-Bench-201: the cell as a graph, and what the table shows."""

from __future__ import annotations

import random

import numpy as np
import pytest

from benchmarks.published import agebo, nas_bench_201
from benchmarks.published.nas_bench_201 import METHODS, SIZED, Results, Search
from benchmarks.quality import problems
from benchmarks.quality.problems.folder import data_folder

pytestmark = pytest.mark.slow


def test_the_cell_has_the_networks_of_the_published_space():
    graph = nas_bench_201.cell()
    assert (len(graph.variables("net")), graph.size) == (6, 15_625)


@pytest.mark.skipif(not (data_folder() / "tab_tables").is_dir(), reason="the data folder is not there")
def test_a_network_has_the_accuracy_that_the_table_has():
    table, ours = problems.make("nas201"), nas_bench_201.problem()
    params = dict(zip(ours.space.distributions, nas_bench_201.OPERATIONS.values(), strict=False))
    params["net.edge6"] = "conv(16, 3, relu)"
    names = [*nas_bench_201.OPERATIONS, "nor_conv_3x3"]
    expected = table.evaluate({f"Op{i}": name for i, name in enumerate(names)})
    assert ours.evaluate(params) == expected
    assert ours.noise is not None
    told = {ours.noise(params, 0.0, np.random.default_rng(seed)) for seed in range(20)}
    assert 1 <= len(told) <= 3


def test_the_table_takes_each_checkpoint_from_the_search_that_has_it(tmp_path):
    results = Results(tmp_path / "kept.jsonl")
    for seed in range(3):
        results.known.setdefault(Search("random", 1000), {})[seed] = {
            **{str(each): 90.0 + seed for each in nas_bench_201.CHECKPOINTS},
            "milliseconds": 1.0,
        }
        results.known.setdefault(Search(SIZED, 100), {})[seed] = {"50": 80.0, "100": 91.0, "milliseconds": 1.0}
    assert results.at(SIZED, 100) == [91.0] * 3
    assert results.at(SIZED, 50) == []
    assert "91.00 (90.00 to 92.00)" in nas_bench_201.table(results)


@pytest.mark.skipif(not (data_folder() / "tab_tables").is_dir(), reason="the data folder is not there")
def test_every_method_can_be_made_and_a_search_is_kept(tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "random", ("random", 50))
    results, on = Results(tmp_path / "kept.jsonl"), nas_bench_201.problem()
    for spec, _ in METHODS.values():
        assert nas_bench_201.peers.peer(spec).make(nas_bench_201.peers.Setting(on, 0, 16, 50)) is not None
    results.run(Search("random", 50), 1, on)
    (accuracy,) = Results(tmp_path / "kept.jsonl").at("random", 50)
    assert 80 < accuracy < 91.7


@pytest.mark.skipif(not (data_folder() / "tab_tables").is_dir(), reason="the data folder is not there")
def test_networks_with_hyperparameters_have_the_errors_that_the_table_has():
    table, ours = problems.make(agebo.PROBLEM), agebo.problem()
    params = ours.space.sample(random.Random(0))
    params |= {
        "net.cell1": "dense",
        "net.cell1.units": 64,
        "net.cell1.activation": "tanh",
        "net.dropout2": "dropout(0.3)",
    }
    params |= {"net.cell2.units": 512, "net.cell2.activation": "relu", "net.dropout1": "dropout(0.0)"}
    expected = {name: params[name] for name in ("batch_size", "init_lr", "lr_schedule")}
    expected |= {"n_units_1": 2, "n_units_2": 5, "activation_fn_1": "tanh", "activation_fn_2": "relu"}
    assert ours.evaluate(params) == table.evaluate({**expected, "dropout_1": 0, "dropout_2": 1})
    assert agebo.network().size == 12 * 3 * 12 * 3
    for spec in agebo.METHODS.values():
        assert agebo.peers.peer(spec).make(agebo.peers.Setting(ours, 0, 16, 50)) is not None


def test_agebos_table_has_the_quartiles():
    runs = {seed: {"50": seed / 10, "100": 0.1, "200": 0.0, "milliseconds": 2.0} for seed in range(5)}
    assert "0.200 (0.100 to 0.300)" in agebo.table_of({"tpe, all": runs})
