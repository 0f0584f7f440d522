"""Checks the invariants of trials that are repeated: each repetition is real, counted once, and none is lost."""

from __future__ import annotations

from optuna.trial import FrozenTrial, TrialState

from pilotune.pipeline.attributes import REPETITIONS
from pilotune.pipeline.noise import means, repetitions_of

from .world import World


def check_repetitions(world: World, trials: list[FrozenTrial]) -> None:
    """A complete trial has the mean of exactly as many repetitions as it is to have.

    Each of them is an attempt that returned these values, with a seed and a checkpoint of its own.
    """
    repeats = world.case.repeats
    if repeats.most == 1:
        assert not any(repetitions_of(trial) for trial in trials), "a trial was repeated where none is"
        return
    for trial in trials:
        _check(world, trial)
    full = [trial.values[0] for trial in trials if trial.user_attrs.get(REPETITIONS) == repeats.most and trial.values]
    for trial in trials:
        if trial.state == TrialState.COMPLETE and trial.user_attrs[REPETITIONS] < repeats.most:
            world.saw["races lost"] += 1
            better = min(full, default=trial.values[0]) < trial.values[0]
            assert better or world.case.notes, f"trial {trial.number} was given up, though none is better"


def _check(world: World, trial: FrozenTrial) -> None:
    found, repeats = repetitions_of(trial), world.case.repeats
    name = f"trial {trial.number}"
    returned = {each.outcome.token: each.outcome for each in world.truth.written}
    specs = {spec.token: spec for spec in world.truth.begun}
    since, seeds = 1, set()
    for place, each in enumerate(found):
        outcome, spec = returned[each.token], specs[each.token]
        assert (outcome.kind, outcome.values) == ("complete", list(each.values)), f"{each.token} gave other values"
        assert (spec.repeat, spec.since) == (place, since), f"{each.token} was repetition {spec.repeat}, not {place}"
        assert spec.seed == each.seed, f"{each.token} had the seed {spec.seed}, not {each.seed}"
        since = each.attempt + 1
        seeds.add(each.seed)
    assert len(seeds) == len(found), f"two repetitions of {name} had one seed"
    if trial.state == TrialState.COMPLETE:
        assert repeats.least <= len(found) <= repeats.most, f"{name} has {len(found)} repetitions"
        assert trial.values == means(found), f"{name} has {trial.values}, which is not the mean"
        assert trial.user_attrs[REPETITIONS] == len(found), f"{name} says that it has another number of repetitions"
    elif trial.state == TrialState.PRUNED:
        assert not found, f"{name} was pruned after its first repetition"
    elif trial.state == TrialState.FAIL:
        assert len(found) < repeats.most, f"{name} failed with all its repetitions"
