"""Graphs whose operations and arguments are parameters of their own."""

import json
import random

import pytest

from pilotune.pipeline.architecture.graph import Graph
from pilotune.pipeline.architecture.indices import from_indices
from pilotune.pipeline.architecture.network import NetworkError, network
from pilotune.pipeline.architecture.operations import operation
from pilotune.pipeline.architecture.split import Split
from tests.support.graphs import COMBO, COVERTYPE_WINNER, DENSE_SKIP_CO, graph_of

SPLIT = DENSE_SKIP_CO + "split: true\n"


def test_a_cell_becomes_an_operation_and_its_arguments():
    graph = graph_of(SPLIT)
    variables = graph.variables("net")
    assert [(each.name, each.choices, each.step) for each in variables[:3]] == [
        ("net.cell1", ("identity", "dense"), None),
        ("net.cell1.units", (16, 32, 48, 64, 80, 96), 16),
        ("net.cell1.activation", ("linear", "silu", "relu", "tanh", "sigmoid"), None),
    ]
    assert (len(variables), graph.size) == (57, 31**10 * 2**27)
    assert Graph.from_data(json.loads(json.dumps(graph.to_data()))) == graph


def test_both_forms_describe_the_same_networks():
    plain, split = graph_of(DENSE_SKIP_CO), graph_of(SPLIT)
    rng = random.Random(0)
    for _ in range(20):
        indices = [rng.randrange(len(each.choices)) for each in plain.variables("net")]
        one, other = (network(graph, from_indices(graph, indices), "net") for graph in (plain, split))
        assert (one.key, one.chosen, one.parameters) == (other.key, other.chosen, other.parameters)
    assert network(split, from_indices(split, COVERTYPE_WINNER), "net").parameters == 122_535


def test_arguments_that_an_operation_does_not_need_change_nothing():
    graph = graph_of(SPLIT)
    params = from_indices(graph, [0] * 37)
    assert params["net.cell1"] == "identity"
    changed = {**params, "net.cell1.units": 96, "net.cell1.activation": "tanh"}
    assert network(graph, changed, "net").key == network(graph, params, "net").key


def test_nodes_that_mirror_or_mime_follow_a_node_that_is_split():
    graph = graph_of(COMBO + "split: true\n")
    params = {each.name: each.choices[-1] for each in graph.variables("net")}
    assert sorted(params) == [
        *("net.d1", "net.d1.activation", "net.d1.units", "net.enc", "net.enc.activation", "net.enc.units"),
        *("net.tail.skip1", "net.tail.skip2"),
    ]
    found = network(graph, {**params, "net.enc.units": 50}, "net")
    assert (found.chosen["tail"], found.chosen["d2"]) == ("dense(50, sigmoid)", "dense(1975, sigmoid)")


def test_arguments_of_several_operations_have_both_names():
    texts = ["lstm(16)", "lstm(32)", "gru(8)", "gru(16)", "identity"]
    split = Split([operation(text) for text in texts])
    assert [part.name for part in split.parts] == ["", "lstm_units", "gru_units"]
    assert split.position({"": "gru", "lstm_units": 16, "gru_units": 16}) == 3


def test_a_value_that_no_operation_has_is_refused_with_its_node():
    graph = graph_of(SPLIT)
    params = from_indices(graph, [1] * 37)
    with pytest.raises(NetworkError, match=r"node cell2: none of its operations has net\.cell2 = 'dense', .*= 17"):
        network(graph, {**params, "net.cell2.units": 17}, "net")
    del params["net.cell2.units"]
    with pytest.raises(NetworkError, match=r"node cell2: the parameters have no net\.cell2\.units"):
        network(graph, params, "net")
