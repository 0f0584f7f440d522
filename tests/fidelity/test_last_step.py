"""At the last step of a trial nothing is left to save, so nothing is pruned there, whichever way steps are counted."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from pilotune.pipeline import fidelity
from pilotune.pipeline.fidelity import PROMOTE, Promotions, hyperband_brackets, make_pruner, rung_schedule
from pilotune.pipeline.registry_args import Named

FROM_ONE, FROM_ZERO = range(1, 28), range(27)
TRIALS = 60


class Run:
    """Sixty trials, one after the other, of 27 steps each; a trial ends at its last step or where it is pruned."""

    def __init__(self, pruner: Any, steps: range, seed: int = 0):
        study = optuna.create_study(pruner=pruner, study_name="s", direction="maximize")
        rng = random.Random(seed)
        self.pruned_at: list[int] = []  # the last step of each trial that was pruned
        self.ends: list[tuple[TrialState, int]] = []
        for _ in range(TRIALS):
            trial, quality = study.ask(), rng.random()
            state = TrialState.COMPLETE
            for step in steps:
                trial.report(quality + rng.gauss(0, 0.2), step)
                if trial.should_prune():
                    state = TrialState.PRUNED
                    self.pruned_at.append(step)
                    break
            self.ends.append((state, step))
            study.tell(trial, 1.0 if state == TrialState.COMPLETE else None, state=state)


def named(name: str, **args: Any) -> Any:
    return make_pruner(type("File", (), {"pruner": Named(name, args), "folder": Path(), "error": None})())


KNOWN = {
    "hyperband": {"max_resource": 27},
    "successive_halving": {"min_resource": 1, "reduction_factor": 3, "max_resource": 27},
}
LEARNED = {
    "hyperband": {"max_resource": "auto"},
    "successive_halving": {"min_resource": 1, "reduction_factor": 3},
    "asha": {"reduction_factor": 3, "max_resource": "auto"},
}


@pytest.mark.parametrize("steps", [FROM_ONE, FROM_ZERO])
@pytest.mark.parametrize(("name", "args"), [*KNOWN.items(), *LEARNED.items()])
@pytest.mark.parametrize("patient", [False, True])
def test_nothing_is_pruned_at_the_last_step(name: str, args: dict[str, Any], steps: range, patient: bool) -> None:
    short = {"asha": "successive_halving"}.get(name, name)
    wrapped = {"wrapped_pruner": {"name": short, **args}, "patience": 1}
    run = Run(named("patient", **wrapped) if patient else named(short, **args), steps)
    assert run.pruned_at, "trials are pruned before"
    assert max(run.pruned_at) < steps[-1]


@pytest.mark.parametrize(("name", "args"), KNOWN.items())
def test_steps_from_zero_give_optunas_verdicts(name: str, args: dict[str, Any]) -> None:
    cls = {"hyperband": "HyperbandPruner", "successive_halving": "SuccessiveHalvingPruner"}[name]
    theirs = {key: value for key, value in args.items() if name == "hyperband" or key != "max_resource"}
    for seed in range(5):
        ours = Run(named(name, **args), FROM_ZERO, seed)
        assert ours.ends == Run(getattr(optuna.pruners, cls)(**theirs), FROM_ZERO, seed).ends


@pytest.mark.parametrize(("name", "args"), KNOWN.items())
def test_steps_from_one_differ_from_optunas_verdicts_at_the_last_step_only(name: str, args: dict[str, Any]) -> None:
    cls = {"hyperband": "HyperbandPruner", "successive_halving": "SuccessiveHalvingPruner"}[name]
    theirs = {key: value for key, value in args.items() if name == "hyperband" or key != "max_resource"}
    ours = Run(named(name, **args), FROM_ONE).ends
    optunas = Run(getattr(optuna.pruners, cls)(**theirs), FROM_ONE).ends
    assert [step for _, step in ours] == [step for _, step in optunas], "each trial runs as long as with Optuna's"
    at_the_end = (TrialState.PRUNED, 27)
    assert at_the_end in optunas
    assert at_the_end not in ours
    assert [end for end in optunas if end != at_the_end] == [
        end for end, other in zip(ours, optunas, strict=True) if other != at_the_end
    ]


def test_a_trial_beyond_the_last_step_is_not_pruned_either_and_nan_is_no_reason() -> None:
    for pruner in (named("hyperband", max_resource=9), named("successive_halving", **KNOWN["successive_halving"])):
        study = optuna.create_study(pruner=pruner, study_name="s")
        for number in range(12):
            trial = study.ask()
            trial.report(float("nan") if number % 2 else float(number), 27 + number % 3 * 27)
            assert not trial.should_prune()


def test_the_longest_complete_trial_says_where_the_last_step_is() -> None:
    study = optuna.create_study(pruner=fidelity.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2))

    def verdict(value: float, step: int, *, complete: bool) -> bool:
        trial = study.ask()
        trial.report(value, step)
        prunes = trial.should_prune()
        if complete:
            study.tell(trial, value)
        return prunes

    assert not verdict(0.0, 4, complete=False)
    assert verdict(1.0, 4, complete=False), "no trial is complete, so it may have far to go"
    assert not verdict(-1.0, 4, complete=True)
    assert not verdict(2.0, 4, complete=False), "a complete trial ended there"
    assert verdict(2.0, 2, complete=False)
    assert not verdict(3.0, 9, complete=True)
    assert verdict(4.0, 4, complete=False), "a longer one is complete"


def test_the_table_and_the_promotions_have_no_rung_there() -> None:
    args = {"max_resource": 27, "min_resource": 1}
    assert max(max(b.rungs, default=0) for b in hyperband_brackets(args)) < 27
    schedule = rung_schedule(Named("successive_halving", {**args, "mode": PROMOTE, "reduction_factor": 3}))
    assert schedule is not None
    for last in (27, 26):
        promotions = Promotions(schedule, "s")
        paused = [promotions.report(number, step, float(number)) for number in range(9) for step in (5, last)]
        assert paused[1::2] == [None if last == 27 else 9] * 9, "26 of 27 steps leave one to save"
