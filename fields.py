"""Types of the keys of study and site files (durations, sizes, numbers), and pydantic's errors as sentences.

A validator here takes a value as YAML gives it and returns the checked value. It raises ValueError with the end of a
sentence: "must be a whole number of at least 1, but is 'ten'".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from .errors import UserError
from .grammar import a
from .yamlfile import YamlFile, join, nearest

Model = TypeVar("Model", bound=BaseModel)

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "min": 60, "s": 1, "ms": 0.001}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(d|h|min|ms|m|s)\s*")
_CLOCK = re.compile(r"(?:(\d+)[-:])??(\d+):(\d\d):(\d\d)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTP]?)(i?)B?", re.IGNORECASE)

MOST, LONGEST, LARGEST = 10**15, 36_500 * 86_400.0, 10.0**18
"""Bounds of whole numbers, of durations (a hundred years) and of sizes (1,000 PB). What is beyond is a mistake, would
fill messages with its digits, and overflows where it is multiplied."""


class Section(BaseModel):
    """Base of all sections of a file: unknown keys are errors, and values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class TypeName:
    """What the key tables in ``docs/`` call a type: ``Annotated[int, ..., TypeName("whole number")]``."""

    name: str


@dataclass(frozen=True)
class DefaultText:
    """What the key tables in ``docs/`` give as the default of a key whose default depends on other things.

    ``Annotated[Word | None, DefaultText("the scheduler's")]``; without it the table shows the default of the field.
    """

    text: str


def shown(value: Any) -> str:
    """A value as a user would write it, shortened to 60 characters.

    >>> shown([True, "a", None]), shown({"deep": 1.5}), shown(None)
    ("[true, 'a', null]", '{deep: 1.5}', 'empty')
    """
    if value is None:
        return "empty"
    try:
        text = _spelled(value)
    except (ValueError, RecursionError):  # of millions of digits, or nested too deeply
        text = f"{a(type(value).__name__)} that is too large"
    return text if len(text) <= 60 else text[:57] + "..."


def _spelled(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(_spelled, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_spelled(item)}" for name, item in value.items()) + "}"
    return repr(value)


def duration(value: Any) -> float:
    """A duration in seconds, from ``90``, ``90s``, ``30m``, ``1h30m``, ``2d`` or ``[days-]hh:mm:ss``; more than 0.

    >>> duration("1h30m"), duration("1-00:00:00")
    (5400.0, 86400.0)
    """
    seconds: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str):
        text = value.strip().lower()
        if clock := _CLOCK.fullmatch(text):
            days, hours, minutes, rest = (int(part or 0) for part in clock.groups())
            seconds = float(days * 86_400 + hours * 3_600 + minutes * 60 + rest)
        elif text and _DURATION.sub("", text) == "":
            seconds = sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))
    if seconds is None or not 0 < seconds < math.inf:
        raise ValueError(f"must be a duration above 0, as in 90s, 30m, 1h30m or 00:30:00, but is {shown(value)}")
    if seconds > LONGEST:
        raise ValueError(f"must be a duration of at most {format_duration(LONGEST)}, but is {shown(value)}")
    return seconds


def size(value: Any) -> int:
    """A size in bytes, from ``1000``, ``512MB`` or ``2GiB``; more than 0.

    KB, MB, GB are powers of 1000; KiB, MiB, GiB are powers of 1024.

    >>> size("512MB"), size("2GiB")
    (512000000, 2147483648)
    """
    number: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    elif isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        step = 1024 if match[3] else 1000
        number = float(match[1]) * step ** " KMGTP".index(match[2].upper() or " ")
    if number is None or not 1 <= number < math.inf:
        raise ValueError(f"must be a size, as in 512MB, 2GB or 2GiB, but is {shown(value)}")
    if number > LARGEST:
        raise ValueError(f"must be a size of at most 1000PB, but is {shown(value)}")
    return int(number)


def format_duration(seconds: float) -> str:
    """Seconds as text that :func:`duration` reads.

    >>> format_duration(5400)
    '1h30m'
    """
    if seconds != int(seconds):
        return f"{seconds:g}s"
    parts, left = [], int(seconds)
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        if left >= length:
            parts.append(f"{left // length}{unit}")
            left %= length
    return "".join(parts) or "0s"


def whole(low: int | None = None) -> Callable[[Any], int]:
    """A validator for whole numbers of at least ``low``; None for any."""
    least = "" if low is None else f" of at least {low}"

    def check(value: Any) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or (low is not None and value < low):
            raise ValueError(f"must be a whole number{least}, but is {shown(value)}")
        if abs(value) > MOST:
            raise ValueError(f"must be a whole number of at most {MOST:,}, but is {shown(value)}")
        return value

    return check


