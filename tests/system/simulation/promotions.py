"""Checks the invariants of trials that pause at rungs: which were promoted, and which were told that they end."""

from __future__ import annotations

from itertools import pairwise

from optuna.trial import FrozenTrial, TrialState

from pilotune.pipeline.attributes import PAUSED, details_of
from pilotune.pipeline.fidelity import RungSchedule, bracket_of, rung_schedule

from .database import STUDY
from .world import World

Reports = list[tuple[int, str, int, float]]
"""Reports of one trial in the order of their commits: moment, campaign, step, value."""


def check_promotions(world: World, trials: list[FrozenTrial], reports: dict[int, Reports]) -> None:
    """No trial is still paused. With one driver at a time, the best of each rung were promoted, and no others.

    ``reports``: by trial number.
    """
    rungs = rung_schedule(world.case.pruner)
    retired = [trial for trial in trials if trial.user_attrs.get("pilotune:exit") == "paused"]
    assert not [trial.number for trial in trials if trial.user_attrs.get(PAUSED) is not None], "a trial is still paused"
    assert all(trial.state == TrialState.PRUNED for trial in retired), "a paused trial ended otherwise"
    if rungs is None:
        assert not retired, "a trial was paused where none pauses"
        return
    world.saw["trials paused for ever"] += len(retired)
    for trial in retired:
        steps = rungs.brackets[bracket_of(STUDY, trial.number, rungs.brackets)].rungs
        at = details_of(trial)["rung"]
        assert at in steps, f"trial {trial.number} paused at step {at}, which is no rung of its bracket"
        assert max(trial.intermediate_values) >= at, f"trial {trial.number} paused before its rung"
        if world.case.seats == 1:
            best = best_at(trials, rungs, bracket_of(STUDY, trial.number, rungs.brackets), at)
            assert trial.number not in best, f"trial {trial.number} is among the best at step {at}, and did not go on"

    if world.case.seats == 1:
        for bracket in rungs.brackets:
            theirs = [number for number in reports if bracket_of(STUDY, number, rungs.brackets) == bracket.id]
            for step, after in pairwise((*bracket.rungs, rungs.high)):
                rows = {number: reports[number] for number in theirs}
                went = [number for number in theirs if _promoted(world, number, rows[number], step, after)]
                _no_others(rungs.factor, step, rows, went)


def _promoted(world: World, number: int, reports: Reports, step: int, after: int) -> bool:
    """Whether a later attempt went on from a rung than the attempt that reached it.

    One that hears late that it is to pause goes on meanwhile, perhaps to the next rung.
    """
    attempts = [(world.truth.spoken[number, at, value].attempt, at) for _, _, at, value in reports]
    first = next((attempt for attempt, at in attempts if at >= step), None)
    own = [at for attempt, at in attempts if attempt == first]
    return any(at > max(own) for _, at in attempts) and max(own) < after if own else False


def _no_others(factor: int, step: int, reports: dict[int, Reports], went: list[int]) -> None:
    """Every promoted trial was among the best of its rung at some time after it reached it."""
    came: dict[int, tuple[int, tuple[float, int]]] = {}  # moment, and the rung's sort key
    for number, theirs in reports.items():
        there = next(((moment, value) for moment, _, at, value in theirs if at >= step), None)
        if there:
            came[number] = there[0], (there[1], number)
    for number in went:
        moment, key = came[number]
        # The order of reports in the same transaction is unknown.
        rows = [[each for when, each in came.values() if when < moment or (when == moment and each >= key)]]
        rows += [
            [each for when, each in came.values() if when <= until] for until in {when for when, _ in came.values()}
        ]
        ranks = [(sorted(row).index(key), len(row)) for row in rows if key in row]
        good = any(rank < max(count // factor, count < factor) for rank, count in ranks)
        assert good, f"trial {number} went on from step {step}, where it never was among the best"


def best_at(trials: list[FrozenTrial], rungs: RungSchedule, bracket: int, step: int) -> list[int]:
    """The trials that must have been promoted from a rung, once no more reach it."""
    values = []
    for trial in trials:
        if bracket_of(STUDY, trial.number, rungs.brackets) == bracket:
            there = [each for each in trial.intermediate_values if each >= step]
            if there:
                values.append((trial.intermediate_values[min(there)], trial.number))
    values.sort()
    return [number for _, number in values[: max(1, len(values) // rungs.factor)]]
