"""A ``constraints_func`` of the user's, as a sampler in a study file names it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from ...errors import UserError
from ...fields import shown
from ..user_code.parts import FAILURES, UserCodeFailure, load_user_callable


def constraints_function(text: str, folder: Path | None, key: str) -> Callable[[FrozenTrial], Sequence[float]] | None:
    """Import the user's function of a finished trial that says by how much it breaks each constraint.

    Args:
        text: ``file.py:function`` or ``module:function``.
        folder: The study file's; None: the function is only looked up by others, and not imported.
        key: Where it stands in the study file.

    Returns:
        The function, whose result is a sequence of floats whatever kind of numbers it returns; None without a folder.

    Raises:
        UserError: It cannot be imported, or does not take a trial.
    """
    if folder is None:
        return None
    function = load_user_callable(text, {}, folder, kind="constraints_func", key=key)
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        message = f"the constraints_func {text} must take one argument, as in def constraints(trial)"
        raise UserError(message, key=key) from None
    except ValueError:  # it has no signature
        pass
    return ConstraintsFunction(function)


class ConstraintsFunction:
    """A function of the user's that returns the amounts by which a trial breaks constraints, as a tuple of floats.

    Args:
        function: Returns numbers, one for each constraint; a single number is one constraint.
    """

    def __init__(self, function: Callable[[FrozenTrial], Any]) -> None:
        self.function = function

    def __call__(self, trial: FrozenTrial) -> tuple[float, ...]:
        """The amounts. Raises UserCodeFailure where the function raises, or returns something else."""
        try:
            return self._numbers(self.function(trial))
        except FAILURES as error:
            raise UserCodeFailure("constraints_func", self.function) from error

    def _numbers(self, found: Any) -> tuple[float, ...]:
        try:
            numbers = list(found) if hasattr(found, "__iter__") and not isinstance(found, str) else [found]
            amounts = tuple(float(number) for number in numbers)
        except (TypeError, ValueError):
            raise TypeError(f"it must return a sequence of numbers, but returned {shown(found)}") from None
        if any(map(math.isnan, amounts)):
            raise ValueError(f"it returned {shown(found)}, and constraints cannot be NaN")
        return amounts
