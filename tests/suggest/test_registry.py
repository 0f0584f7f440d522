"""Samplers by name: their arguments, their errors, and those that other packages add."""

import logging
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from pilotune.errors import UserError
from pilotune.pipeline import registry_args
from pilotune.pipeline.registry_args import Named
from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.suggest import grid_values, make_sampler, sampler_arguments, sampler_name, sampler_names
from pilotune.pipeline.suggest.registry import EVOLUTION, POPULATION

FLAT = Space((Parameter("x", FloatDistribution(0, 1)), Parameter("n", IntDistribution(1, 4))))
FINITE = Space((Parameter("a", IntDistribution(0, 4, step=2)), Parameter("b", CategoricalDistribution(["p", "q"]))))
CONDITIONAL = Space(
    (Parameter("b", CategoricalDistribution(["p", "q"])), Parameter("x", FloatDistribution(0, 1), {"b": ("p",)}))
)


def study_file(name, space=FLAT, directions=("minimize",), **args):
    def error(message, key=""):
        return UserError(message, key=key)

    return SimpleNamespace(sampler=Named(name, args), space=space, directions=directions, folder=Path(), error=error)


def first_values(sampler, count=12, space=FLAT):
    study = optuna.create_study(sampler=sampler)
    values = []
    for _ in range(count):
        trial = study.ask()
        params = space.suggest(trial)
        values.append(tuple(params.items()))
        study.tell(trial, float(len(values)))
    return values


CASES = [
    ("tpe", FLAT, {}),
    ("tpe", CONDITIONAL, {}),
    ("optuna_tpe", CONDITIONAL, {}),
    ("evolution", CONDITIONAL, {"population": 3, "crossover": 0.5, "barrier": True, "offspring": 3}),
    ("ageing", CONDITIONAL, {"population": 3}),
    ("genetic", FLAT, {"population": 3, "barrier": True}),
    ("dhpo", FLAT, {"mutate": 0.5}),
    ("reinforce", CONDITIONAL, {}),
    ("random", FLAT, {}),
    ("grid", FINITE, {}),
    ("qmc", FLAT, {"scramble": True}),
    ("gp", FLAT, {"n_startup_trials": 50}),
    ("forest", CONDITIONAL, {"n_startup_trials": 3, "trees": 5, "candidates": 50, "acquire": "gp_hedge", "lie": "max"}),
    ("optuna_gp", FLAT, {"n_startup_trials": 50}),
    ("nsgaii", FLAT, {"crossover": "blxalpha", "population_size": 4}),
    ("nsgaiii", FLAT, {"population_size": 4, "reference_points": [[1.0]]}),
    ("bruteforce", FINITE, {}),
    ("partial_fixed", FLAT, {"fixed_params": {"n": 2}, "base_sampler": "random"}),
    ("partial_fixed", FLAT, {"fixed_params": {"n": 2}}),
]


