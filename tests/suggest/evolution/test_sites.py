"""Evolution on spaces with graphs: what changes together."""

import random

import pytest

from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.studyfile.graphs import variable_distributions
from pilotune.pipeline.suggest.evolution.breeding import Breeder
from pilotune.pipeline.suggest.evolution.individuals import Individual
from pilotune.pipeline.suggest.evolution.settings import Settings
from tests.support.graphs import STACKED_LSTM, graph_of

SPLIT = STACKED_LSTM.replace('"lstm({16..96..16})"', '"dense({16..96..16}, {relu, tanh})"') + "split: true\n"


def space_of(text):
    graph = graph_of(text.replace("lstm(5)", "dense(5)"))
    parameters = tuple(Parameter(name, kind) for name, kind in variable_distributions(graph, "net").items())
    return Space(parameters, graphs={"net": graph})


def children(space, settings, number):
    rng = random.Random(0)
    breeder = Breeder(settings, rng, space)
    for _ in range(number):
        parent = Individual(0, 0, (), space.sample(rng), (0.0,), 0.0, None)
        yield parent.params, breeder.child([parent], {})[0]


@pytest.mark.parametrize("step", [None, 0.1])
def test_a_child_differs_at_one_site(step):
    space = space_of(SPLIT)
    changed_sites = set()
    for parent, child in children(space, Settings(population=2, sample=1, step=step), 300):
        changed = {name for name in parent if parent[name] != child[name]}
        (site,) = [each for each in space.sites if changed & set(each.names)]
        assert changed <= set(site.names)
        assert site.joint is None or site.current(child) != site.current(parent)
        changed_sites.add(site.names[0])
    assert changed_sites == {site.names[0] for site in space.sites}


def test_a_node_that_is_split_changes_to_every_other_operation_alike():
    space = space_of(SPLIT)
    site = space.sites[0]
    found = [
        tuple(site.current(child).values())
        for parent, child in children(space, Settings(population=2, sample=1), 6000)
        if parent["net.cell1"] == "identity" != child["net.cell1"]
    ]
    counts = {operation: found.count(operation) for operation in found}
    assert len(counts) == 12
    assert max(counts.values()) < 3 * min(counts.values())


def test_a_step_changes_units_to_near_ones():
    space = space_of(SPLIT)
    for parent, child in children(space, Settings(population=2, sample=1, step=0.05), 300):
        assert abs(parent["net.cell1.units"] - child["net.cell1.units"]) <= 32
