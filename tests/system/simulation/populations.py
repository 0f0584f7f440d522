"""Checks the invariants of population-based training: no member is lost, and copies start where the record says."""

from __future__ import annotations

from optuna.trial import FrozenTrial, TrialState

from pilotune.pipeline.attributes import PARENT, STEP
from pilotune.pipeline.fidelity import PopulationPlan, population_plan

from .promotions import Reports
from .world import World


def check_population(world: World, trials: list[FrozenTrial], reports: dict[int, Reports]) -> None:
    """Every place of the population has a member that was trained to its end, or failed when no trial was left.

    ``reports``: by trial number.
    """
    plan = population_plan(world.case.sampler)
    replaced = [trial for trial in trials if trial.user_attrs.get("pilotune:exit") == "replaced"]
    if plan is None:
        assert not replaced, "a trial was replaced where there is no population"
        return
    world.saw["members replaced"] += len(replaced)
    assert all(trial.state == TrialState.PRUNED for trial in replaced), "a replaced member ended otherwise"
    started = [trial for trial in trials if trial.state != TrialState.WAITING]
    complete = [trial for trial in started if trial.state == TrialState.COMPLETE]
    enqueued = [trial for trial in started if "fixed_params" in trial.system_attrs]
    assert len(complete) <= plan.size + len(enqueued), "the population has grown"
    if len(started) < world.case.trials:  # no trial was missing for a copy
        assert len(complete) >= plan.size, f"{len(complete)} of {plan.size} members were trained to the end"
    for trial in trials:
        begun = trial.user_attrs.get("pilotune:exit") != "resources"  # a copy that fits on no node never begins
        if STEP in trial.system_attrs and begun:
            _copied(world, plan, trial, trials)
    for trial in replaced:
        _was_bad(world, plan, trial, reports)


def _copied(world: World, plan: PopulationPlan, trial: FrozenTrial, trials: list[FrozenTrial]) -> None:
    """A copy's checkpoint is its parent's, of the step that the record says, which the parent had reached."""
    parent, step = trial.system_attrs[PARENT], trial.system_attrs[STEP]
    assert parent != trial.number, "a trial is a copy of itself"
    given, folder = world.truth.inherited[trial.number]
    assert given == parent, f"trial {trial.number} has the checkpoint of trial {given}, but is a copy of {parent}"
    assert step == (int(folder.rpartition("-")[2]) if folder else 0), f"trial {trial.number} did not start at {step}"
    if folder:
        source = next(each for each in trials if each.number == parent)
        assert step in source.intermediate_values, f"trial {parent} never was at step {step}"
    perturbed = world.case.sampler.args.get("perturb")
    if perturbed:
        params = next(each for each in trials if each.number == parent).params
        kept = {name: value for name, value in params.items() if name not in perturbed and name in trial.params}
        assert kept.items() <= trial.params.items(), f"trial {trial.number}: {trial.params} is no copy of {params}"


def _was_bad(world: World, plan: PopulationPlan, trial: FrozenTrial, reports: dict[int, Reports]) -> None:
    """A replaced member had a worse value than another at the step at which it paused."""
    if world.case.seats > 1:  # two drivers do not see each other's values at once
        return
    at = max(step // plan.interval for step in trial.intermediate_values)

    def value(number: int) -> float | None:
        there = [each for _, _, step, each in reports.get(number, []) if step // plan.interval == at]
        return there[0] if there else None

    own = value(trial.number)
    others = [each for number in reports if number != trial.number and (each := value(number)) is not None]
    assert own is not None, f"trial {trial.number} was replaced before it had reported"
    assert any(each < own for each in others), f"trial {trial.number} was replaced by no better one"
