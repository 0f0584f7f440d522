"""Spaces of networks for tests, as study files describe them."""

from __future__ import annotations

from pathlib import Path

from pilotune.pipeline.architecture.graph import Graph
from pilotune.pipeline.studyfile.graphs import build_graph
from pilotune.yamlfile import parse_yaml

DENSE_SKIP_CO = """
inputs: {x: 54}
cells: 10
choice: [identity, "dense({16..96..16}, {linear, silu, relu, tanh, sigmoid})"]
skips: 3
merge: {add: project, activation: relu}
output: dense(7)
"""
"""The tabular space of AgEBO (NASBigData, dense_skipco)."""

COVERTYPE_WINNER = [
    *(9, 1, 30, 1, 1, 28, 1, 1, 0, 24, 0, 0, 1, 23, 0, 1, 0, 27, 1, 1, 1, 18, 0, 1, 1, 2, 0, 1, 1, 14, 1, 1, 0, 20),
    *(1, 0, 1),
]
"""AgEBO's published network for Covertype, by position (NASBigData, covertype/best)."""

STACKED_LSTM = """
inputs: {x: [8, 5]}
cells: 5
choice: [identity, "lstm({16..96..16})"]
skips: 2
merge: {add: project, activation: relu}
output: lstm(5)
"""
"""The space of the sea-surface temperature experiment (SC20)."""

COMBO = """
inputs: {genes: 942, drug1: 3839, drug2: 3839}
nodes:
  enc: {from: genes, choice: [identity, "dense({50..1975..25}, {linear, silu, relu, tanh, sigmoid})"]}
  d1: {from: drug1, choice: [identity, "dense({50..1975..25}, {linear, silu, relu, tanh, sigmoid})"]}
  d2: {from: drug2, mirror: d1}
  tail:
    from: [enc, d1, d2]
    mime: enc
    choice: [identity, "dense({50..1975..25}, {linear, silu, relu, tanh, sigmoid})"]
  out: {from: tail, op: dense(1)}
skips: {tail: [genes, enc]}
merge: {add: project, activation: relu}
"""
"""Three inputs, of which two share weights, as in AgEBO's Combo experiment."""


def graph_of(text: str) -> Graph:
    """The graph that ``text``, the value of ``graph:``, describes."""
    indented = "".join(f"    {line}\n" for line in text.strip().splitlines())
    source = parse_yaml(f"space:\n  graph:\n{indented}", Path("study.yaml"))
    return build_graph(source.data["space"]["graph"], "space.graph", source)
