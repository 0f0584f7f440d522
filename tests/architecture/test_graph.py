"""The sizes and weights of published spaces, and their networks."""

import itertools
import json
import random

import pytest

from pilotune.pipeline.architecture.graph import Graph
from pilotune.pipeline.architecture.indices import from_indices
from pilotune.pipeline.architecture.network import NetworkError, network
from tests.support.graphs import COMBO, COVERTYPE_WINNER, DENSE_SKIP_CO, STACKED_LSTM, graph_of


def test_dense_skip_co_has_its_37_variables():
    graph = graph_of(DENSE_SKIP_CO)
    variables = graph.variables("net")
    assert len(variables) == 37
    assert graph.size == 31**10 * 2**27
    assert [each.name for each in variables[:6]] == [
        *("net.cell1", "net.cell1.skip1", "net.cell2", "net.cell2.skip1", "net.cell2.skip2", "net.cell3")
    ]


def test_the_published_covertype_network_has_its_122535_weights():
    graph = graph_of(DENSE_SKIP_CO)
    params = from_indices(graph, COVERTYPE_WINNER)
    assert params["net.cell1"] == "dense(32, tanh)"
    assert network(graph, params, "net").parameters == 122_535


def test_the_stacked_lstm_space_has_its_size():
    graph = graph_of(STACKED_LSTM)
    assert (len(graph.variables("net")), graph.size) == (14, 8_605_184)


def test_networks_of_three_lstm_cells_are_as_many_as_are_different():
    graph = graph_of(STACKED_LSTM.replace("cells: 5", "cells: 3"))
    variables = graph.variables("net")
    names = [each.name for each in variables]
    keys = {
        network(graph, dict(zip(names, values, strict=True)), "net").key
        for values in itertools.product(*(each.choices for each in variables))
    }
    assert (graph.size, len(keys)) == (10_976, 9_967)


def test_combo_shares_the_layer_of_both_drugs():
    graph = graph_of(COMBO)
    params = {each.name: each.choices[-1] for each in graph.variables("net")}
    assert sorted(params) == ["net.d1", "net.enc", "net.tail.skip1", "net.tail.skip2"]
    found = network(graph, params, "net")
    drugs = (3839 + 1) * 1975
    joined = 3 * 1975
    assert found.parameters == (942 + 1) * 1975 + drugs + (joined + 1) * 1975 + (942 + 1) * 1975 + 1975 + 1
    assert found.chosen["tail"] == found.chosen["enc"] == "dense(1975, sigmoid)"


@pytest.mark.parametrize("text", [DENSE_SKIP_CO, STACKED_LSTM, COMBO])
def test_a_graph_survives_json(text):
    graph = graph_of(text)
    assert Graph.from_data(json.loads(json.dumps(graph.to_data()))) == graph


def test_the_key_ignores_what_changes_nothing():
    graph = graph_of(DENSE_SKIP_CO)
    plain = {each.name: each.choices[0] for each in graph.variables("net")}

    def key(**changes):
        return network(graph, {**plain, **{f"net.{name}": value for name, value in changes.items()}}, "net").key

    assert key(cell1="dense(16, relu)") == key(cell5="dense(16, relu)")
    assert key(cell1="dense(16, relu)") != key(cell1="dense(16, tanh)")
    assert key(cell1="dense(16, relu)") != key(cell1="dense(16, relu)", cell2="dense(16, relu)")


def test_parameters_that_are_missing_or_foreign_are_refused_with_their_node():
    graph = graph_of(STACKED_LSTM)
    params = {each.name: each.choices[0] for each in graph.variables("net")}
    with pytest.raises(NetworkError, match=r"node cell2: 'lstm\(17\)' is none of its operations"):
        network(graph, {**params, "net.cell2": "lstm(17)"}, "net")
    del params["net.cell3.skip1"]
    with pytest.raises(NetworkError, match=r"node cell3: the parameters have no net\.cell3\.skip1"):
        network(graph, params, "net")


def test_lists_of_published_networks_may_hold_fractions():
    graph = graph_of(STACKED_LSTM)
    rng = random.Random(0)
    params = from_indices(graph, [rng.random() for _ in range(14)])
    assert network(graph, params, "net").parameters
    with pytest.raises(ValueError, match="has 14 parameters, but the list has 3 numbers"):
        from_indices(graph, [0, 0, 0])
    with pytest.raises(ValueError, match=r"net\.cell1 has the positions 0 to 6, but the list has 7"):
        from_indices(graph, [7] + [0] * 13)


HOSTILE = "x): import os; os.abort() #"


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": {HOSTILE: [3]}},
        {"nodes": [{"name": HOSTILE, "from": ["x"], "choice": ["relu"]}]},
        {"nodes": [{"name": "out", "from": ["x"], "choice": ["relu"], "norm": HOSTILE}]},
        {"nodes": [{"name": "out", "from": ["x"], "choice": ["relu"], "merge": {"how": "add", "activation": HOSTILE}}]},
        {"nodes": [{"name": "out", "from": ["x"], "choice": ["relu"], "merge": {"how": HOSTILE}}]},
        {"nodes": [{"name": "out", "from": ["x"], "choice": [HOSTILE]}]},
        {"nodes": [{"name": "out", "from": ["x"], "choice": [f"dense({HOSTILE})"]}]},
        {"nodes": [{"name": "out", "from": ["x"], "choice": [f"layers:{HOSTILE}(3)"]}]},
        {"nodes": [{"name": "out", "from": ["x"], "choice": ["layers:Gated('a')"]}]},
        {"nodes": [{"name": "out", "from": [HOSTILE], "choice": ["relu"]}]},
    ],
)
def test_nothing_but_names_and_numbers_becomes_a_program(change):
    data = {"inputs": {"x": [3]}, "nodes": [{"name": "out", "from": ["x"], "choice": ["relu"]}], **change}
    with pytest.raises((ValueError, KeyError)):
        network(Graph.from_data(data), {}, "net")
