"""``pilotune build`` writes the network of a trial, and says what is wrong where it has none."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import create_trial

from pilotune.pipeline.attributes import DEFINITION

from ..support.cli import Pilotune, alone, pilotune_
from ..support.graphs import graph_of

__all__ = ["alone", "pilotune_"]

GRAPH = "inputs: {x: 6}\ncells: 2\nchoice: [identity, dense(4), dense(8)]\nskips: 1\noutput: dense(2)\n"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database with the study ``net``, whose space has a graph, and ``plain``, which has none."""
    url = f"sqlite:///{tmp_path / 'study.db'}"
    graph = graph_of(GRAPH)
    distributions = {each.name: CategoricalDistribution(each.choices) for each in graph.variables("net")}
    study = optuna.create_study(storage=url, study_name="net")
    definition = {"space": {"parameters": {}, "graphs": {"net": graph.to_data()}}}
    study._storage.set_study_system_attr(study._study_id, DEFINITION, definition)
    for value, units in ((2.0, "dense(4)"), (1.0, "dense(8)")):
        params = {name: each.choices[0] for name, each in distributions.items()} | {"net.cell1": units}
        study.add_trial(create_trial(value=value, params=params, distributions=distributions))
    optuna.create_study(storage=url, study_name="plain").add_trial(create_trial(value=1.0))
    return url


def test_the_best_trials_network_is_a_program(pilotune: Pilotune, url: str) -> None:
    result = pilotune("build", "net", "--storage", url)
    assert result.code == 0
    assert "self.cell1 = nn.Linear(6, 8)" in result.out
    assert '"""The network of the best trial of the study net."""' in result.out


def test_a_trial_can_be_chosen_and_drawn(pilotune: Pilotune, url: str, tmp_path: Path) -> None:
    result = pilotune("build", "net", "--storage", url, "--trial", 0, "-o", tmp_path / "net.svg")
    assert (result.code, result.out) == (0, "")
    assert "wrote a picture of the network of trial 0" in result.err
    assert "cell1: dense(4)" in (tmp_path / "net.svg").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["net", "--trial", "9"], "study 'net' has no trial 9"),
        (["net", "--graph", "body"], "the space of study 'net' has no graph 'body'; it has net"),
        (["plain"], "the space of study 'plain' has no graph, so its trials have no network to build"),
        (["net", "-o", "/nonexistent/net.py"], "there is no folder /nonexistent to write net.py to"),
    ],
)
def test_what_cannot_be_built_is_said(pilotune: Pilotune, url: str, words: list[str], said: str) -> None:
    result = pilotune("build", *words, "--storage", url)
    assert result.code == 2
    assert said in result.err


def test_a_trial_without_the_graphs_parameters_is_refused_with_its_node(pilotune: Pilotune, url: str) -> None:
    optuna.load_study(storage=url, study_name="net").add_trial(create_trial(value=3.0))
    result = pilotune("build", "net", "--storage", url, "--trial", 2)
    assert result.code == 2
    assert "study 'net': node cell1: the parameters have no net.cell1" in result.err
