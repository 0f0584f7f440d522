"""The sampler agebo: evolution of a graph beside a model of the rest."""

import pickle
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from optuna.distributions import FloatDistribution

from pilotune.errors import UserError
from pilotune.pipeline.architecture.network import network
from pilotune.pipeline.expressions import Constraint
from pilotune.pipeline.registry_args import Named
from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.studyfile.graphs import variable_distributions
from pilotune.pipeline.suggest import make_sampler
from pilotune.pipeline.suggest.networks import AgEBOSampler
from pilotune.pipeline.suggest.registry import resolved_sampler
from tests.support.graphs import DENSE_SKIP_CO, graph_of

GRAPH = graph_of(DENSE_SKIP_CO.replace("cells: 10", "cells: 4"))
NETWORK = tuple(Parameter(name, kind) for name, kind in variable_distributions(GRAPH, "net").items())
RATE = (Parameter("lr", FloatDistribution(1e-4, 1.0, log=True)), Parameter("decay", FloatDistribution(0.0, 1.0)))
NAMES = [parameter.name for parameter in NETWORK]


def space_of(*constraints):
    return Space((*NETWORK, *RATE), constraints=tuple(map(Constraint, constraints)), graphs={"net": GRAPH})


def value(params):
    return sum(params[f"net.cell{i}"] == "dense(96, relu)" for i in range(1, 5)) - abs(params["lr"] - 0.1)


def run(sampler, space, trials, fails=()):
    """A study with four running trials at any time."""
    study, waiting = optuna.create_study(direction="maximize", sampler=sampler), []
    for _ in range(trials):
        trial = study.ask()
        waiting.append((trial, space.suggest(trial)))
        if len(waiting) == 4:
            done, params = waiting.pop(0)
            failed = done.number in fails
            study.tell(done, None if failed else value(params), optuna.trial.TrialState.FAIL if failed else None)
    return study


@pytest.mark.parametrize(
    "args",
    [{}, {"see": True}, {"model": "tpe"}, {"model": "forest", "kappa": 0.001}, {"model": "forest", "see": True}],
    ids=str,
)
def test_a_child_has_its_parents_network_changed_at_one_node_and_other_hyperparameters(args):
    space = space_of("net_parameters <= 20000", "lr * decay < 0.5")
    study = run(
        AgEBOSampler(evolve="net", population=8, sample=3, seed=0, space=space, **args), space, 40, fails={3, 20}
    )
    trials = study.trials
    children = [trial for trial in trials if "pilotune:parent" in trial.system_attrs]
    assert len(children) >= 20
    for child in children:
        parent = trials[child.system_attrs["pilotune:parent"]]
        assert parent.state == optuna.trial.TrialState.COMPLETE
        assert sum(child.params[name] != parent.params[name] for name in NAMES) == 1
        assert child.params["lr"] != parent.params["lr"]
    assert all(network(GRAPH, trial.params, "net").parameters <= 20_000 for trial in trials)
    assert all(trial.params["lr"] * trial.params["decay"] < 0.5 for trial in trials)


def test_the_model_knows_the_architecture_only_where_it_is_told_to():
    space = space_of()
    for see in (False, True):
        sampler = AgEBOSampler(seed=0, space=space, see=see)
        assert set(sampler._model._space.distributions) == set(space.distributions if see else ("lr", "decay"))


def test_as_published_the_forest_takes_the_lower_bound_and_counts_running_trials_as_the_best():
    options = AgEBOSampler(model="forest", kappa=0.001, space=space_of())._model._options
    assert (options.acquire, options.kappa, options.decay, options.lie) == ("lcb", 0.001, 0, "min")


def test_values_that_were_enqueued_stay_as_they_are():
    space = space_of()
    study = optuna.create_study(sampler=AgEBOSampler(population=2, sample=1, seed=0, space=space))
    for _ in range(3):
        trial = study.ask()
        space.suggest(trial)
        study.tell(trial, 1.0)
    study.enqueue_trial({"net.cell1": "dense(16, tanh)", "lr": 0.25})
    params = space.suggest(study.ask())
    assert (params["net.cell1"], params["lr"], len(params)) == ("dense(16, tanh)", 0.25, len(space.parameters))


def test_another_driver_goes_on_with_the_same_population():
    space = space_of()
    study = run(AgEBOSampler(population=4, sample=2, seed=0, space=space), space, 12)
    study.sampler = pickle.loads(pickle.dumps(AgEBOSampler(population=4, sample=2, seed=1, space=space)))
    trial = study.ask()
    space.suggest(trial)
    assert study.trials[-1].system_attrs["pilotune:parent"] in range(12)


def made(args, space):
    def error(message, key=""):
        return UserError(message, key=key)

    named = resolved_sampler("agebo", args, Path(), 200)
    return make_sampler(
        SimpleNamespace(sampler=named, space=space, directions=("minimize",), folder=Path(), error=error)
    )


def test_its_population_follows_from_the_budget():
    assert made({}, space_of()).settings.population == 40
    assert resolved_sampler("agebo", {"seed": 1}, Path(), 1000) == Named(
        "agebo", {"seed": 1, "population": 100, "sample": 10}
    )


@pytest.mark.parametrize(
    ("args", "space", "message"),
    [
        ({}, Space(RATE), "agebo needs a graph in the space; without one, use ageing or gp"),
        ({}, None, "agebo needs a graph in the space"),
        ({}, Space(NETWORK, graphs={"net": GRAPH}), "agebo needs a hyperparameter beside the graph"),
        ({"evolve": "nett"}, space_of(), r"sampler\.evolve: must name a graph of the space, net, but is 'nett'"),
        ({"model": "cmaes"}, space_of(), r"sampler\.model: must be one of gp, forest, tpe, but is 'cmaes'"),
        ({"kappa": 1.0}, space_of(), "kappa is the forest's: write model: forest, or leave it out with gp"),
        ({"model": "tpe", "see": True}, space_of(), "tpe cannot suggest for a given architecture"),
    ],
)
def test_what_contradicts_itself_is_refused(args, space, message):
    with pytest.raises(UserError, match=message):
        made(args, space)


def test_spaces_of_hyperparameters_only_keep_their_own_constraints():
    model = AgEBOSampler(space=space_of("net_parameters < 10000", "lr < 0.5", "decay < 0.5 or net_fits"))._model
    assert [each.text for each in model._space.constraints] == ["lr < 0.5"]
