"""Reads what an objective hands over: numbers of any library, and values of any type to be kept as JSON."""

from __future__ import annotations

import json
import numbers
import warnings
from typing import Any

from ...grammar import a
from .protocol import STEP_LIMIT

DEEPEST = 100
"""Most levels of lists and dictionaries in a user attribute; JSON and pickle recurse, and fail at a few hundred."""

LONGEST_REPR = 10_000
"""Characters kept of the ``repr`` of a user attribute that JSON has no form for."""

MOST_ELEMENTS = 10_000
"""Elements of an array that is kept as a list; of a larger one its ``repr``, which shows the ends of it."""


def jsonable(value: Any) -> Any:
    """``value`` as JSON keeps it: itself, numbers and lists for NumPy's and PyTorch's, else its ``repr``.

    >>> jsonable({"a": (1, 2)})
    {'a': [1, 2]}
    >>> jsonable([0.5, 1 + 2j])
    [0.5, '(1+2j)']
    """
    try:
        return _through_json(value)
    except Exception:  # nested too deeply, a number of too many digits, or a key that is no text
        return shown(value)


def _plain(value: Any) -> Any:
    """What JSON has no form for: a number or a list where it is a scalar or an array, else its ``repr``."""
    try:
        convert = getattr(value, "tolist", None) or getattr(value, "item", None)  # of NumPy, PyTorch, pandas, JAX
        if callable(convert) and not isinstance(value, type) and _elements(value) <= MOST_ELEMENTS:
            return convert()
    except Exception:  # a user's methods may raise anything
        pass
    return shown(value)


def _elements(value: Any) -> int:
    count = getattr(value, "numel", None)  # of PyTorch
    return int(count()) if callable(count) else int(getattr(value, "size", 1))


def _through_json(value: Any) -> Any:
    """``value`` after a round trip through JSON. Raises ValueError where it is nested more than DEEPEST levels deep."""
    kept = json.loads(json.dumps(value, default=_plain))
    level, depth = [kept], 0
    while level:
        depth += 1
        inside = [each for each in level if isinstance(each, dict | list)]
        level = [item for each in inside for item in (each.values() if isinstance(each, dict) else each)]
        if depth > DEEPEST:
            raise ValueError("nested too deeply")
    return kept


def shown(value: Any) -> str:
    """``repr(value)``, cut at LONGEST_REPR characters; a substitute where it raises."""
    try:
        text = repr(value)
    except Exception:
        return f"{a(type(value).__name__)} that cannot be shown"
    return text if len(text) <= LONGEST_REPR else f"{text[: LONGEST_REPR - 3]}..."


def as_name(name: Any) -> str:
    """The name of a parameter or attribute, as Optuna's databases keep it: ``str(name)``. Raises TypeError without one.

    >>> as_name("lr"), as_name(3), as_name(None)
    ('lr', '3', 'None')
    """
    try:
        return str.__str__(name) if isinstance(name, str) else str.__str__(str(name))
    except Exception:  # a user's __str__ may raise anything
        raise TypeError(f"a name must be a text, and this {type(name).__name__} has none: its str() fails") from None


LONGEST_NAME = 512
"""Most characters of a name in Optuna's databases."""


def warn_of_name(name: str, stacklevel: int) -> None:
    """Warn where no database can keep an attribute of this name; it is then left out."""
    try:
        name.encode()
    except UnicodeEncodeError:  # a lone surrogate, as in file names of another encoding
        kept = False
    else:
        kept = len(name) <= LONGEST_NAME and "\0" not in name
    if not kept:
        warnings.warn(
            f"the attribute {name[:80]!r} cannot be kept in a database and is left out: a name has at most "
            f"{LONGEST_NAME} characters, no NUL and no lone surrogate",
            stacklevel=stacklevel + 1,
        )


def number_of(value: Any) -> float | None:
    """``value`` as a float; None for texts, booleans, complex numbers and what ``float`` does not take.

    Raises OverflowError for a number that is too large for a float.

    >>> number_of(3), number_of("3"), number_of(True), number_of(3 + 0j)
    (3.0, None, None, None)
    """
    kind = getattr(getattr(value, "dtype", None), "kind", "")  # of NumPy's scalars and arrays
    if isinstance(value, str | bytes | bytearray | memoryview | bool) or kind in ("b", "c", "S", "U", "M", "m"):
        return None
    if isinstance(value, numbers.Complex) and not isinstance(value, numbers.Real):
        return None
    try:
        return float(value)
    except OverflowError:
        raise
    except Exception:  # a user's __float__ may raise anything
        return None


def is_number(value: Any) -> bool:
    """Whether ``value`` counts as one number, if perhaps too large a one."""
    try:
        return number_of(value) is not None
    except OverflowError:
        return True


def as_float(value: Any) -> float:
    """The reported value as a float. Raises TypeError for texts, booleans and what ``float`` does not take."""
    try:
        number = number_of(value)
    except OverflowError:
        number = None
    if number is None:
        raise TypeError(f"report() needs a number as value, got {shown(value)} ({type(value).__name__})")
    return number


def as_step(step: Any) -> int:
    """The reported step as an int. Raises TypeError for what is not a number, ValueError for one that is no step."""
    try:
        number = number_of(step)
        if number is None:
            raise TypeError
        whole = int(number)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"report() needs a whole number as step, got {shown(step)} ({type(step).__name__})") from None
    if whole != number or not 0 <= whole < STEP_LIMIT:
        raise ValueError(f"report() needs a whole number from 0 to {STEP_LIMIT - 1} as step, got {shown(step)}")
    return whole
