"""The schedule of a trial of population-based training: which parameters it had at which steps, over its parents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import UserError
from ..attributes import PARENT, STEP
from .best import best_params
from .reading import StudyData


@dataclass(frozen=True)
class Stage:
    """A part of a schedule.

    Attributes:
        start: How many steps were done before it.
        trial: Whose parameters it has.
        params: These, and the constants.
    """

    start: int
    trial: int
    params: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The stage as it stands in a file."""
        return {"from": self.start, "trial": self.trial, "params": dict(self.params)}


def schedule_of(data: StudyData, number: int) -> list[Stage]:
    """The stages that led to a trial, the first one first; one stage for a trial that started from nothing.

    Args:
        data: The study.
        number: The trial's.

    Raises:
        UserError: The study has no such trial.

    Example:
        >>> import optuna
        >>> study = optuna.create_study()
        >>> for lr in (0.1, 0.2):
        ...     study.add_trial(optuna.create_trial(value=1.0, params={"lr": lr},
        ...         distributions={"lr": optuna.distributions.FloatDistribution(0, 1)},
        ...         system_attrs={"pilotune:parent": 0, "pilotune:step": 4} if lr > 0.1 else {}))
        >>> data = StudyData("sqlite://", "s", ("minimize",), ("value",), tuple(study.trials), {})
        >>> [(stage.start, stage.trial, stage.params) for stage in schedule_of(data, 1)]
        [(0, 0, {'lr': 0.1}), (4, 1, {'lr': 0.2})]
    """
    stages: list[Stage] = []
    seen: set[int] = set()
    while number not in seen:  # a damaged database may have a loop
        trial = data.trial(number)
        if trial is None:
            raise UserError(f"there is no trial {number} in study {data.name!r}")
        seen.add(number)
        step, parent = trial.system_attrs.get(STEP), trial.system_attrs.get(PARENT)
        if not isinstance(step, int) or not isinstance(parent, int):
            stages.append(Stage(0, number, best_params(data, number)))
            break
        stages.append(Stage(step, number, best_params(data, number)))
        number = parent
    stages.reverse()
    # A copy may have been copied again before it had trained on: then its parameters were never used.
    last = len(stages) - 1
    return [stage for i, stage in enumerate(stages) if i == last or stages[i + 1].start > stage.start]
