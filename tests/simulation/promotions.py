"""What must hold at the end of a seed whose trials pause at rungs: who went on, and who was told that it does not."""

from __future__ import annotations

from optuna.trial import FrozenTrial, TrialState

from pilotune.pipeline.changes import PAUSED
from pilotune.pipeline.fidelity import Ladder, bracket_of, ladder

from .database import STUDY
from .world import World


def check_promotions(world: World, trials: list[FrozenTrial]) -> None:
    """Nothing is paused any more, and where one driver at a time knew of all, the best of each rung went on."""
    rungs = ladder(world.case.pruner)
    retired = [trial for trial in trials if trial.user_attrs.get("pilotune:exit") == "paused"]
    assert not [trial.number for trial in trials if trial.user_attrs.get(PAUSED) is not None], "a trial is still paused"
    assert all(trial.state == TrialState.PRUNED for trial in retired), "a paused trial ended otherwise"
    if rungs is None:
        assert not retired, "a trial was paused where none pauses"
        return
    world.saw["trials paused for ever"] += len(retired)
    for trial in retired:
        steps = rungs.brackets[bracket_of(STUDY, trial.number, rungs.brackets)].rungs
        at = trial.user_attrs["pilotune:rung"]
        assert at in steps, f"trial {trial.number} paused at step {at}, which is no rung of its bracket"
        assert max(trial.intermediate_values) >= at, f"trial {trial.number} paused before its rung"
        if world.case.seats == 1:
            best = best_at(trials, rungs, bracket_of(STUDY, trial.number, rungs.brackets), at)
            assert trial.number not in best, f"trial {trial.number} is among the best at step {at}, and did not go on"


def best_at(trials: list[FrozenTrial], rungs: Ladder, bracket: int, step: int) -> list[int]:
    """The trials that must have gone on from a rung, once no more come to it."""
    values = []
    for trial in trials:
        if bracket_of(STUDY, trial.number, rungs.brackets) == bracket:
            there = [each for each in trial.intermediate_values if each >= step]
            if there:
                values.append((trial.intermediate_values[min(there)], trial.number))
    values.sort()
    return [number for _, number in values[: max(1, len(values) // rungs.factor)]]
