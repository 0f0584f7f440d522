"""TPE on every range that is allowed: no warning, and values that the range has."""

from __future__ import annotations

import math
import random
import sys
import warnings

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from pilotune.pipeline.suggest.axes import axes_of
from pilotune.pipeline.suggest.tpe import TPESampler
from pilotune.pipeline.suggest.tpe.model import largest_ratio
from pilotune.pipeline.suggest.tpe.truncnorm import log_mass, log_step_mass
from pilotune.pipeline.trial.distributions import RangeProblem, check_range, stepped

LEAST, MOST, EXACT = 5e-324, sys.float_info.max, 2**53

RANGES: dict[str, BaseDistribution] = {
    "int to 1e15, log": IntDistribution(1, 10**15, log=True),
    "all ints": IntDistribution(-EXACT, EXACT),
    "all ints, log": IntDistribution(1, EXACT, log=True),
    "largest ints": IntDistribution(EXACT - 3, EXACT),
    "largest ints, log": IntDistribution(EXACT - 5, EXACT, log=True),
    "int with long steps": IntDistribution(-7, EXACT - 9 - (EXACT - 2) % (3 * 2**30), step=3 * 2**30),
    "two ints": IntDistribution(0, 1),
    "two ints, log": IntDistribution(1, 2, log=True),
    "half of all floats": FloatDistribution(0.0, MOST),
    "both signs": FloatDistribution(-8e307, 8e307),
    "large": FloatDistribution(1e308, 1.7e308),
    "all floats, log": FloatDistribution(LEAST, MOST, log=True),
    "two smallest": FloatDistribution(0.0, LEAST),
    "smallest": FloatDistribution(0.0, 100 * LEAST),
    "smallest, log": FloatDistribution(LEAST, 1000 * LEAST, log=True),
    "1e-300": FloatDistribution(-1e-300, 1e-300),
    "1e-160": FloatDistribution(0.0, 1e-160),
    "1e160": FloatDistribution(0.0, 1e160),
    "two neighbours": FloatDistribution(1.0, math.nextafter(1.0, 2.0)),
    "two neighbours, log": FloatDistribution(1.0, math.nextafter(1.0, 2.0), log=True),
    "two large neighbours, log": FloatDistribution(1e300, math.nextafter(1e300, math.inf), log=True),
    "close": FloatDistribution(1e15, 1e15 + 1),
    "close, log": FloatDistribution(1.0, 1.0 + 1e-7, log=True),
    "small steps": FloatDistribution(0.0, 1e-300, step=1e-302),
    "large steps": FloatDistribution(0.0, 1e308, step=1e306),
    "two large steps": FloatDistribution(-0.5e308, 0.5e308, step=0.5e308),
    "many steps": FloatDistribution(0.0, 1.0, step=1e-7),
    "two steps": FloatDistribution(0.0, 1.0, step=0.5),
}
OPTIONS = {
    "default": {},
    "univariate": {"multivariate": False},
    "parallel": {"parallel": "crowd"},
    "no clip": {"consider_magic_clip": False},
    "endpoints": {"consider_endpoints": True},
}


