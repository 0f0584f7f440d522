"""Accuracy and size of networks as two objectives, on the same parameters as every other search."""

import itertools

import optuna
import pytest

from pilotune.pipeline.architecture.network import network
from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.studyfile.graphs import variable_distributions
from tests.support.graphs import DENSE_SKIP_CO, graph_of


@pytest.mark.parametrize("split", [False, True])
def test_nsgaii_trades_accuracy_for_the_number_of_weights(split):
    text = DENSE_SKIP_CO.replace("cells: 10", "cells: 3") + ("split: true\n" if split else "")
    graph = graph_of(text)
    space = Space(
        tuple(Parameter(name, kind) for name, kind in variable_distributions(graph, "net").items()),
        graphs={"net": graph},
    )

    def objective(trial):
        params = space.suggest(trial)
        found = network(graph, params, "net")
        widths = [int(call[6:8]) for call in found.chosen.values() if call.startswith("dense(") and "relu" in call]
        return float(sum(widths)), float(found.parameters)

    study = optuna.create_study(
        directions=["maximize", "minimize"],
        sampler=optuna.samplers.NSGAIISampler(population_size=20, seed=0),
    )
    study.optimize(objective, n_trials=200)
    front = sorted((trial.values for trial in study.best_trials), key=lambda values: values[1])
    at_random = [trial.values for trial in study.trials[:20]]
    assert len({tuple(values) for values in front}) >= 5
    assert all(one[0] < other[0] for one, other in itertools.pairwise(front) if one[1] < other[1])
    assert max(values[0] for values in front) > max(values[0] for values in at_random)
    assert min(values[1] for values in front) <= min(values[1] for values in at_random)
