"""The best trial of a study, or the Pareto front of one with several objectives."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import PilotuneError, UserError
from ..noise import repetitions_of
from .reading import StudyData, study_of
from .tables import Row, row_of
from .trial_facts import breaks_none

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from ..noise.bounds import CautiousBest


def certainty(data: StudyData) -> CautiousBest | None:
    """How sure the best trial is, where trials were repeated; None elsewhere, and with several objectives."""
    if len(data.directions) > 1:
        return None
    found = [(trial, repetitions_of(trial)) for trial in data.trials if trial.state.name == "COMPLETE"]
    if all(len(repetitions) < 2 for _, repetitions in found):
        return None
    from ..noise.bounds import cautious_best, measured_of

    feasible = [each for each in found if breaks_none(each[0])]
    return cautious_best(measured_of(feasible), maximize=data.directions[0] == "maximize")


def best_trials(data: StudyData) -> list[Row]:
    """The best complete trial, or the complete trials on the Pareto front.

    Infeasible trials are left out, as in Optuna's ``best_trial`` and ``best_trials``. Where trials were repeated, the
    best is the one with the best pessimistic bound (:func:`certainty`), while Optuna's is the one with the best mean.

    Args:
        data: The study.

    Returns:
        One row, or one for each trial of the front by ascending number; empty if no feasible trial has completed.
    """
    return [row_of(trial, data.metrics, data.constants) for trial in best_frozen_trials(data)]


def best_frozen_trials(data: StudyData) -> list[FrozenTrial]:
    """The trials of :func:`best_trials` as Optuna's."""
    complete = tuple(trial for trial in data.trials if trial.state.name == "COMPLETE")
    if not complete:
        return []
    certain = certainty(data)
    if certain is not None:
        return [trial for trial in complete if trial.number == certain.number]
    if len(data.directions) == 1:
        complete = _candidates(complete, maximize=data.directions[0] == "maximize")
    study = study_of(replace(data, trials=complete))
    try:
        found = [study.best_trial] if len(data.directions) == 1 else study.best_trials
    except ValueError:  # no trial is feasible
        return []
    return sorted((complete[trial.number] for trial in found), key=lambda trial: trial.number)


def _candidates(complete: tuple[FrozenTrial, ...], maximize: bool) -> tuple[FrozenTrial, ...]:
    """The trials with the best value, where that is all that makes one the best: Optuna copies every trial it gets."""
    if any(key.startswith("constraints") for trial in complete for key in trial.system_attrs):
        return complete
    best = (max if maximize else min)(trial.values[0] for trial in complete)
    return tuple(trial for trial in complete if trial.values[0] == best) or complete


def single_best(data: StudyData, choose: str = "choose with --trial N") -> Row:
    """The best complete trial of a study that has one.

    Args:
        data: The study.
        choose: What to do where there are several, for the error.

    Raises:
        UserError: The Pareto front has several.
        PilotuneError: No trial has completed yet.
    """
    front = best_trials(data)
    if not front:
        raise PilotuneError(f"study {data.name!r} has no complete trial yet, so there is no best one")
    if len(front) > 1:
        numbers = ", ".join(str(row.number) for row in front)
        raise UserError(f"{len(front)} trials of {data.name!r} are on the Pareto front ({numbers}); {choose}")
    return front[0]


def best_params(data: StudyData, number: int | None = None, choose: str = "choose with --trial N") -> dict[str, Any]:
    """Parameters and constants of one trial, as one dictionary to train with.

    Args:
        data: The study.
        number: The trial's number; None for the best trial.
        choose: What to do where there are several best trials, for the error.

    Raises:
        UserError: There is no such trial, or the Pareto front has several and no ``number`` is given.
        PilotuneError: No trial has completed yet.
    """
    if number is None:
        return _for_objective(single_best(data, choose), data)
    chosen = data.trial(number)
    if chosen is None:
        raise UserError(f"study {data.name!r} has no trial {number}; its trials are in `pilotune trials {data.name}`")
    return _for_objective(row_of(chosen, data.metrics, data.constants), data)


def _for_objective(row: Row, data: StudyData) -> dict[str, Any]:
    """A trial's parameters as its objective had them."""
    objects = data.objects
    own = {name: objects.get(name, {}).get(value, value) for name, value in row.params.items()}
    return {**own, **data.graphs}