def value(distribution, draw):
    if isinstance(distribution, CategoricalDistribution):
        return draw.choice(distribution.choices)
    low, high = distribution.low, distribution.high
    if draw.random() < 0.3:
        return draw.choice([low, high])
    if distribution.log:
        found = min(max(math.exp(draw.uniform(math.log(low), math.log(high))), low), high)
        return min(max(round(found), low), high) if isinstance(distribution, IntDistribution) else found
    if isinstance(distribution, IntDistribution):
        return low + draw.randrange((high - low) // distribution.step + 1) * distribution.step
    if distribution.step:
        return min(high, low + draw.randrange(round((high - low) / distribution.step) + 1) * distribution.step)
    return min(max(low + draw.random() * (high - low), low), high)


def suggest(space, n, seed=0, asks=3, **options):
    """Ask for some trials after ``n`` random ones, with warnings as errors; all values must be the space's."""
    draw = random.Random(seed)
    study = optuna.create_study(sampler=TPESampler(seed=seed, **options))
    for state in [TrialState.COMPLETE] * n + [TrialState.RUNNING] * 3:
        study.add_trial(
            create_trial(
                params={name: value(distribution, draw) for name, distribution in space.items()},
                distributions=space,
                state=state,
                value=draw.random() if state == TrialState.COMPLETE else None,
            )
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(asks):
            trial = study.ask(space)
            study.tell(trial, draw.random())
            for name, distribution in space.items():
                internal = distribution.to_internal_repr(trial.params[name])
                assert math.isfinite(internal)
                assert distribution._contains(internal), (name, trial.params[name])


@pytest.fixture(autouse=True)
def _quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", RANGES)
def test_any_range_is_modelled_without_a_warning(name, options):
    """Alone and beside another parameter; with no kernel, a few, and enough for the incremental mixture."""
    for n in (0, 12, 140):
        suggest({"x": RANGES[name]}, n, **OPTIONS[options])
        suggest({"x": RANGES[name], "y": FloatDistribution(0, 1)}, n, seed=1, **OPTIONS[options])


def test_all_ranges_together():
    for n in (12, 140):
        suggest(RANGES, n, asks=1)


def a_range(draw):
    """A range that :func:`check_range` allows, of any size, sign and kind."""
    while True:
        whole, log = draw.random() < 0.4, draw.random() < 0.4
        ends = [draw.choice([0.0, 10 ** draw.uniform(-320, 308), draw.uniform(0, 10)]) for _ in range(2)]
        ends = [end * draw.choice([1, 1, -1]) for end in ends]
        if draw.random() < 0.2:
            ends[1] = math.nextafter(ends[0], math.inf)
        if whole:
            ends = [round(min(max(end, -EXACT), EXACT)) for end in ends]
        low, high = sorted(ends)
        step = None if log or draw.random() < 0.5 else (high - low) / draw.choice([1, 2, 3, 7, 100, 1e6])
        step = max(1, round(step)) if whole and step is not None else step
        try:
            check_range(low, high, step, log=log, whole=whole)
        except RangeProblem:
            continue
        if low == high or (step is not None and step > high - low):
            continue
        if whole:
            step = step or 1
            return IntDistribution(low, low + (high - low) // step * step, log=log, step=step)
        if step is not None:
            low, high = stepped(low, high, step)
        return FloatDistribution(low, high, log=log, step=step)


@pytest.mark.parametrize("seed", range(40))
def test_random_ranges_are_modelled_without_a_warning(seed):
    draw = random.Random(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Optuna, about ranges whose digits no steps reach
        space = {f"x{number}": a_range(draw) for number in range(4)}
    suggest(space, draw.choice([12, 140]), seed, **OPTIONS[draw.choice(list(OPTIONS))])


@pytest.mark.parametrize("options", OPTIONS)
def test_choices_that_another_program_kept_as_lists_are_modelled(options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Optuna, about choices that are lists
        space = {"x": CategoricalDistribution([[2, 2], [16, 8], {"a": 1}]), "y": FloatDistribution(0, 1)}
    for n in (12, 140):
        suggest(space, n, **OPTIONS[options])


@pytest.mark.parametrize("scale", [MOST, 1e200, 1e-300, LEAST, 0.0])
@pytest.mark.parametrize("directions", [1, 2, 3])
def test_values_of_any_size_are_compared_without_a_warning(scale, directions):
    draw, space = random.Random(1), {"x": FloatDistribution(0, 1)}
    study = optuna.create_study(
        directions=["minimize", "maximize", "minimize"][:directions], sampler=TPESampler(seed=0)
    )
    for _ in range(60):
        values = [draw.uniform(-1, 1) * scale for _ in range(directions)]
        study.add_trial(create_trial(params={"x": draw.random()}, distributions=space, values=values))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            study.tell(study.ask(space), [draw.uniform(-1, 1) * scale for _ in range(directions)])


def test_a_candidate_without_any_density_is_chosen_last():
    nothing = -np.inf
    assert largest_ratio(np.array([nothing, -3.0, -2.0]), np.array([nothing, -5.0, -1.0])) == 1
    assert largest_ratio(np.array([nothing, nothing]), np.array([nothing, -1.0])) == 0


@pytest.mark.parametrize("middle", [0.0, 0.5, -3.0, 30.0, -900.0])
def test_the_mass_of_a_narrow_interval_agrees_with_that_of_wider_ones(middle):
    for half in (1e-2, 1e-3, 1e-4, 3e-5, 1e-5, 1e-6):
        low, high, size = np.array([middle - half]), np.array([middle + half]), np.array([2 * half])
        assert log_step_mass(low, high, size) == pytest.approx(log_mass(low, high), rel=1e-7, abs=1e-7)
    nothing = np.array([middle])
    found = log_step_mass(nothing, nothing, np.array([1e-30]))
    assert found == pytest.approx(-(middle**2) / 2 - 0.5 * math.log(2 * math.pi) + math.log(1e-30))


@pytest.mark.parametrize("name", RANGES)
def test_transformed_values_lead_back_to_the_range(name):
    (axis,) = axes_of({"x": RANGES[name]})
    draw = random.Random(name)
    values = np.array([axis.range_low, axis.range_high, *(float(value(RANGES[name], draw)) for _ in range(20))])
    there = axis.transform(values)
    assert np.isfinite(there).all()
    assert 1e-100 < axis.width < 1e100
    back = axis.inverse(there)
    assert (back >= axis.range_low).all()
    assert (back <= axis.range_high).all()
    if not axis.log:
        assert back == pytest.approx(values, rel=1e-15, abs=0.0)
