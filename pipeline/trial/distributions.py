"""Ranges and choices of parameters: which are allowed, and Optuna's JSON of them, without importing Optuna on a worker.

The rules are the same for a study file's ``space`` and for an objective that suggests as it runs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from .values import shown

if TYPE_CHECKING:
    from decimal import Decimal

MAX_EXACT = 2**53
"""Largest whole number of a parameter: Optuna stores numbers as 64-bit floats, which are exact up to this one."""


FINEST = 1e-8
"""The largest distance of neighbouring 64-bit floats, in steps, at which Optuna knows a value as one of the range's
steps. Finer steps would be refused when a trial is read again."""


class RangeProblem(ValueError):
    """A range that no parameter can have. The message is a sentence.

    Attributes:
        part: What is wrong: the ends (``range``), ``step`` or ``log``.
    """

    def __init__(self, message: str, part: Literal["range", "step", "log"] = "range"):
        super().__init__(message)
        self.part = part


def check_range(low: float, high: float, step: float | None, *, log: bool, whole: bool) -> None:
    """Check the range of a parameter.

    Args:
        low: Lower end, included.
        high: Upper end, included.
        step: Distance between values; None: any value.
        log: The scale is logarithmic.
        whole: It is an int's range.

    Raises:
        RangeProblem: It is empty, infinite, or too large or too fine for 64-bit numbers, or does not fit ``log``.

    >>> check_range(1, 0, None, log=False, whole=False)
    Traceback (most recent call last):
        ...
    pilotune.pipeline.trial.distributions.RangeProblem: low 1 is above high 0
    """
    if whole and max(abs(low), abs(high)) > MAX_EXACT:
        raise RangeProblem(
            f"whole numbers are exact only up to {MAX_EXACT}; use a float, or make the exponent the parameter"
        )
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RangeProblem(f"both ends must be finite numbers, but they are {low} and {high}")
    if step is not None and not 0 < step < math.inf:
        raise RangeProblem(f"must be above 0{' and finite' if step > 0 else ''}, but is {step}", "step")
    if low > high:
        raise RangeProblem(f"low {low} is above high {high}")
    if not math.isfinite(high - low + (step or 0.0)):  # samplers draw from half a step beyond both ends
        raise RangeProblem(f"the range from {low} to {high} is too large for 64-bit numbers")
    if log and low <= 0:
        raise RangeProblem(f"low must be above 0 on a log scale, but is {low}")
    if step is not None:
        _check_step(low, high, step, log=log and not (whole and step == 1), whole=whole)


def _check_step(low: float, high: float, step: float, *, log: bool, whole: bool) -> None:
    if log:
        raise RangeProblem("a log scale cannot have a step; leave one of them out", "step")
    if not whole and low < high and math.ulp(max(abs(low), abs(high))) > FINEST * step:
        message = f"a step of {step} is too small for the range from {low} to {high}; leave the step out"
        raise RangeProblem(message, "step")
    if whole and step != 1 and high - low > MAX_EXACT:
        raise RangeProblem(f"a range with a step is at most {MAX_EXACT} wide, but this one is {high - low}")


def stepped(low: float, high: float, step: float) -> tuple[float, float]:
    """The ends of a float's range with a step, so that a whole number of steps fits between them.

    ``high`` is lowered to the last value, as in Optuna. Optuna computes it from the decimal digits of the ends, each
    time that it reads them, and loses one more step where these digits do not fit a whole number of steps. So the ends
    are chosen such that it does not change them: where it must, ``low`` moves by at most two floats of ``high``'s size,
    and never across 0.

    >>> stepped(0.0, 1.0, 0.3), stepped(0.1, 0.3, 0.1)
    ((0.0, 0.9), (0.1, 0.3))
    """
    from decimal import Decimal  # not before: a fork copies what each library has mapped

    unit = math.ulp(max(abs(low), abs(high)))
    width = Decimal(str(step))
    most = (Decimal(str(high)) - Decimal(str(low)) + Decimal(unit)) // width
    for count in (most, most - 1):
        last = float(Decimal(str(low)) + count * width)
        for top in (last, math.nextafter(last, math.inf), math.nextafter(last, -math.inf)):
            for start in (low, float(Decimal(str(top)) - count * width)):
                inside = start <= top <= high and (start >= low or low * start > 0)
                if inside and abs(start - low) <= 2 * unit and _read_by_optuna(start, top, width) == top:
                    return start, top
    return low, float(Decimal(str(low)) + most * width)


def _read_by_optuna(low: float, high: float, width: Decimal) -> float:
    """What Optuna makes of the upper end when it reads the distribution."""
    from decimal import Decimal

    first, last = Decimal(str(low)), Decimal(str(high))
    return high if (last - first) % width == 0 else float((last - first) // width * width + first)


def float_distribution(low: float, high: float, step: float | None, log: bool) -> str:
    """``FloatDistribution(low, high, log, step)`` as ``optuna.distributions.distribution_to_json`` writes it.

    As in Optuna, ``high`` is lowered to a whole number of steps above ``low``.
    Raises ValueError for a range that :func:`check_range` refuses.

    >>> float_distribution(0.0, 1.0, 0.3, log=False)
    '{"name": "FloatDistribution", "attributes": {"step": 0.3, "low": 0.0, "high": 0.9, "log": false}}'
    """
    low, high = _bound(low, "low", float), _bound(high, "high", float)
    step = None if step is None else _bound(step, "step", float)
    _checked(low, high, step, log=bool(log), whole=False)
    if step is not None:
        low, high = stepped(low, high, step)
    return _to_json("FloatDistribution", {"step": step, "low": low, "high": high, "log": bool(log)})


def int_distribution(low: int, high: int, step: int, log: bool) -> str:
    """``IntDistribution(low, high, log, step)`` in Optuna's JSON. Raises ValueError as :func:`float_distribution`."""
    low, high, step = _bound(low, "low", int), _bound(high, "high", int), _bound(step, "step", int)
    _checked(low, high, step, log=bool(log), whole=True)
    high = (high - low) // step * step + low
    return _to_json("IntDistribution", {"log": bool(log), "step": step, "low": low, "high": high})


