"""The pruner that extrapolates learning curves."""

from __future__ import annotations

import math
import pickle

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from pilotune.pipeline.fidelity import ExtrapolationPruner
from pilotune.pipeline.fidelity.extrapolation import chance

STEPS = 30


def falling(end: float, height: float = 1.0, power: float = 1.0) -> list[float]:
    return [end + height * step**-power for step in range(1, STEPS + 1)]


def pruned_at(study: optuna.Study, losses: list[float], sign: float = 1.0) -> int | None:
    """The step after which a trial with these losses is pruned; it is told to the study."""
    trial = study.ask()
    for step, loss in enumerate(losses, start=1):
        trial.report(sign * loss, step)
        if trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return step
    study.tell(trial, sign * losses[-1])
    return None


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_trial_that_will_not_become_the_best_is_pruned_and_one_that_will_goes_on(sign: float) -> None:
    study = optuna.create_study(
        direction="minimize" if sign > 0 else "maximize", pruner=ExtrapolationPruner(max_resource=STEPS)
    )
    assert pruned_at(study, falling(0.3), sign) is None  # the first is complete before anything can be compared
    assert pruned_at(study, falling(0.9, height=0.5, power=2.0), sign) in range(4, 10)
    assert pruned_at(study, falling(0.1, height=3.0, power=0.8), sign) is None  # worse at first, and better at last


def test_all_go_on_where_complete_trials_have_fallen_late() -> None:
    late = [0.7] * 20 + [0.7 - 0.05 * step for step in range(1, 11)]
    flat = [0.69] * STEPS
    study = optuna.create_study(pruner=ExtrapolationPruner(STEPS))
    assert pruned_at(study, late) is None
    step = pruned_at(study, flat)
    assert step in range(21, STEPS)  # as long as others improved by as much after it
    other = optuna.create_study(pruner=ExtrapolationPruner(STEPS))
    assert pruned_at(other, [0.2 + step * 1e-3 for step in range(STEPS, 0, -1)]) is None
    assert pruned_at(other, flat) == 4


def test_nan_is_pruned_and_infinity_is_not_looked_at() -> None:
    study = optuna.create_study(pruner=ExtrapolationPruner(STEPS))
    assert pruned_at(study, falling(0.3)) is None
    assert pruned_at(study, [0.5, math.nan]) == 2
    assert pruned_at(study, [0.5, math.inf, 0.4, 0.3, 0.2, *falling(0.1)[5:]]) is None


def test_steps_may_begin_at_0_and_leave_gaps() -> None:
    study = optuna.create_study(pruner=ExtrapolationPruner(1000))
    study.add_trial(optuna.trial.create_trial(value=0.1))
    trial = study.ask()
    for step in (0, 10, 200, 500):
        trial.report(0.8 + 0.1 / (step + 1), step)
    assert trial.should_prune()
    trial.report(0.8, 1000)
    assert not trial.should_prune()  # at the end nothing is left to save


@pytest.mark.parametrize("unit", [1e-300, 1e-9, 1.0, 1e9, 1e300])
def test_the_chance_does_not_depend_on_the_unit(unit: float) -> None:
    curve = {step: unit * loss for step, loss in enumerate(falling(0.3)[:10], start=1)}
    expected = chance({step: loss / unit for step, loss in curve.items()}, STEPS, 0.32)
    assert chance(curve, STEPS, 0.32 * unit) == pytest.approx(expected, rel=1e-6)
    assert 0.0 < expected < 1.0


@pytest.mark.parametrize("curve", [[0.5] * 4, [0.0] * 4, [1.0, 1.0, 1.0, 2.0], [1e308, -1e308, 0.0, 1.0]])
def test_degenerate_curves_have_a_chance_between_0_and_1(curve: list[float]) -> None:
    found = chance(dict(enumerate(curve, start=1)), STEPS, 0.4)
    assert 0.0 <= found <= 1.0


def test_of_many_reports_a_part_counts() -> None:
    whole = {step: 0.3 + 1 / step for step in range(1, 5001)}
    assert chance(whole, 10_000, 0.31) == pytest.approx(
        chance({step: whole[step] for step in np.linspace(1, 5000, 64).round().astype(int).tolist()}, 10_000, 0.31),
        abs=0.05,
    )


def test_a_copy_reads_the_study_anew() -> None:
    study = optuna.create_study(pruner=ExtrapolationPruner(STEPS))
    assert pruned_at(study, falling(0.3)) is None
    study.pruner = pickle.loads(pickle.dumps(study.pruner))
    assert pruned_at(study, falling(0.9, height=0.5, power=2.0)) in range(4, 10)


def test_the_best_is_that_of_the_complete_trials_only() -> None:
    study = optuna.create_study(pruner=ExtrapolationPruner(STEPS))
    study.add_trial(optuna.trial.create_trial(state=TrialState.FAIL, intermediate_values={STEPS: 0.0}))
    study.add_trial(optuna.trial.create_trial(state=TrialState.PRUNED, intermediate_values={1: 0.0}))
    assert pruned_at(study, falling(0.9, height=0.5, power=2.0)) is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_resource": 0},
        {"max_resource": 9, "threshold": 0.0},
        {"max_resource": 9, "threshold": 1.0},
        {"max_resource": 9, "n_warmup_steps": 0},
        {"max_resource": 9, "n_warmup_steps": 9},
        {"max_resource": 3},
        {"max_resource": 9, "interval_steps": 0},
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ExtrapolationPruner(**arguments)  # type: ignore[arg-type]
