"""The distributions of a graph's parameters."""

from __future__ import annotations

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from ...architecture.graph import Graph, Variable


def variable_distributions(graph: Graph, name: str) -> dict[str, BaseDistribution]:
    """The distributions of a graph's parameters.

    Args:
        graph: The graph.
        name: Its name.

    Example:
        >>> from pilotune.pipeline.architecture.graph import Node
        >>> choices = ("dense(16)", "dense(32)", "dense(48)")
        >>> variable_distributions(Graph({"x": (8,)}, (Node("cell1", ("x",), choices, split=True),)), "net")
        {'net.cell1.units': IntDistribution(high=48, log=False, low=16, step=16)}
    """
    return {each.name: _distribution(each) for each in graph.variables(name)}


def _distribution(variable: Variable) -> BaseDistribution:
    if variable.step is None:
        return CategoricalDistribution(variable.choices)
    low, high = variable.choices[0], variable.choices[-1]
    assert isinstance(low, int)
    assert isinstance(high, int)
    return IntDistribution(low, high, step=variable.step)
