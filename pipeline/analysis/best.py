"""What won: the best trial, or the Pareto front of several objectives."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import PilotuneError, UserError
from .reading import StudyData, study_of
from .tables import Row, row_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def best_trials(data: StudyData) -> list[Row]:
    """The best complete trial, or the trials of the Pareto front by number; empty before the first complete one.

    As Optuna's ``best_trial`` and ``best_trials``, infeasible trials are left out.
    """
    return [row_of(trial, data.metrics, data.constants) for trial in winners(data)]


def winners(data: StudyData) -> list[FrozenTrial]:
    complete = tuple(trial for trial in data.trials if trial.state.name == "COMPLETE")
    if not complete:
        return []
    study = study_of(replace(data, trials=complete))
    try:
        found = [study.best_trial] if len(data.directions) == 1 else study.best_trials
    except ValueError:  # no trial is feasible
        return []
    return sorted((complete[trial.number] for trial in found), key=lambda trial: trial.number)


def best_params(data: StudyData, number: int | None = None) -> dict[str, Any]:
    """Parameters and constants of the best trial (or of trial ``number``), as one dictionary to train with.

    Raises:
        UserError: No such trial, or several objectives and no ``number``.
        PilotuneError: No trial completed yet.
    """
    if number is not None:
        chosen = [trial for trial in data.trials if trial.number == number]
        if not chosen:
            raise UserError(
                f"study {data.name!r} has no trial {number}; its trials are in `pilotune trials {data.name}`"
            )
        return dict(row_of(chosen[0], data.metrics, data.constants).params)
    front = best_trials(data)
    if not front:
        raise PilotuneError(f"study {data.name!r} has no complete trial yet, so there is no best one")
    if len(front) > 1:
        numbers = ", ".join(str(row.number) for row in front)
        raise UserError(
            f"{len(front)} trials of {data.name!r} are on the Pareto front ({numbers}); choose with --trial N"
        )
    return dict(front[0].params)
