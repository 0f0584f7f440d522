"""Says how to write a parameter that a study file has in the form of another tool, or in no form at all."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

LOW = ("low", "lower", "min", "minimum", "start", "from", "lb")
HIGH = ("high", "upper", "max", "maximum", "stop", "end", "to", "ub")
RANGE = ("range", "bounds", "interval", "limits")
VALUES = ("choices", "categories", "values", "options", "categorical", "enum", "items", "oneof", "one_of")
KIND = ("type", "distribution", "dist", "kind", "name", "parameter_type", "method")
STEP = ("step", "q", "quantization", "increment")
CONSTANT = ("const", "value", "fixed", "default")

FLOAT_WORDS = ("float", "uniform", "real", "double", "interval", "continuous")
INT_WORDS = ("int", "integer", "randint", "discrete")
CHOICE_WORDS = ("choice", "categor", "ordinal", "enum", "grid_search", "sample_from")

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_CALL = re.compile(r"(?:\w+\.)*(?:suggest_)?(\w+)\((.*)\)")
_SPAN = re.compile(rf"({_NUMBER})\s*(?:\.\.\.?|-|–|to)\s*({_NUMBER})")
_LIST = re.compile(rf"{_NUMBER}(?:\s*,\s*{_NUMBER})+")


def right_form(data: Mapping[str, Any]) -> str:
    """What a mapping probably means, as a study file says it; empty where nothing can be said.

    >>> right_form({"type": "float", "low": 0.001, "high": 0.1, "log": True})
    '{float: [0.001, 0.1], log: true}'
    >>> right_form({"loguniform": [0.001, 0.1]}), right_form({"categorical": ["sgd", "adamw"]})
    ('{float: [0.001, 0.1], log: true}', '{choice: [sgd, adamw]}')
    """
    keys = {name.lower().lstrip("_"): value for name, value in data.items()}
    if len(keys) == 1 and (constant := next((name for name in CONSTANT if name in keys), None)):
        return f"{{constant: {as_yaml(keys[constant])}}}"
    kind = next((str(keys[name]).lower() for name in KIND if isinstance(keys.get(name), str)), "")
    inside: Any = keys.get("value")
    if not kind:  # {uniform: [0, 1]}: the distribution is the key
        named = [name for name in keys if any(word in name for word in (*FLOAT_WORDS, *INT_WORDS, "bool", "normal"))]
        kind, inside = (named[0], keys[named[0]]) if named else ("", inside)
    if "normal" in kind and "log" not in kind.replace("lognormal", ""):
        return "{float: [low, high]}"
    if "bool" in kind:
        return "{choice: [true, false]}"
    values = next((keys[name] for name in VALUES if isinstance(keys.get(name), list)), None)
    if values is None and any(word in kind for word in CHOICE_WORDS):
        values = inside if isinstance(inside, list) else None
    if values is not None:
        return f"{{choice: {as_yaml(values)}}}"
    bounds = _bounds(keys, inside)
    if bounds is None:
        return ""
    return _range(kind, bounds, keys)


def _bounds(keys: Mapping[str, Any], inside: Any) -> list[Any] | None:
    """Low and high, and a third number where there is one."""
    if isinstance(inside, Mapping):
        return _bounds({name.lower(): value for name, value in inside.items()}, None)
    for found in (inside, *(keys.get(name) for name in RANGE)):
        if isinstance(found, list) and len(found) in (2, 3) and all(map(_is_number, found)):
            return found
    low = next((keys[name] for name in LOW if _is_number(keys.get(name))), None)
    high = next((keys[name] for name in HIGH if _is_number(keys.get(name))), None)
    return None if low is None or high is None else [low, high]


def _range(kind: str, bounds: Sequence[Any], keys: Mapping[str, Any]) -> str:
    low, high = bounds[0], bounds[1]
    step = next((keys[name] for name in STEP if _is_number(keys.get(name))), None)
    if step is None and len(bounds) == 3:
        step = bounds[2]
    log = "log" in kind or keys.get("log") is True or "log" in str(keys.get("scale", keys.get("prior", ""))).lower()
    whole = any(word in kind for word in INT_WORDS)
    if not any(word in kind for word in (*INT_WORDS, *FLOAT_WORDS)):
        whole = all(isinstance(each, int) for each in (low, high))
    more = ", log: true" if log else f", step: {as_yaml(step)}" if step is not None else ""
    return f"{{{'int' if whole else 'float'}: [{as_yaml(low)}, {as_yaml(high)}]{more}}}"


def form_of_list(values: list[Any]) -> str:
    """What to write for a plain list, which is neither a parameter nor a constant.

    >>> form_of_list([2, 4, 8])
    'for a choice write {choice: [2, 4, 8]}, for a constant list {constant: [2, 4, 8]}'
    """
    constant = f"for a constant list {{constant: {as_yaml(values)}}}"
    if any(isinstance(value, list | dict) for value in values) or not values:
        return constant.replace("list {", "list write {")
    choice = f"for a choice write {{choice: {as_yaml(values)}}}"
    if len(values) == 2 and all(map(_is_number, values)):
        kind = "int" if all(isinstance(value, int) for value in values) else "float"
        return f"{choice}, for a range {{{kind}: {as_yaml(values)}}}, {constant}"
    return f"{choice}, {constant}"


def form_of_text(value: str) -> str:
    """What to write for a text that looks like a range or a list of numbers; empty for other texts.

    >>> form_of_text("loguniform(1e-5, 0.1)")
    'for a range write {float: [1e-05, 0.1], log: true}'
    >>> form_of_text("2, 4, 8"), form_of_text("adamw")
    ('for a choice write {choice: [2, 4, 8]}', '')
    """
    stripped = value.strip()
    if span := _SPAN.fullmatch(stripped):
        return f"for a range write {right_form({'range': [_parsed(part) for part in span.groups()]})}"
    if _LIST.fullmatch(stripped):
        return f"for a choice write {{choice: {as_yaml([_parsed(part) for part in stripped.split(',')])}}}"
    call = _CALL.fullmatch(stripped)
    if call is None:
        return ""
    kind, inside = call[1].lower(), [_parsed(part) for part in re.split(r"\s*,\s*", call[2].strip("[]() ")) if part]
    if any(word in kind for word in CHOICE_WORDS):
        return f"for a choice write {{choice: {as_yaml(inside)}}}" if inside else ""
    if (
        any(word in kind for word in (*FLOAT_WORDS, *INT_WORDS, "range"))
        and all(map(_is_number, inside))
        and len(inside) > 1
    ):
        return f"for a range write {right_form({'type': kind, 'range': inside[:3]})}"
    return ""


def as_yaml(value: Any) -> str:
    """A value as a study file has it, without line breaks; long lists are cut off.

    >>> as_yaml([1, "a", True, None, "b: c"])
    '[1, a, true, null, "b: c"]'
    """
    if isinstance(value, list):
        shown = [as_yaml(item) for item in value[:8]] + (["..."] if len(value) > 8 else [])
        return f"[{', '.join(shown)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {as_yaml(item)}" for name, item in value.items()) + "}"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        plain = re.fullmatch(r"[A-Za-z_][\w./-]*", value) and value.lower() not in ("true", "false", "null", "nan")
        return value if plain else '"' + value.replace("\\", "\\\\").replace('"', '\\"')[:60] + '"'
    return str(value)


def _parsed(part: str) -> Any:
    part = part.strip().strip("'\"")
    if re.fullmatch(r"[-+]?\d+", part):
        return int(part)
    return float(part) if re.fullmatch(_NUMBER, part) else part


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
