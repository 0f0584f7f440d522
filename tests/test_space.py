"""The search space: suggestions, conditions, constraints, sizes and differences."""

import itertools
import json
import math
import pickle
import random

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from pilotune.pipeline.distributions import contains
from pilotune.pipeline.expressions import Constraint
from pilotune.pipeline.space import Parameter, Space, differences

SGD = Space(
    parameters=(
        Parameter("lr", FloatDistribution(1e-5, 0.1, log=True)),
        Parameter("optimizer", CategoricalDistribution(["sgd", "adamw"])),
        Parameter("momentum", FloatDistribution(0, 0.99), {"optimizer": ("sgd",)}),
        Parameter("units", IntDistribution(16, 256, step=16)),
    ),
    constants={"epochs": 27},
    constraints=(Constraint("momentum < 0.5 or units <= 64"),),
)


def test_suggest_gives_active_parameters_and_constants_by_name():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = set()
    for _ in range(20):
        trial = study.ask()
        params = SGD.suggest(trial)
        assert params == {**trial.params, "epochs": 27}
        assert ("momentum" in params) == (params["optimizer"] == "sgd")
        assert {n: d for n, d in SGD.distributions.items() if n in trial.params} == trial.distributions
        seen.add(params["optimizer"])
    assert seen == {"sgd", "adamw"}


def test_samples_are_within_the_space():
    rng = random.Random(1)
    for _ in range(200):
        values = SGD.sample(rng)
        for name, distribution in SGD.distributions.items():
            assert name not in values or contains(distribution, values[name])
        assert ("momentum" in values) == (values["optimizer"] == "sgd")


def test_a_condition_may_name_a_constant():
    switched = Parameter("x", IntDistribution(1, 3), {"mode": ("a", "b")})
    assert Space((switched,), {"mode": "a"}).size() == 3
    assert Space((switched,), {"mode": "c"}).size() == 1
    assert Space((switched,), {"mode": "c"}).sample(random.Random(0)) == {"mode": "c"}


def test_a_constraint_on_an_inactive_parameter_holds():
    assert SGD.feasible({"lr": 0.1, "optimizer": "adamw", "units": 256})
    assert SGD.feasible({"lr": 0.1, "optimizer": "sgd", "momentum": 0.9, "units": 64})
    assert not SGD.feasible({"lr": 0.1, "optimizer": "sgd", "momentum": 0.9, "units": 80})


@pytest.mark.parametrize(
    ("text", "values", "holds"),
    [
        ("a * b <= 512", {"a": 4, "b": 128}, True),
        ("a * b <= 512", {"a": 4, "b": 144}, False),
        ("log2(a) == round(log2(a))", {"a": 64}, True),
        ("log2(a) == round(log2(a))", {"a": 48}, False),
        ("kind in ['x', 'y'] and not flag", {"kind": "y", "flag": False}, True),
        ("1 <= a < b", {"a": 3, "b": 3}, False),
        ("max(a, b) - min(a, b) > 1", {"a": 3, "b": 5}, True),
        ("flag == true", {"flag": True}, True),
        ("1 / a > 0", {"a": 0}, False),  # no value: not satisfied
        ("log(a) > 0", {"a": -1}, False),
        ("a ** b < 10", {"a": 9, "b": 10**9}, False),  # answers at once, without computing a billion digits
        ("a ** 64 ** 64 < 10", {"a": 9}, False),
        ("(a ** 60) ** 60 < 1", {"a": 9**60}, False),
        ("a ** 0.5 < 9", {"a": -4}, False),
        ("a % 3 == 1", {"a": 7}, True),
        ("a ** 0.5 <= 3", {"a": 9}, True),
        ("c is None", {"c": None}, True),
        ("(a if flag else b) == 2", {"a": 1, "b": 2, "flag": False}, True),
    ],
)
def test_a_constraint_is_evaluated(text, values, holds):
    assert Constraint(text).holds(values) is holds


@pytest.mark.parametrize(
    "text",
    ["a.b < 1", "open('x') == 1", "[x for x in a] == 1", "lambda: 1", "a[0] < 1", "f'{a}' == 1", "a := 1",
     "a < 1; b", "",
     "a + b", "'a' * 9 == b.c", "min(a, key=b) < 1", "b'x' == a", "a @ b < 1"],
)  # fmt: skip
def test_other_expressions_are_refused(text):
    with pytest.raises(ValueError, match=r"is not|may not"):
        Constraint(text)


