"""Networks are built with PyTorch as they were counted, and live without Pilotune."""

import copy
import pickle
import random
import subprocess
import sys
import textwrap

import pytest
import torch

from pilotune.errors import UserError
from pilotune.pipeline.architecture.build import build, network_of
from pilotune.pipeline.architecture.operations import KINDS
from pilotune.pipeline.architecture.source import RESERVED, source
from tests.support.graphs import COMBO, DENSE_SKIP_CO, STACKED_LSTM, graph_of
from tests.support.sizes import at_size

SHAPES = {1: [[6], [54]], 2: [[8, 5], [3, 8]], 3: [[3, 8, 8], [4, 9, 7]]}
"""By number of dimensions, the inputs that each operation is tried on."""

TEXTS = {
    "dense": ["dense(7)", "dense(5, silu)", "dense(8, leaky_relu)"],
    "dropout": ["dropout(0.1)"],
    "lstm": ["lstm(6)"],
    "gru": ["gru(6)"],
    "conv": ["conv(6)", "conv(5, 5, relu)", "conv(4, 1, elu, 2)"],
    "conv1d": ["conv1d(6)", "conv1d(4, 5, gelu)"],
    "maxpool": ["maxpool", "maxpool(3)"],
    "avgpool": ["avgpool(2)"],
    "repeat": ["repeat(4)"],
    "attention": ["attention(8, 2)", "attention(12)"],
}
"""How each operation is tried; others have no arguments."""

CNN = """
inputs: {x: [3, 16, 16]}
stages:
  - {cells: 4, choice: [identity, "conv({4, 8}, {3, 5}, {relu, silu})"], skips: 2, norm: batch, pool: {every: 2}}
  - flatten
  - {cells: 2, choice: [identity, "dense({8, 16}, relu)"]}
output: dense(10)
"""

DIRECT = """
inputs: {x: [8, 5]}
cells: 2
choice: [identity, "lstm({8, 16})", "gru(8)", "attention(8, 2)", "conv1d(8, 3, relu)"]
skips: 1
merge: {add: project, norm: layer, activation: gelu, always: true}
output: {chain: [last, dense(40), "reshape(8, 5)"], add: [last, repeat(8)]}
"""


def random_params(text, seed, name="net"):
    graph, rng = graph_of(text), random.Random(seed)
    return {**{each.name: rng.choice(each.choices) for each in graph.variables(name)}, name: graph.to_data()}


def single(text, shape):
    """The parameters of a network of one operation."""
    return {"net": graph_of(f"inputs: {{x: {shape}}}\nnodes: {{out: {{from: x, op: '{text}'}}}}").to_data()}


@pytest.mark.parametrize("name", KINDS)
def test_each_operation_counts_and_shapes_as_its_module_does(name):
    for text in TEXTS.get(name, [name]):
        for rank in KINDS[name].ranks:
            for shape in SHAPES[rank]:
                if name == "reshape":
                    size = torch.Size(shape).numel()
                    text = f"reshape({size}, 1)"
                params = single(text, shape)
                found, module = network_of(params), build(params)
                assert found.parameters == sum(each.numel() for each in module.parameters()), (text, shape)
                assert tuple(module.eval()(torch.randn(2, *shape)).shape[1:]) == found.shape, (text, shape)


@pytest.mark.parametrize("text", [DENSE_SKIP_CO, STACKED_LSTM, CNN, DIRECT])
@pytest.mark.parametrize("seed", range(8))
def test_random_networks_are_as_they_were_counted(text, seed):
    params = random_params(text, seed)
    found, module = network_of(params), build(params)
    assert found.parameters == sum(each.numel() for each in module.parameters())
    (shape,) = found.inputs.values()
    out = module(torch.randn(4, *shape))
    assert tuple(out.shape[1:]) == found.shape
    out.sum().backward()


@pytest.mark.parametrize("text", [DENSE_SKIP_CO, STACKED_LSTM, CNN, DIRECT])
def test_many_networks_have_the_weights_that_were_counted(text):
    for seed in range(100, 100 + at_size(8, 100)):
        with torch.device("meta"):
            build(random_params(text, seed))  # it compares them


def test_a_mirror_shares_its_weights():
    text = COMBO.replace("{50..1975..25}", "{8, 16}").replace("3839", "6").replace("942", "7")
    params = {**random_params(text, 1), "net.d1": "dense(16, relu)", "net.enc": "dense(8, relu)"}
    module = build(params)
    names = [name for name, _ in module.named_parameters()]
    assert "d1.weight" in names
    assert not [name for name in names if name.startswith("d2")]
    assert module(torch.randn(3, 7), torch.randn(3, 6), torch.randn(3, 6)).shape == (3, 1)