@pytest.mark.parametrize(("name", "space", "args"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_samplers_work_by_name_without_a_warning(name, space, args, caplog):
    optuna.logging.enable_propagation()
    try:
        with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
            warnings.simplefilter("error")
            sampler = make_sampler(study_file(name, space, **args))
            study = optuna.create_study(sampler=sampler)
            for _ in range(6):
                trial = study.ask()
                params = space.suggest(trial)
                assert "n" not in args.get("fixed_params", {}) or params["n"] == 2
                study.tell(trial, trial.number)
    finally:
        optuna.logging.disable_propagation()
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


def test_cmaes_is_made_with_its_arguments():
    sampler = make_sampler(study_file("cmaes", popsize=8, with_margin=True, independent_sampler="random", seed=1))
    assert isinstance(sampler, optuna.samplers.CmaEsSampler)
    assert not sampler._warn_independent_sampling


def test_every_sampler_of_optuna_has_a_name():
    classes = {n for n in optuna.samplers.__all__ if n.endswith("Sampler") and not n.startswith("Base")}
    assert {sampler_name(n) for n in classes} == set(sampler_names()) - {
        "optuna_tpe",
        "optuna_gp",
        "bohb",
        "forest",
        "reinforce",
        *EVOLUTION,
        *POPULATION,
    }
    assert sampler_name("TPE") == "tpe"
    assert sampler_name("cma-es") == "cmaes"


def test_deprecated_arguments_are_not_offered():
    taken = {
        "n_startup_trials",
        "n_ei_candidates",
        "seed",
        "multivariate",
        "group",
        "constant_liar",
        "constraints_func",
    }
    assert set(sampler_arguments("optuna_tpe")) == taken
    assert set(sampler_arguments("tpe")) == taken | {"parallel"}


@pytest.mark.parametrize("name", ["tpe", "random", "gp", "forest", "optuna_gp", "nsgaii", "reinforce", *EVOLUTION[:4]])
def test_a_seed_makes_a_sampler_repeatable(name):
    again = [first_values(make_sampler(study_file(name, seed=7)), 8) for _ in range(2)]
    other = first_values(make_sampler(study_file(name, seed=8)), 8)
    assert again[0] == again[1] != other


def test_a_seed_given_by_the_caller_is_used_instead():
    given = first_values(make_sampler(study_file("random", seed=7), seed=3))
    assert given == first_values(make_sampler(study_file("random", seed=3)))
    make_sampler(study_file("partial_fixed", fixed_params={"n": 1}), seed=3)  # takes no seed: not an error


def groups(sampler):
    return sampler._group, sampler._multivariate


def test_tpe_groups_the_parameters_of_a_conditional_space():
    assert groups(make_sampler(study_file("tpe"))) == (False, None)
    assert groups(make_sampler(study_file("tpe", CONDITIONAL))) == (True, True)
    assert groups(make_sampler(study_file("tpe", None))) == (True, True)
    assert groups(make_sampler(study_file("tpe", CONDITIONAL, group=False))) == (False, None)
    assert groups(make_sampler(study_file("tpe", CONDITIONAL, multivariate=False))) == (False, False)
    assert groups(make_sampler(study_file("tpe", CONDITIONAL, ("minimize", "minimize")))) == (False, None)


def test_grouped_tpe_models_conditional_parameters_together():
    space = Space((*CONDITIONAL.parameters, Parameter("y", FloatDistribution(0, 1), {"b": ("p",)})))
    sampler = make_sampler(study_file("tpe", space, seed=0))
    study = optuna.create_study(sampler=sampler)
    for _ in range(15):
        trial = study.ask()
        space.suggest(trial)
        study.tell(trial, 0.0)
    assert sorted(sampler.groups(study)) == [["b"], ["x", "y"]]


@pytest.mark.parametrize("name", ["grid", "bruteforce"])
def test_exhaustive_samplers_try_each_configuration_once_when_asked_and_told(name):
    values = first_values(make_sampler(study_file(name, FINITE, seed=0)), 6, FINITE)
    assert len(set(values)) == 6 == FINITE.size()


def test_a_grid_takes_its_values_from_the_space():
    space = Space((*FINITE.parameters, Parameter("c", FloatDistribution(0, 0.3, step=0.1)), FLAT.parameters[0]))
    assert grid_values(space, {"x": [0.5, 1.0]}) == {
        "a": [0, 2, 4],
        "b": ["p", "q"],
        "c": [0.0, 0.1, 0.2, 0.3],
        "x": [0.5, 1.0],
    }


@pytest.mark.parametrize(
    ("name", "space", "args", "message"),
    [
        ("tpe", FLAT, {"n_startup_trial": 5}, "sampler.n_startup_trial: tpe has no argument 'n_startup_trial'; "
         "did you mean 'n_startup_trials'?"),
        ("tpe", FLAT, {"group": "yes"}, "sampler.group: must be true or false, but is 'yes'"),
        ("tpe", FLAT, {"gamma": 1}, "sampler.gamma: tpe has no argument 'gamma'"),
        ("tpe", FLAT, {"group": True, "multivariate": False}, "sampler: these arguments are refused: "),
        ("tpe", FLAT, {"n_ei_candidates": 0}, "sampler.n_ei_candidates: must be at least 1, but is 0"),
        ("optuna_tpe", FLAT, {"n_startup_trials": -3}, "sampler.n_startup_trials: must be at least 0, but is -3"),
        ("random", FLAT, {"seed": -1}, "sampler.seed: must be from 0 to 4294967295, but is -1"),
        ("random", FLAT, {"seed": 1.5}, "sampler.seed: must be a whole number, but is 1.5"),
        ("forest", FLAT, {"acquire": "ucb"}, "sampler.acquire: must be one of qucb, lcb, "
         "ei, pi, gp_hedge, but is 'ucb'"),
        ("forest", FLAT, {"lie": "none"}, "sampler.lie: must be one of max, min, mean"),
        ("forest", FLAT, {"kappa": -1}, "sampler.kappa: must be at least 0, but is -1"),
        ("forest", FLAT, {"decay": 0.5}, "sampler.decay: must be a whole number, but is 0.5"),
        ("forest", FLAT, {"trees": 0}, "sampler.trees: must be from 1 to 1000, but is 0"),
        ("forest", FLAT, {"candidates": 10**6}, "sampler.candidates: must be from 1 to 100000, but is 1000000"),
        ("nsgaii", FLAT, {"mutation_prob": 2}, "sampler.mutation_prob: must be from 0 to 1, but is 2"),
        ("nsgaii", FLAT, {"swapping_prob": float("nan")}, "sampler.swapping_prob: must be a finite number, but is nan"),
        ("nsgaiii", FLAT, {"population_size": 1}, "sampler.population_size: must be at least 2, but is 1"),
        ("nsgaiii", FLAT, {"reference_points": [[0, float("inf")]]},
         "sampler.reference_points: must be a list of lists of finite numbers"),
        ("partial_fixed", FLAT, {"fixed_params": {"n": 1}, "base_sampler": {"name": "tpe", "n_ei_candidates": -1}},
         "sampler.base_sampler.n_ei_candidates: must be at least 1, but is -1"),
        ("ageing", FLAT, {"population": 1}, "sampler.population: must be at least 2, but is 1"),
        ("ageing", FLAT, {"population": 4, "sample": 5}, "sampler.sample: must be at most "
         "the population, which is 4, but is 5"),
        ("ageing", FLAT, {"sample": 0}, "sampler.sample: must be at least 1, but is 0"),
        ("genetic", FLAT, {"crossover": 1.5}, "sampler.crossover: must be from 0 to 1, but is 1.5"),
        ("genetic", FLAT, {"mutate_child": -0.1}, "sampler.mutate_child: must be from 0 to 1, but is -0.1"),
        ("genetic", FLAT, {"step": 0}, "sampler.step: must be above 0, but is 0"),
        ("dhpo", FLAT, {"offspring": 0}, "sampler.offspring: must be at least 1, but is 0"),
        ("dhpo", FLAT, {"offspring": 4}, "sampler: these arguments are refused: offspring counts the children of a "
         "generation, so it needs barrier: true"),
        ("evolution", FLAT, {"population": 8, "offspring": 4, "barrier": True, "elitist": False},
         "sampler.offspring: must be at least the population, which is 8, but is 4: they replace it, unless"),
        ("evolution", FLAT, {"mutate": 2}, "sampler.mutate: must be from 0 to 1, but is 2"),
        ("evolution", FLAT, {"mutate": "all"}, "sampler.mutate: must be a probability from 0 to 1, or the word one"),
        ("evolution", FLAT, {"mutate": 0, "crossover": 0}, "mutate and crossover are both 0, so that no child"),
        ("nsgaii", FLAT, {"crossover": "blx"}, "sampler.crossover: there is no crossover 'blx'"),
        ("grid", None, {}, "sampler.name: the sampler grid needs a `space:` in the study file"),
        ("grid", FINITE, {"search_space": {"z": [1]}}, "sampler.search_space.z: there is no parameter 'z'"),
        ("grid", Space((Parameter("i", IntDistribution(1, 10**7)),)), {}, "the grid has 10,000,000 points"),
        ("partial_fixed", FLAT, {}, "sampler.fixed_params: partial_fixed needs fixed_params"),
        ("partial_fixed", FLAT, {"fixed_params": {"n": 9}},
     "sampler.fixed_params.n: 9 is outside the parameter's range"),
        ("partial_fixed", FLAT, {"fixed_params": {"n": 1}, "base_sampler": {"seed": 1}},
         "sampler.base_sampler: must name a sampler"),
        ("partial_fixed", FLAT, {"fixed_params": {"n": 1}, "base_sampler": "tep"},
         "sampler.base_sampler.name: there is no sampler 'tep'; did you mean 'tpe'?"),
    ],
)  # fmt: skip
def test_a_bad_argument_is_a_sentence(name, space, args, message):
    with pytest.raises(UserError) as caught:
        make_sampler(study_file(name, space, **args))
    assert message in str(caught.value)


def test_one_direction_is_said_where_a_sampler_takes_no_more():
    with pytest.raises(UserError, match=r"sampler\.name: forest works on one direction, and this study has 2; use gp"):
        make_sampler(study_file("forest", directions=("minimize", "maximize")))


def test_a_missing_package_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError) as caught:
        make_sampler(study_file("forest"))
    assert "forest needs the package scikit-learn; install it: pip install 'pilotune[forest]'" in str(caught.value)
    with pytest.raises(UserError, match="optuna_gp needs the package torch; install it: pip install torch"):
        make_sampler(study_file("optuna_gp"))


ACME = """
import optuna


class AcmeSampler(optuna.samplers.RandomSampler):
    def __init__(self, seed: int | None = None, width: float = 1.0) -> None:
        super().__init__(seed)
        self.width = width


def no_class():
    pass
"""


@pytest.fixture
def acme(tmp_path, monkeypatch):
    """An installed package that adds samplers: a good one, one named as ours, a broken one and one of a wrong type."""
    (tmp_path / "acme_tuning.py").write_text(ACME)
    metadata = tmp_path / "acme-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[pilotune.samplers]\n"
        "Acme-Wide = acme_tuning:AcmeSampler\n"
        "tpe = acme_tuning:AcmeSampler\n"
        "broken = acme_missing.samplers:Sampler\n"
        "function = acme_tuning:no_class\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("acme_tuning", None)


@pytest.mark.usefixtures("acme")
def test_a_package_adds_a_sampler_by_an_entry_point():
    assert sampler_name("acme-wide") == sampler_name("AcmeSampler") == "acme_wide"
    assert sampler_names()[-3:] == ["acme_wide", "broken", "function"]
    assert sampler_arguments("acme_wide") == ["seed", "width"]
    sampler = make_sampler(study_file("acme_wide", width=2), seed=5)
    assert (type(sampler).__name__, sampler.width) == ("AcmeSampler", 2)
    with pytest.raises(UserError, match=r"sampler\.widht: acme_wide has no argument 'widht'; did you mean 'width'\?"):
        make_sampler(study_file("acme_wide", widht=2))


@pytest.mark.usefixtures("acme")
def test_a_package_cannot_replace_a_sampler_of_ours():
    assert type(make_sampler(study_file("tpe"))).__module__.startswith("pilotune.")


@pytest.mark.usefixtures("acme")
def test_a_name_near_that_of_a_package_is_suggested():
    with pytest.raises(UserError, match="there is no sampler 'acme_wid'; did you mean 'acme_wide'"):
        sampler_name("acme_wid")


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", "sampler.name: the sampler broken of the package acme 1.0 cannot be imported from "
         "acme_missing.samplers:Sampler: ModuleNotFoundError: No module named 'acme_missing'"),
        ("function", "sampler.name: the sampler function of the package acme 1.0 cannot be used, since "
         "acme_tuning:no_class is not a class derived from optuna.samplers.BaseSampler"),
    ],
)  # fmt: skip
def test_a_broken_entry_point_is_a_sentence_that_names_its_package(name, message):
    with pytest.raises(UserError) as caught:
        make_sampler(study_file(name))
    assert str(caught.value) == message


def test_names_in_the_table_do_not_read_entry_points(monkeypatch):
    monkeypatch.setattr(registry_args, "entry_points", lambda **_: pytest.fail("entry points were read"))
    assert sampler_name("TPE") == "tpe"
    make_sampler(study_file("tpe"))


@pytest.mark.parametrize("name", EVOLUTION)
def test_evolution_refuses_several_directions(name):
    with pytest.raises(UserError) as caught:
        make_sampler(study_file(name, directions=("minimize", "maximize")))
    assert str(caught.value) == (
        f"sampler.name: {name} works on one direction, and this study has 2; use gp, tpe, nsgaii or nsgaiii"
    )