@pytest.mark.parametrize("text", ["'a' * n == b", "'%1000000000000d' % n == b", "b ** 'a' == n"])
def test_operators_on_text_cannot_fill_the_memory(text):
    with pytest.raises(TypeError, match="numbers only"):
        Constraint(text).holds({"n": 10**12, "b": 1})


def test_a_space_survives_pickling():
    again = pickle.loads(pickle.dumps(SGD))
    assert again == SGD
    assert again.constraints[0].holds({"momentum": 0.1, "units": 256})


def all_configurations(space):
    """All configurations by brute force: every combination of values, without the inactive parameters."""
    found = set()
    domains = []
    for p in space.parameters:
        d = p.distribution
        domains.append(d.choices if isinstance(d, CategoricalDistribution) else range(d.low, d.high + 1, d.step))
    for values in itertools.product(*domains):
        chosen = dict(space.constants)
        for p, value in zip(space.parameters, values, strict=True):
            if p.active(chosen):
                chosen[p.name] = value
        found.add(tuple(sorted(chosen.items())))
    return found


@pytest.mark.parametrize("seed", range(30))
def test_size_counts_configurations(seed):
    rng = random.Random(seed)
    parameters = []
    for index in range(rng.randint(1, 5)):
        kind = rng.choice(["int", "choice"])
        distribution = (
            IntDistribution(0, 2 * rng.randint(0, 2), step=2)
            if kind == "int"
            else CategoricalDistribution([*"abc"][: rng.randint(1, 3)])
        )
        when = {}
        for parent in rng.sample(parameters, k=min(len(parameters), rng.choice([0, 0, 1, 2]))):
            values = (0, 2) if isinstance(parent.distribution, IntDistribution) else ("a", "b")
            values = [v for v in values if contains(parent.distribution, v)]
            when[parent.name] = tuple(rng.sample(values, k=rng.randint(1, len(values))))
        parameters.append(Parameter(f"p{index}", distribution, when))
    space = Space(tuple(parameters), {"c": 1})
    assert space.size() == len(all_configurations(space))


def test_a_continuous_parameter_makes_the_space_infinite_only_where_it_is_active():
    assert SGD.size() == math.inf
    never = Space((Parameter("x", FloatDistribution(0, 1), {"mode": ("a",)}),), {"mode": "b"})
    assert never.size() == 1


def test_the_canonical_form_is_json_and_knows_no_order():
    other = Space(tuple(reversed(SGD.parameters)), dict(SGD.constants), (Constraint("momentum < 0.5  or units <= 64"),))
    assert json.loads(json.dumps(SGD.to_json())) == SGD.to_json() == other.to_json()
    assert differences(SGD.to_json(), other.to_json()) == []


def test_each_difference_is_a_sentence():
    changed = Space(
        parameters=(
            Parameter("lr", FloatDistribution(1e-4, 0.1)),
            Parameter("optimizer", CategoricalDistribution(["sgd", "adamw", None])),
            Parameter("momentum", FloatDistribution(0, 0.99), {"optimizer": ("sgd", "adamw")}),
            Parameter("width", IntDistribution(1, 2)),
        ),
        constants={"epochs": 9},
        constraints=(Constraint("width < 2"),),
    )
    assert differences(SGD.to_json(), changed.to_json()) == [
        "lr: float [1e-05, 0.1] log in the database, float [0.0001, 0.1] in the study file",
        "momentum: float [0.0, 0.99] when optimizer is sgd in the database, "
        "float [0.0, 0.99] when optimizer is sgd or adamw in the study file",
        "optimizer: choice [sgd, adamw] in the database, choice [sgd, adamw, null] in the study file",
        "units: int [16, 256] step 16 in the database, no parameter in the study file",
        "width: no parameter in the database, int [1, 2] in the study file",
        "epochs: constant 27 in the database, constant 9 in the study file",
        "constraint 'momentum < 0.5 or units <= 64': in the database only",
        "constraint 'width < 2': in the study file only",
    ]
