"""Weights of one network for another."""

import pytest

from pilotune.pipeline.architecture.build import build
from pilotune.pipeline.architecture.indices import from_indices
from pilotune.pipeline.architecture.inherit import inherit
from tests.support.graphs import graph_of

torch = pytest.importorskip("torch")

GRAPH = graph_of("""
inputs: {x: 8}
cells: 3
choice: [identity, "dense({4, 6}, {relu, tanh})"]
output: dense(2)
""")


def net_of(*indices):
    return build({"net": GRAPH.to_data(), **from_indices(GRAPH, indices)}, "net")


@pytest.mark.parametrize(
    ("changed", "weights"),
    [
        ([2, 1, 1], (9 * 4) + (5 * 4) * 2 + 5 * 2),  # another activation: all weights
        ([3, 1, 1], 4 + (5 * 4) + 5 * 2),  # six units: two layers have another shape, but one bias is the same
        ([0, 1, 1], 4 + (5 * 4) + 5 * 2),  # without the first layer
    ],
)
def test_layers_of_equal_names_and_shapes_come_along(changed, weights):
    parent, child = net_of(1, 1, 1), net_of(*changed)
    assert inherit(child, parent.state_dict()) == weights
    assert torch.equal(child.output.weight, parent.output.weight)
    assert child(torch.zeros(3, 8)).shape == (3, 2)
