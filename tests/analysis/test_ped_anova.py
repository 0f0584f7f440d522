"""PED-ANOVA on arrays gives the numbers of Optuna's evaluator, for all kinds of spaces."""

from __future__ import annotations

import random
import subprocess
import sys

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, create_trial

from pilotune.errors import PilotuneError
from pilotune.pipeline.analysis import StudyData, measure
from pilotune.pipeline.analysis.evaluations import MOST_TRIALS, OptunaEvaluations, evaluations, thinned
from pilotune.pipeline.analysis.evaluators import COPY
from pilotune.pipeline.analysis.ped_anova import PedAnovaEvaluations

SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-5, 1.0, log=True),
    "layers": IntDistribution(1, 5),
    "activation": CategoricalDistribution(("relu", "tanh", None, 3.5)),
    "shift": FloatDistribution(-3.0, 7.0),
    "units": IntDistribution(1, 1000, log=True),
    "dropout": FloatDistribution(0.0, 1.0, step=0.01),
    "fixed": IntDistribution(3, 3),
    "batch": IntDistribution(0, 100, step=5),
}
NARROW: dict[str, BaseDistribution] = {
    "shift": FloatDistribution(0.0, 1.0),
    "activation": CategoricalDistribution(("relu", "silu")),
}
"""What some trials have instead."""


def study(seed: int, maximize: bool = False) -> StudyData:
    """Random trials of a space with conditional parameters, changed ranges, equal values and values out of range."""
    rng, sampler, trials = random.Random(seed), optuna.samplers.RandomSampler(seed), list[FrozenTrial]()
    for number in range((2, 3, 5, 30, 150)[seed % 5]):
        params, distributions = {}, dict[str, BaseDistribution]()
        for name, usual in SPACE.items():
            if name in ("activation", "shift", "batch") and rng.random() < 0.3:
                continue
            each = NARROW[name] if name in NARROW and rng.random() < 0.3 else usual
            distributions[name] = each
            params[name] = (
                each.choices[rng.randrange(len(each.choices))]
                if isinstance(each, CategoricalDistribution)
                else sampler.sample_independent(None, None, name, each)  # type: ignore[arg-type]
            )
        value = params["layers"] * 0.1 + params["lr"] + rng.choice([0, 1])
        made = create_trial(value=round(value, 1) if seed % 2 else value, params=params, distributions=distributions)
        made.number = number
        if rng.random() < 0.05:
            made.params["layers"] = 9  # a sampler of a user's returned it
        trials.append(made)
    return StudyData("", "s", ("maximize" if maximize else "minimize",), ("value",), tuple(trials), {})


@pytest.mark.parametrize("seed", range(20))
def test_the_numbers_are_those_of_optuna(seed: int) -> None:
    data = study(seed, maximize=seed % 3 == 0)
    ours, theirs = evaluations(data, "ped-anova", None), OptunaEvaluations(data, "ped-anova", None)
    assert isinstance(ours, PedAnovaEvaluations)
    assert ours.whole() == pytest.approx(theirs.whole(), rel=1e-9, abs=1e-12)
    params = list(theirs.whole())
    copies = ours.with_copies(params, seed=5)
    assert copies == pytest.approx(theirs.with_copies(params, seed=5), rel=1e-9, abs=1e-12)
    assert {name + COPY for name in params} < copies.keys()
    expected = theirs.drawn(seed=7)  # without the parameters that no drawn trial has
    assert {name: value for name, value in ours.drawn(seed=7).items() if name in expected or value} == pytest.approx(
        expected, rel=1e-9, abs=1e-12
    )


def test_several_objectives_at_once_are_explained_by_optuna() -> None:
    assert isinstance(evaluations(study(3), "ped-anova", lambda trial: -trial.values[0]), PedAnovaEvaluations)
    both = StudyData("", "s", ("minimize",) * 2, ("a", "b"), (), {})
    assert isinstance(evaluations(both, "ped-anova", None), OptunaEvaluations)
    assert isinstance(evaluations(study(3), "fanova", lambda trial: trial.values[0]), OptunaEvaluations)


def test_a_value_beyond_all_floats_is_one_sentence() -> None:
    distributions: dict[str, BaseDistribution] = {"x": IntDistribution(0, 10**400)}
    trial = create_trial(value=1.0, params={"x": 1}, distributions=distributions)
    trial.params["x"] = 10**400 - 1
    data = StudyData("", "s", ("minimize",), ("value",), (trial, trial), {})
    with pytest.raises(PilotuneError, match="this evaluator cannot use the trials of 's'"):
        evaluations(data, "ped-anova", None)


def test_measuring_reads_the_trials_once_and_evaluates_41_times(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = {"column": 0, "importances": 0}
    module = sys.modules["pilotune.pipeline.analysis.ped_anova"]
    for name in calls:
        real = getattr(module, name)

        def counted(*args: object, name: str = name, real: object = real) -> object:
            calls[name] += 1
            return real(*args)  # type: ignore[operator]

        monkeypatch.setattr(module, name, counted)
    measure(study(4), together=False)
    assert calls == {"column": len(SPACE), "importances": 41}


def test_of_many_trials_an_even_choice_is_shuffled_and_drawn_from() -> None:
    data = study(4)
    many = StudyData("", "s", data.directions, data.metrics, data.trials * 20, {})
    most = MOST_TRIALS["ped-anova"]
    assert len(many.trials) > most >= len(thinned(many, "ped-anova").trials) >= most // 2
    assert thinned(data, "ped-anova") is data


def test_scikit_learn_is_not_imported_for_it() -> None:
    code = (
        "import sys\n"
        "import optuna\n"
        "from pilotune.pipeline.analysis import StudyData, measure\n"
        "study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))\n"
        "optuna.logging.set_verbosity(optuna.logging.ERROR)\n"
        "study.optimize(lambda trial: trial.suggest_float('x', 0, 1), 20)\n"
        "data = StudyData('', 's', ('minimize',), ('value',), tuple(study.trials), {})\n"
        "print(measure(data, together=False).certain, {'sklearn', 'scipy', 'pandas'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "frozenset({'x'}) set()\n"
