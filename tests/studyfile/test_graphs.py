"""Graphs in study files: what is read, and what each mistake says."""

import math

import pytest
from optuna.distributions import IntDistribution

from pilotune.errors import UserError
from pilotune.pipeline.space import differences
from pilotune.pipeline.studyfile.graphs import build_graph
from pilotune.pipeline.studyfile.spaces import build_space
from pilotune.yamlfile import parse_yaml
from tests.support.graphs import DENSE_SKIP_CO, graph_of

CHAIN = "inputs: {x: 8}\ncells: 2\nchoice: [identity, dense(4)]\noutput: dense(2)\n"


def space_of(graph, constraints=(), more=""):
    indented = "".join(f"      {line}\n" for line in graph.strip().splitlines())
    listed = "".join(f"  - {each}\n" for each in constraints)
    text = f"space:\n  net:\n    graph:\n{indented}{more}" + (f"constraints:\n{listed}" if listed else "")
    source = parse_yaml(text, "study.yaml")
    return build_space(source.data["space"], tuple(constraints), source)


def test_the_variables_of_a_graph_are_parameters_of_the_space():
    space = space_of(CHAIN, more="  lr: {float: [0.1, 1]}\n")
    assert [p.name for p in space.parameters] == ["net.cell1", "net.cell2", "lr"]
    assert space.names == ["net.cell1", "net.cell2", "lr", "net"]
    given = space.for_objective({"net.cell1": "dense(4)", "net.cell2": "identity", "lr": 0.5})
    assert given["net"] == space.graphs["net"].to_data()


def test_constraints_may_count_the_weights():
    space = space_of(DENSE_SKIP_CO, ["net_parameters <= 30000"])
    plain = {name: each.choices[0] for name, each in space.distributions.items()}
    assert space.feasible(plain)
    assert not space.feasible({**plain, **{f"net.cell{n}": "dense(96, relu)" for n in range(1, 11)}})


def test_networks_that_cannot_be_built_are_not_in_the_space():
    text = "inputs: {x: [1, 4, 4]}\ncells: 4\nchoice: [identity, maxpool(2)]\noutput: [flatten, dense(2)]\n"
    space = space_of(text)
    assert [each.text for each in space.constraints] == ["net_fits"]
    plain = dict.fromkeys(space.distributions, "identity")
    assert space.feasible({**plain, "net.cell1": "maxpool(2)", "net.cell2": "maxpool(2)"})
    assert not space.feasible(dict.fromkeys(plain, "maxpool(2)"))
    assert space.derived({"net_parameters"}, dict.fromkeys(plain, "maxpool(2)"))["net_parameters"] == math.inf


def test_another_graph_is_another_space():
    old, new = space_of(CHAIN).to_json(), space_of(CHAIN.replace("dense(2)", "dense(3)")).to_json()
    assert differences(old, old) == []
    assert differences(old, new) == ["net: another graph in the database than in the study file"]


def test_nodes_may_stand_in_any_order_and_the_output_comes_last():
    graph = graph_of(
        "inputs: {x: 8}\nnodes: {out: {from: b, op: dense(1)}, b: {from: a, op: relu}, a: {from: x, op: dense(4)}}"
    )
    assert [node.name for node in graph.nodes] == ["a", "b", "out"]


