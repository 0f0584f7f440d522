"""Earlier studies in a new space: what fits, what does not and is named, and the narrowed space."""

from __future__ import annotations

import random
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.suggest.transfer.earlier import EarlierStudy
from pilotune.pipeline.suggest.transfer.fitting import Fitted, fit_study, free_parameters
from pilotune.pipeline.suggest.transfer.narrowing import from_json, narrowed, to_json, with_distributions

OLD: dict[str, BaseDistribution] = {
    "x": FloatDistribution(0.0, 1.0),
    "layers": IntDistribution(1, 8),
    "kind": CategoricalDistribution(["a", "b", "c"]),
}


def trials(number: int = 20, kinds: dict[str, BaseDistribution] = OLD) -> list[FrozenTrial]:
    rng = random.Random(0)
    space = Space(tuple(Parameter(name, kind) for name, kind in kinds.items()))
    made = [space.sample(rng) for _ in range(number)]
    return [
        optuna.create_trial(params=each, distributions=kinds, value=float(i), state=TrialState.COMPLETE)
        for i, each in enumerate(made)
    ]


def fit(new: dict[str, BaseDistribution], number: int = 20, maximize: bool = False) -> Fitted:
    return fit_study("old", trials(number), new, maximize=maximize)


def test_the_same_space_fits_without_a_word() -> None:
    found = fit(OLD)
    assert found.misfits == ()
    assert found.trials == 20
    assert found.study is not None
    assert found.study.params[0] == trials()[0].params
    reversed_order = fit(OLD, maximize=True).study
    assert reversed_order is not None
    assert reversed_order.params[0] == trials()[19].params


def test_only_complete_trials_are_used() -> None:
    running = [*trials(), optuna.create_trial(state=TrialState.FAIL), optuna.create_trial(state=TrialState.RUNNING)]
    assert fit_study("old", running, OLD, maximize=False).trials == 20


def test_each_misfit_is_named() -> None:
    new: dict[str, BaseDistribution] = {
        "x": FloatDistribution(0.0, 2.0),
        "layers": CategoricalDistribution([1, 2]),
        "kind": CategoricalDistribution(["a", "b", "d"]),
        "momentum": FloatDistribution(0.0, 1.0),
    }
    found = fit(new)
    without_c = sum(trial.params["kind"] != "c" for trial in trials())
    assert found.trials == without_c
    assert found.misfits == (
        "'x' is float [0.0, 1.0] in 'old' and float [0.0, 2.0] here; values up to a range's width beyond the new range "
        "are used",
        "'layers' is int [1, 8] in 'old' and choice [1, 2] here, so it says nothing about it",
        "'kind' is choice [a, b, c] in 'old' and choice [a, b, d] here; only trials with common choices are used",
        "'old' has no parameter 'momentum', so it says nothing about it",
        f"{20 - without_c} of the 20 complete trials of 'old' have values that this space does not have, and are "
        "passed over",
    )


def test_a_parameter_that_the_new_study_lacks_is_named() -> None:
    assert fit({"x": OLD["x"]}).misfits == (
        "the parameter 'layers' of 'old' is none of this study's, so it is passed over",
        "the parameter 'kind' of 'old' is none of this study's, so it is passed over",
    )


def test_too_few_trials_are_said() -> None:
    said = "'old' has 3 complete trials that this space can use, and it takes 4, so it is passed over"
    assert fit(OLD, number=3) == Fitted(None, 3, (said,))
    assert fit(OLD, number=0).study is None
    assert fit({"z": OLD["x"]}).study is None


def test_integers_and_floats_go_together() -> None:
    assert fit({**OLD, "layers": FloatDistribution(1.0, 8.0)}).misfits == ()


def test_the_parameters_of_a_study_without_a_space_are_those_of_the_earlier_ones() -> None:
    assert free_parameters(None, [trials()]) == OLD
    single = {**OLD, "one": FloatDistribution(1.0, 1.0)}
    assert free_parameters(Space(tuple(Parameter(name, kind) for name, kind in single.items()))) == OLD


# -- narrowing --------------------------------------------------------------------------------------------------------

SPACE = Space(
    (
        Parameter("lr", FloatDistribution(1e-6, 1.0, log=True)),
        Parameter("units", IntDistribution(8, 256, step=8)),
        Parameter("kind", CategoricalDistribution(["a", "b", "c", "d"])),
        Parameter("fixed", FloatDistribution(1.0, 1.0)),
    )
)


def earlier(count: int = 60) -> EarlierStudy:
    """Good are lr near 1e-3, few units, and kind a; d was never tried."""
    params: list[dict[str, Any]] = [
        {"lr": 10 ** (-3 + 3 * (i / count) * (-1) ** i), "units": 8 * (1 + i // 2), "kind": "abc"[i * 3 // count]}
        for i in range(count)
    ]
    return EarlierStudy.of("old", params, list(range(count)))


def test_the_box_holds_the_best_trials_and_stays_within_the_space() -> None:
    smaller = narrowed(SPACE, [earlier()])
    assert smaller.keys() == {"lr", "units", "kind"}
    lr, units, kind = smaller["lr"], smaller["units"], smaller["kind"]
    assert isinstance(lr, FloatDistribution)
    assert lr.log
    assert 1e-6 < lr.low < 1e-3 < lr.high < 1.0
    assert isinstance(units, IntDistribution)
    assert (units.low, units.step) == (8, 8)
    assert units.high < 64
    assert isinstance(kind, CategoricalDistribution)
    assert kind.choices == ("a", "b", "d")


def test_a_choice_that_was_hardly_tried_stays() -> None:
    assert "kind" not in narrowed(SPACE, [earlier(20)])


def test_enqueued_points_stay_possible() -> None:
    smaller = narrowed(SPACE, [earlier()], [{"lr": 0.9, "kind": "c", "units": 256}])
    assert isinstance(smaller["lr"], FloatDistribution)
    assert smaller["lr"].high == 1.0
    assert "kind" not in smaller
    assert "units" not in smaller


def test_good_values_at_the_ends_keep_the_ends() -> None:
    space = Space((Parameter("x", FloatDistribution(0.1, 0.7)),))
    wide = EarlierStudy.of("old", [{"x": 0.1 + 0.6 * (i % 2)} for i in range(60)], list(range(60)))
    assert narrowed(space, [wide]) == {}
    outside = EarlierStudy.of("old", [{"x": 5.0}] * 60, list(range(60)))
    found = narrowed(space, [outside])["x"]
    assert isinstance(found, FloatDistribution)
    assert (found.low > 0.6, found.high) == (True, 0.7)


def test_no_studies_narrow_nothing_and_the_database_gives_the_same_space() -> None:
    assert narrowed(SPACE, []) == {}
    smaller = narrowed(SPACE, [earlier()])
    assert from_json(to_json(smaller)) == smaller
    space = with_distributions(SPACE, smaller)
    assert space.distributions == {**SPACE.distributions, **smaller}