def test_a_network_can_be_copied_and_pickled():
    module = build(random_params(CNN, 3)).eval()
    x = torch.randn(2, 3, 16, 16)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(other(x), module(x))
        with torch.no_grad():
            next(iter(other.parameters())).add_(1)
        assert not torch.equal(other(x), module(x))


@pytest.mark.parametrize("text", [pytest.param(DENSE_SKIP_CO, marks=pytest.mark.exhaustive), CNN, DIRECT])
def test_the_program_needs_pytorch_only_and_loads_the_weights(text, tmp_path):
    params = random_params(text, 5)
    module = build(params).eval()
    (shape,) = network_of(params).inputs.values()
    x = torch.randn(2, *shape)
    (tmp_path / "net.py").write_text(source(network_of(params)))
    torch.save({"weights": module.state_dict(), "x": x, "y": module(x)}, tmp_path / "saved.pt")
    program = """
        import sys, torch
        from net import Net
        saved = torch.load("saved.pt")
        net = Net().eval()
        net.load_state_dict(saved["weights"])
        assert torch.allclose(net(saved["x"]), saved["y"])
        assert not {"pilotune", "optuna"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path, check=True, timeout=120)


def test_a_layer_of_the_users_own_is_measured_when_it_is_built(tmp_path, monkeypatch):
    (tmp_path / "my_layers.py").write_text(
        "from torch import nn\n\n\n"
        "def Gated(shape, units):\n    return nn.Sequential(nn.Linear(shape[-1], units), nn.GELU())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = "inputs: {x: 6}\nnodes: {a: {from: x, op: 'my_layers:Gated(9)'}, out: {from: a, op: dense(2)}}"
    params = random_params(text, 0)
    assert network_of(params).parameters == 7 * 9 + 10 * 2
    assert build(params)(torch.randn(3, 6)).shape == (3, 2)
    assert "self.a = my_layers.Gated((6,), 9)" in source(network_of(params))


OWN = """
import torch
from torch import nn

shared = nn.Linear(6, 6)


def fails(shape):
    raise RuntimeError("no units")


def fails_later(shape):
    return nn.Linear(7, 7)


def gives_text(shape):
    return "dense"


def gives_a_pair(shape):
    return nn.LSTM(6, 6)


class Outer:
    class Net(nn.Identity):
        def __init__(self, shape):
            super().__init__()


def the_same(shape):
    return shared
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Makes the parameters of a network with a callable of the file ``own_layers.py``."""
    (tmp_path / "own_layers.py").write_text(OWN)
    (tmp_path / "broken_layers.py").write_text("raise OSError('no disk')\n")
    monkeypatch.syspath_prepend(tmp_path)
    text = "inputs: {{x: 6}}\nnodes: {{a: {{from: x, op: '{}'}}, out: {{from: a, op: '{}'}}}}"
    yield lambda name, last="relu": random_params(text.format(name, last), 0)
    sys.modules.pop("own_layers", None)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("absent", r"graph net, node a: own_layers:absent cannot be imported: AttributeError: module 'own_layers' has"),
        ("fails", r"node a: own_layers:fails fails for an input of 6: RuntimeError: no units \(own_layers\.py:9\)"),
        ("fails_later", r"node a: own_layers:fails_later fails on a batch of 6: RuntimeError: mat1 and mat2 shapes"),
        ("gives_text", "node a: own_layers:gives_text gives a str instead of a torch.nn.Module"),
        ("gives_a_pair", "node a: own_layers:gives_a_pair does not give one tensor for a batch of 6"),
    ],
)
def test_what_is_wrong_with_a_layer_of_the_users_own_is_said_with_its_node(own, name, said):
    with pytest.raises(UserError, match=said) as raised:
        build(own(f"own_layers:{name}"))
    assert (raised.value.__cause__ is None) == name.startswith("gives")  # else the traceback shows the user's line


def test_a_module_that_cannot_be_imported_is_named_with_its_node(own):
    with pytest.raises(UserError, match=r"node a: broken_layers:F cannot be imported: OSError: no disk \(broken_lay"):
        build(own("broken_layers:F"))


def test_layers_of_the_users_own_may_be_nested_have_any_name_and_share_weights(own):
    assert build(own("own_layers:Outer.Net"))(torch.randn(3, 6)).shape == (3, 6)
    module = build(own("own_layers:the_same", "own_layers:the_same"))
    assert module.a is module.out


def test_parameters_without_the_graph_are_refused():
    with pytest.raises(UserError, match="the parameters have no graph 'net'; they have no graph"):
        build({"lr": 0.1})
    with pytest.raises(UserError, match="no graph 'net'; the graphs are other"):
        build(random_params(CNN, 0, "other"))
    with pytest.raises(UserError, match="'net' is no graph of a study file"):
        build({"net": {"nodes": 3}})


def test_no_node_may_have_a_name_of_a_module():
    names = {name for name in dir(torch.nn.Module) if not name.startswith("_")}
    assert names - RESERVED == set()