NODES = "inputs: {x: 8, y: [4, 3]}\nnodes:\n"
CHOICES = "choice: [dense(4), dense(8)]"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("[1]", 2, "must be a mapping, as in {inputs: {x: 54}, cells: 3, ...}, but is [1]"),
        ("inputs: {x: 8}", 2, "has no nodes; give `cells` (a chain), `stages` (several chains) or `nodes` (by name)"),
        (CHAIN + "nodes: {}", 7, "has both cells and nodes; give `cells`"),
        (CHAIN + "sells: 3", 7, "unknown key; did you mean 'cells'?"),
        (CHAIN.replace("8", "0"), 3, "must be a shape, as 54 (features), [8, 5] (steps, features)"),
        (CHAIN.replace("cells: 2", "cells: 0"), 4, "must be a whole number from 1 to 1000, but is 0"),
        (CHAIN.replace("dense(4)", "danse(4)"), 5, "node cell1: 'danse(4)' is no operation; known are"),
        (CHAIN.replace("dense(4)", "dense(0)"), 5, "'dense(0)' has a wrong argument: units is a whole number from"),
        (CHAIN.replace("dense(4)", "dense()"), 5, "node cell1: 'dense' needs units, as in dense(64)"),
        (CHAIN.replace("dense(4)", '"dense(4, rely)"'), 5, "the activation is one of linear, relu,"),
        (CHAIN.replace("dense(4)", '"dense({4..9..2})"'), 5, "has the range 4..9..2, whose steps do not lead"),
        (CHAIN.replace("dense(4)", 'dense(4), "dense(4, linear)"'), 5, "node cell1: 'dense(4, linear)' is there twice"),
        (CHAIN.replace("dense(4)", "lstm(4)"), 5, "node cell1: lstm(4) needs an input of steps x features, but gets 8"),
        (CHAIN.replace("dense(2)", "mean"), 6, "node output: mean needs an input of steps x features or channels x"),
        (CHAIN.replace("dense(2)", '"reshape(3, 3)"'), 6, "reshape(3, 3) needs an input of 9 numbers, but gets"),
        (CHAIN + "merge: {add: project, activation: rely}", 7, "is one of linear, relu,"),
        (CHAIN + "norm: bach", 7, "is one of none, batch, layer, but here 'bach'"),
        (NODES + "  a: {from: z, op: relu}", 5, "node a: there is no input or node 'z'; known are x, y"),
        (NODES + "  b: {from: [x, c], op: relu}\n  c: {from: b, op: relu}", 5, "cycle: b -> c -> b"),
        (NODES + "  a: {from: [x, b], op: relu, skips: b}\n  b: {from: a, op: relu}", 5, "form a cycle: a -> b -> a"),
        (NODES + "  a: {from: x, op: relu, skips: b}\n  b: {from: a, op: relu}", 5, "from b would go back"),
        (
            NODES + f"  a: {{from: x, {CHOICES}}}\n  b: {{from: a, mime: a, choice: [dense(1), dense(2), dense(3)]}}",
            6,
            "node b has 3 operations, but a, which it mimes by position, has 2 operations",
        ),
        (NODES + "  a: {from: [x, y], op: relu}", 5, "node a: cannot join 8 and 4 x 3"),
        (NODES + "  a: {from: [x, y], merge: add, op: relu}", 5, "node a: cannot add 4 x 3 to 8"),
        (NODES + f"  a: {{from: x, {CHOICES}}}\n  b: {{from: y, mirror: a}}\n  c: {{from: a, op: relu}}\n"
                 "  d: {from: [c, c2], op: relu}\n  c2: {from: b, op: [flatten]}", 6, "mirrors a, whose input is 8"),
        (NODES + "  a: {from: x, op: relu}\n  b: {from: x, op: relu}", 2, "has several last nodes, a, b; let all but"),
        (NODES + "  train: {from: x, op: relu}", 5, "'train' means something else in PyTorch; rename the node"),
        (NODES + "  a: {from: x}", 5, "node a has no operation; give one of choice, op and mirror"),
        (CHAIN.replace("x: 8", "cell1: 8"), 3, "'cell1' is also the name of a node of the graph; rename the input"),
        (CHAIN.replace("8", str(10**12)), 3, "must be a shape, as 54 (features), [8, 5] (steps, features)"),
        (CHAIN.replace("dense(4)", f"dense({10**12})"), 5, "units is a whole number from 1 to 1,000,000,000, but is"),
        (CHAIN.replace("dense(4)", "dropout(1e999)"), 5, "has the argument '1e999'; give a number"),
        (CHAIN.replace("dense(4)", '"mine.py:Gated(4)"'), 5, "names a file; write its module, as in mine:Gated"),
        (CHAIN.replace("dense(4)", '"nn:Gated(4)"'), 5, "has the name nn, which means something else in a program"),
        (CHAIN.replace("dense(4)", '"mine:class(4)"'), 5, "has the name class, which means something else in a"),
        (CHAIN + "merge: {add: project, activation: [relu]}", 7, "is one of linear, relu,"),
        (CHAIN + "cell: 3", 7, "unknown key; did you mean 'cells'?"),
        (CHAIN.replace("cells: 2", "cells: 1000\nskips: 20"), 2, "more parameters than a graph may have: 20,810"),
        ("inputs: {x: 8, y: 4}\nnodes: {a: {from: x, op: relu}}", 3, "input y leads to no node; name it in the `from`"),
        (NODES + "  a: {from: x, op: relu, skips: y}", 5, "node a: the connection from y never fits: cannot add 4 x 3"),
        (NODES + "  a: {from: [x, a], op: relu}", 5, "node a: the nodes form a cycle: a -> a"),
        (NODES + "  a: {from: x, op: relu, skips: a}", 5, "from a would go back, since it is the node itself"),
        (NODES + "  a: {from: x, mirror: a}", 5, "node a cannot mirror itself; name another node"),
        (NODES + "  a: {from: x, mirror: [a]}", 5, "node a: `mirror` names a node, but has ['a']"),
        (NODES + "  a: {from: x, op: relu}\noutput: [a]", 6, "there is no node ['a']"),
        (NODES + "  a: {from: x, op: relu}\npool: {every: 2}", 6, "belongs to a chain; here a pooling is a node"),
        (NODES + "  a: {from: x, op: relu}\nskips: [x]", 6, "must be a mapping of nodes to points before them, as in"),
        (NODES + "  a: {from: x, op: relu}\nskips: {b: [x]}", 6, "there is no node 'b'; known are a"),
        (NODES + "  a: {from: x, op: relu, skips: x}\nskips: {a: [x]}", 6, "node a has `skips` of its own; give one"),
        (NODES + "  '': {from: x, op: relu}\n  a: {from: ['', y], op: relu}", 5, "'': the name of a node or input is"),
        (NODES + f"  {'a' * 65}: {{from: [x, y], op: relu}}", 5, "is too long; the most for a node or input is"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_sentence_with_its_line(text, line, said):
    with pytest.raises(UserError) as raised:
        graph_of(text)
    assert said in raised.value.message
    assert raised.value.line == line


def test_a_rare_network_that_fits_is_enough():
    """Most networks of forty poolings leave nothing; that with none does not."""
    text = "inputs: {x: [1, 4, 4]}\ncells: 40\nchoice: [maxpool(2), identity]\noutput: [flatten, dense(2)]\n"
    assert len(graph_of(text).nodes) == 42


def test_a_node_may_have_thousands_of_operations():
    assert len(graph_of(CHAIN.replace("dense(4)", '"dense({1..5000})"')).nodes[0].choices) == 5001


def test_a_callable_must_be_in_the_file_beside_the_study(tmp_path):
    (tmp_path / "mine.py").write_text("import torch\n\n\ndef Gated(shape, units): ...\n")
    text = "space: {graph: {inputs: {x: 8}, nodes: {a: {from: x, op: 'mine:Gated(4)'}}}}\n"

    def read(text):
        file = tmp_path / "study.yaml"
        file.write_text(text)
        source = parse_yaml(text, file)
        return build_graph(source.data["space"]["graph"], "space.graph", source)

    assert read(text).nodes
    with pytest.raises(UserError, match=r"node a: 'mine:Gate': mine\.py has no class or function 'Gate'; did you mean"):
        read(text.replace("Gated", "Gate"))
    with pytest.raises(UserError, match="node a: 'mime:Gated': there is no module 'mime' in"):
        read(text.replace("mine", "mime"))


def test_names_that_a_graph_needs_are_taken():
    with pytest.raises(UserError, match="is a name that the graph net needs; rename one of them"):
        space_of(CHAIN, more="  net_parameters: 3\n")


def test_the_names_of_a_graphs_parameters_are_short_enough_for_the_database():
    name = "a" * 120
    graph = "{inputs: {x: 8}, cells: 1, choice: [relu, tanh], output: relu}"
    source = parse_yaml(f"space:\n  {name}:\n    graph: {graph}", "study.yaml")
    with pytest.raises(UserError, match=r"aaa_parameters, longer than 128 letters; shorten the graph's name"):
        build_space(source.data["space"], (), source)


def test_weights_of_own_layers_cannot_be_constrained():
    text = CHAIN.replace("dense(4)", '"mine:Gated(4)"')
    assert space_of(text).graphs
    with pytest.raises(UserError, match=r"the weights of mine:Gated\(4\), a layer of your own, cannot"):
        space_of(text, ["net_parameters < 10"])


def test_a_split_graph_has_a_site_for_each_operation_and_each_connection():
    graph = CHAIN.replace("dense(4)", '"dense({16..48..16}, {relu, tanh})"') + "skips: 1\nsplit: true\n"
    space = space_of(graph, more="  lr: {float: [0.1, 1]}\n")
    assert [site.names for site in space.sites] == [
        ("net.cell1", "net.cell1.units", "net.cell1.activation"),
        ("net.cell1.skip1",),
        ("net.cell2", "net.cell2.units", "net.cell2.activation"),
        ("net.cell2.skip1",),
        ("lr",),
    ]
    assert space.distributions["net.cell1.units"] == IntDistribution(16, 48, step=16)


def test_operations_that_are_no_product_cannot_be_split():
    graph = CHAIN.replace("dense(4)", '"dense(16, relu)", "dense(32, tanh)"') + "split: true\n"
    with pytest.raises(UserError, match="node cell1: split needs every combination of the arguments of dense"):
        space_of(graph)
    with pytest.raises(UserError, match=r"net\.graph\.split"):
        space_of(CHAIN + "split: please\n")