def whole_or_share(value: Any) -> float:
    """A whole number of at least 0, or a fraction of one.

    >>> whole_or_share(2), whole_or_share(0.5)
    (2, 0.5)
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
    if is_number and value > MOST:
        raise ValueError(f"must be at most {MOST:,}, but is {shown(value)}")
    if is_number and (value < 1 or value == int(value)):
        return value if 0 < value < 1 else int(value)
    raise ValueError(f"must be a whole number of at least 0, or a fraction below 1, but is {shown(value)}")


def number(value: Any) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"must be a number, but is {shown(value)}")
    return float(value)


def boolean(value: Any) -> bool:
    """true or false; yes, no, on and off too."""
    words = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}
    if isinstance(value, str):
        value = words.get(value.lower(), value)
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, but is {shown(value)}")
    return value


def text(value: Any) -> str:
    """Text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"must be text, but is {shown(value)}")
    return value


def texts(value: Any) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"must be a list of texts, but is {shown(value)}")
    return tuple(text(item) for item in value)


def mapping(value: Any) -> dict[str, Any]:
    """A mapping."""
    if not isinstance(value, dict):
        raise ValueError(f"must be a mapping (key: value), but is {shown(value)}")
    return value


Duration = Annotated[float, BeforeValidator(duration), TypeName("duration")]
Size = Annotated[int, BeforeValidator(size), TypeName("size")]
Positive = Annotated[int, BeforeValidator(whole(1)), TypeName("whole number, 1 or more")]
NotNegative = Annotated[int, BeforeValidator(whole(0)), TypeName("whole number, 0 or more")]
Number = Annotated[float, BeforeValidator(number), TypeName("number")]
Bool = Annotated[bool, BeforeValidator(boolean), TypeName("true or false")]
Text = Annotated[str, BeforeValidator(text), TypeName("text")]
Texts = Annotated[tuple[str, ...], BeforeValidator(texts), TypeName("list of texts")]
Mapping_ = Annotated[dict[str, Any], BeforeValidator(mapping), TypeName("mapping")]


Explain = Callable[[tuple[str | int, ...], YamlFile], str]
"""From the path of an unknown key, and its file, to the end of a sentence that says what to write; or empty."""


def validate(model: type[Model], source: YamlFile, explain: Explain | None = None) -> Model:
    """Check the data of a file, and return it as a ``model``.

    Args:
        model: The file's keys.
        source: The file.
        explain: Knows other names of keys. Where it has nothing to say, the nearest key is named.

    Raises:
        UserError: There are mistakes. The error is at the first one; the others follow in its message, one on each
            line.
    """
    try:
        return model.model_validate(source.data)
    except ValidationError as error:
        found = [_sentence(model, source, dict(item), explain) for item in error.errors()]
        found = _without_followers(found)
    raise all_errors(found)


def all_errors(found: list[UserError]) -> UserError:
    """One error for all of ``found``: at the first by line, with the others below it in the message."""
    first, *others = sorted(found, key=lambda error: error.line or 0)
    message = "\n".join([first.message, *(str(other) for other in others)])
    return UserError(message, file=first.file, line=first.line, key=first.key)


def _without_followers(found: list[UserError]) -> list[UserError]:
    """Drop errors on missing keys that are misspelt: the misspelling is reported already."""
    misspelt = {error.key.rpartition(".")[0] + "/" + error.message.split("'")[1]
                for error in found if error.key and "did you mean" in error.message}  # fmt: skip
    return [
        error for error in found
        if error.message != _REQUIRED or "/".join((error.key or "").rpartition(".")[::2]) not in misspelt
    ]  # fmt: skip


_REQUIRED = "this key is required"


def _sentence(model: type[BaseModel], source: YamlFile, item: dict[str, Any], explain: Explain | None) -> UserError:
    key = ""
    for part in item["loc"]:
        key = join(key, part)
    kind = item["type"]
    if kind == "extra_forbidden":
        hint = explain(item["loc"], source) if explain else ""
        known = section_fields(model, item["loc"][:-1])
        return source.error(f"unknown key{hint or nearest(str(item['loc'][-1]), known)}", key)
    if kind == "missing":
        return source.error(_REQUIRED, key)
    if kind == "value_error":
        return source.error(str(item["ctx"]["error"]), key)
    wanted = {"model_type": "a mapping (key: value)", "model_attributes_type": "a mapping (key: value)"}
    wanted |= {"dict_type": "a mapping (key: value)", "list_type": "a list", "tuple_type": "a list"}
    if kind in wanted:
        return source.error(f"must be {wanted[kind]}, but is {shown(item['input'])}", key)
    return source.error(f"cannot be {shown(item['input'])}", key)


def section_fields(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    """The keys that the section at ``loc`` may have. A part of ``loc`` that is no field is a key of a mapping."""
    here = model
    for part in loc:
        if str(part) in here.model_fields:
            here = _section(here.model_fields[str(part)].annotation) or here
    return list(here.model_fields)


def _section(annotation: Any) -> type[BaseModel] | None:
    """The section inside ``X``, ``X | None`` or ``dict[str, X]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if (found := _section(inner)) is not None:
            return found
    return None