def _checked(low: float, high: float, step: float | None, *, log: bool, whole: bool) -> None:
    try:
        check_range(low, high, step, log=log, whole=whole)
    except RangeProblem as problem:
        bare = problem.part == "step" and str(problem).startswith("must ")
        raise RangeProblem(f"`step` {problem}" if bare else str(problem), problem.part) from None


def _bound(value: Any, name: str, kind: Callable[[Any], Any]) -> Any:
    """A number of a range as Optuna reads it: by ``float`` or ``int``."""
    try:
        return kind(value)
    except OverflowError:
        raise RangeProblem(f"`{name}` must be a finite number of 64 bits, got {shown(value):.80}") from None
    except (TypeError, ValueError):
        raise RangeProblem(f"`{name}` must be a number, got {shown(value):.80}") from None


def stored_choice(choice: Any) -> Any:
    """A choice as the database and the samplers have it: a list, tuple or dictionary is kept as its JSON text.

    Samplers and plots compare choices and look them up, which lists cannot do. NumPy and PyTorch scalars become
    numbers. Raises TypeError for an object that has no form in JSON.

    >>> stored_choice("adamw"), stored_choice([16, 8]), stored_choice({"depth": 2})
    ('adamw', '[16, 8]', '{"depth": 2}')
    """
    if choice is None or isinstance(choice, bool | int | float | str):
        return choice
    if isinstance(choice, list | tuple | dict):
        return json.dumps(choice, default=_scalar)
    return _scalar(choice)


def same_choice(left: Any, right: Any) -> bool:
    """Whether two values of a file are the same choice: 1 and 1.0 are, 1 and true are not, whatever they are inside of.

    The order of a mapping's keys does not count.

    >>> same_choice([1, {"a": 2}], [1.0, {"a": 2}]), same_choice([1], [True])
    (True, False)
    """
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same_choice, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same_choice(left[name], right[name]) for name in left)
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _scalar(value: Any) -> Any:
    """The number or text in a NumPy or PyTorch scalar. Raises TypeError for anything else."""
    try:
        item = value.item()
    except Exception:  # it has no item(), or one that raises anything
        item = value
    if item is None or isinstance(item, bool | int | float | str):
        return item
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def categorical_distribution(choices: Sequence[Any]) -> str:
    """``CategoricalDistribution(choices)`` in Optuna's JSON, with choices as :func:`stored_choice` has them.

    Raises ValueError for no choices, for objects, or for a list and a text that would be stored alike.
    """
    if not choices:
        raise ValueError("there must be at least one choice")
    try:
        kept = [stored_choice(choice) for choice in choices]
        form = _to_json("CategoricalDistribution", {"choices": kept})
    except (TypeError, ValueError, RecursionError):
        given = shown(list(choices))
        given = given if len(given) <= 500 else f"{given[:497]}..."
        raise ValueError(
            "choices must be None, bool, int, float, str, or lists or dictionaries of these, to be kept in a database, "
            f"got {given}; name them by strings and look the objects up"
        ) from None
    texts = [text for text, choice in zip(kept, choices, strict=True) if isinstance(choice, list | tuple | dict)]
    twice = next((text for text in texts if kept.count(text) > 1), None)
    if twice is not None:
        raise ValueError(f"two choices are kept as the same text in a database, {twice!r}; give each a name of its own")
    return form


def choice_for(value: Any, choices: Sequence[Any]) -> Any:
    """The one of ``choices`` that is stored as ``value``, or is ``value``; ``value`` itself where none is."""
    wanted = _dumps(value)
    return next((choice for choice in choices if _dumps(choice) == wanted), value)


def _dumps(choice: Any) -> str | None:
    try:
        return json.dumps(stored_choice(choice))
    except (TypeError, ValueError, RecursionError):
        return None


def _to_json(name: str, attributes: dict[str, Any]) -> str:
    return json.dumps({"name": name, "attributes": attributes})
