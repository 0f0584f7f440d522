"""The values of a study file's keys: how each kind is read, and the sentence for one that is wrong.

:mod:`.schema` says which key has which kind.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator

from ...fields import DefaultText, TypeName, shown, size, whole, whole_or_share
from ...names import NAME, NAME_RULE
from ...yamlfile import nearest
from ..hours import MOST_HOURS
from ..loggers.settings import KINDS, MODES, LoggerSettings
from ..noise import MOST, Repeats
from ..placement_policies import POLICIES
from .rank_counts import TRIAL_LAUNCHERS

DIRECTIONS = ("minimize", "maximize")


def _name(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError(f"must be {NAME_RULE}, but is {shown(value)}")
    return value


def _direction(value: Any) -> str:
    short = {"min": "minimize", "max": "maximize", "minimise": "minimize", "maximise": "maximize"}
    word = short.get(value.lower(), value.lower()) if isinstance(value, str) else value
    if word not in DIRECTIONS:
        raise ValueError(f"must be minimize or maximize, but is {shown(value)}")
    return str(word)


def _directions(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"must be a list of minimize and maximize, but is {shown(value)}")
    return tuple(_direction(item) for item in value)


def _launcher(value: Any) -> str:
    word = "none" if value is None else value
    if word not in TRIAL_LAUNCHERS:
        raise ValueError(f"must be {', '.join(TRIAL_LAUNCHERS[:-1])} or {TRIAL_LAUNCHERS[-1]}, but is {shown(value)}")
    return str(word)


def _named(value: Any) -> dict[str, Any]:
    """A sampler or pruner as a mapping: its name, and its arguments if any."""
    if isinstance(value, str) and value:
        return {"name": value}
    if not isinstance(value, dict):
        raise ValueError(
            f"must be a name, or a mapping as in {{name: median, n_startup_trials: 5}}, but is {shown(value)}"
        )
    if not isinstance(value.get("name"), str):
        raise ValueError("must have a name, as in {name: median, n_startup_trials: 5}")
    return value


LEAST_MEMORY = 1_000_000
"""Bytes that the data of any process needs: a smaller limit lacks its unit."""


def memory(value: Any) -> int:
    """Bytes of memory, from a size. Raises ValueError for less than any process needs."""
    limit = size(value)
    if limit < LEAST_MEMORY:
        raise ValueError(f"must be at least 1MB, but is {shown(value)}; a number without a unit counts bytes")
    return limit


def _callbacks(value: Any) -> tuple[dict[str, Any], ...]:
    """The callbacks, each as a mapping with its name and its arguments if any."""
    found = []
    for item in value if isinstance(value, list) else [value]:
        named = {"name": item} if isinstance(item, str) and item else item
        if not isinstance(named, dict) or not isinstance(named.get("name"), str):
            wanted = "must be a list of functions, as in [file.py:function] or [{name: file.py:Class, every: 10}]"
            raise ValueError(f"{wanted}, but is {shown(value)}")
        found.append(named)
    return tuple(found)


def _loggers(value: Any) -> tuple[LoggerSettings, ...]:
    """The loggers: names, or mappings of a name to its keys."""
    found: dict[str, LoggerSettings] = {}
    for item in value if isinstance(value, list) else [value]:
        named = {item: {}} if isinstance(item, str) else item
        if not isinstance(named, dict) or not named:
            wanted = "must be a list of names, or mappings as in [{mlflow: {uri: ...}}]"
            raise ValueError(f"{wanted}, but is {shown(value)}")
        for name, args in named.items():
            if name not in KINDS:
                raise ValueError(f"has no logger '{name}'{nearest(str(name), KINDS)}")
            if name in found:
                raise ValueError(f"names {name} twice")
            found[name] = LoggerSettings(name, _logger_args(name, args))
    return tuple(found.values())


def _logger_args(name: str, args: Any) -> dict[str, str]:
    args = {} if args is None else args
    if not isinstance(args, dict):
        raise ValueError(f"must have a mapping for {name}, as in [{{{name}: {{{next(iter(KINDS[name].keys))}: ...}}}}]")
    for key, text in args.items():
        if key not in KINDS[name].keys:
            raise ValueError(f"has no key '{key}' of {name}{nearest(str(key), KINDS[name].keys)}")
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"must have text for {name}.{key}, but has {shown(text)}")
        if key == "mode" and text not in MODES:
            raise ValueError(f"must have {' or '.join(MODES)} for {name}.mode, but has {shown(text)}")
    return dict(args)


def _terminator(value: Any) -> dict[str, Any] | None:
    """The arguments of the terminator; None for none."""
    if isinstance(value, dict):
        return value
    if isinstance(value, bool):
        return {} if value else None
    raise ValueError(f"must be true, or a mapping as in {{min_n_trials: 30}}, but is {shown(value)}")


def _hours(value: Any) -> float | dict[str, float]:
    """Hours in all, or by pool."""
    if not isinstance(value, dict):
        return _some_hours(value, "must be", ", or a mapping of pools as in {cpu: 400, gpu: 100}")
    if not value:
        raise ValueError("must name a pool, as in {cpu: 400, gpu: 100}")
    for pool, hours in value.items():
        _some_hours(hours, f"must have for {pool}")
    return {str(pool): float(hours) for pool, hours in value.items()}


def _some_hours(value: Any, must: str, otherwise: str = "") -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{must} a number of hours above 0{otherwise}, but is {shown(value)}")
    if value > MOST_HOURS:
        raise ValueError(f"{must} at most {MOST_HOURS:,.0f}, but is {shown(value)}")
    return float(value)


def _repeats(value: Any) -> Repeats:
    """How often each trial is run, from ``3``, or from ``{least: 1, most: 5}``."""
    if isinstance(value, Repeats):
        return value
    if isinstance(value, dict):
        if unknown := [key for key in value if key not in ("least", "most")]:
            raise ValueError(f"has only the keys least and most, as in {{least: 1, most: 5}}, not {unknown[0]!r}")
        if "most" not in value:
            raise ValueError("must say most, as in {least: 1, most: 5}")
        found = Repeats(_times(value.get("least", 1), "least "), _times(value["most"], "most "))
        if found.least > found.most:
            raise ValueError(f"must not have a least above most, but is {shown(value)}")
        return found
    times = _times(value)
    return Repeats(times, times)


def _times(value: Any, what: str = "") -> int:
    wanted = f"{what}must be a whole number from 1 to {MOST}"
    more = "" if what else ", or a mapping as in {least: 1, most: 5}"
    if isinstance(value, bool) or not isinstance(value, int | float) or value not in range(1, MOST + 1):
        raise ValueError(f"{wanted}{more}, but is {shown(value)}")
    return int(value)


def _sampler(value: Any) -> dict[str, Any]:
    return _named({"name": "auto", **value} if isinstance(value, dict) else value)


def _run(value: Any) -> str | list[str]:
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, list) and value and all(isinstance(v, str | int | float) for v in value):
        return [v if isinstance(v, str) else shown(v) for v in value]
    raise ValueError(f"must be a command line, or a list of its words, but is {shown(value)}")


def _reports(value: Any) -> str:
    """``file``, or the regular expression in ``{stdout: ...}``."""
    if value == "file":
        return "file"
    if not isinstance(value, dict) or list(value) != ["stdout"] or not isinstance(value["stdout"], str):
        raise ValueError("must be file, or {stdout: REGULAR EXPRESSION} with a group (?P<value>...), "
                         f"but is {shown(value)}")  # fmt: skip
    try:
        groups = re.compile(value["stdout"]).groupindex
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    if "value" not in groups or set(groups) - {"value", "step"}:
        raise ValueError("needs a group (?P<value>...), may have a group (?P<step>...), and no other named group")
    return str(value["stdout"])


def _points(value: Any) -> tuple[dict[str, Any], ...]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError(f"must be a list of points, as in [{{lr: 0.01}}], but is {shown(value)}")
    return tuple(value)


def _constraints(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(
            f'must be a list of conditions in quotes, as in ["layers * units <= 512"], but is {shown(value)}'
        )
    return tuple(value)


def _pools(value: Any) -> str | tuple[str, ...]:
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, list | tuple) and value and all(isinstance(item, str) and item for item in value):
        return tuple(value)
    raise ValueError(f"must be a pool's name, a list of names, or an expression, but is {shown(value)}")


def _policy(value: Any) -> str:
    if value not in POLICIES:
        raise ValueError(f"must be {', '.join(POLICIES[:-1])} or {POLICIES[-1]}, but is {shown(value)}")
    return str(value)


StudyName = Annotated[str, BeforeValidator(_name), TypeName("1 to 128 letters, digits, `. _ + -`")]
Direction = Annotated[str, BeforeValidator(_direction), TypeName("`minimize` or `maximize`; for short `min` or `max`")]
Directions = Annotated[tuple[str, ...], BeforeValidator(_directions), TypeName("list of `minimize` and `maximize`")]
SamplerChoice = Annotated[dict[str, Any], BeforeValidator(_sampler), TypeName("name, or mapping")]
PrunerChoice = Annotated[dict[str, Any], BeforeValidator(_named), TypeName("name, or mapping")]
Callbacks = Annotated[tuple[dict[str, Any], ...], BeforeValidator(_callbacks), TypeName("list of functions")]
Loggers = Annotated[tuple[LoggerSettings, ...], BeforeValidator(_loggers), TypeName("list of names, or mappings")]
TerminatorChoice = Annotated[dict[str, Any] | None, BeforeValidator(_terminator), TypeName("`true`, or mapping")]
RepeatsChoice = Annotated[
    Repeats,
    BeforeValidator(_repeats),
    TypeName("whole number, or `{least: N, most: M}`"),
    DefaultText("`1`"),
]
Hours = Annotated[
    float | dict[str, float], BeforeValidator(_hours), TypeName("number of hours, or mapping of pools to hours")
]
CommandLine = Annotated[str | list[str], BeforeValidator(_run), TypeName("text, or list of words")]
TrialLauncher = Annotated[str, BeforeValidator(_launcher), TypeName("`none`, `srun`, `mpiexec` or `aprun`")]
Reports = Annotated[str, BeforeValidator(_reports), TypeName("`file`, or `{stdout: EXPRESSION}`")]
Memory = Annotated[int, BeforeValidator(memory), TypeName("size, or expression")]
Gpus = Annotated[
    int | float, BeforeValidator(whole_or_share), TypeName("whole number, fraction below 1, or expression")
]
Count = Annotated[int, BeforeValidator(whole(1)), TypeName("whole number, 1 or more, or expression")]
PoolsChoice = Annotated[str | tuple[str, ...], BeforeValidator(_pools), TypeName("name, list of names, or expression")]
Policy = Annotated[str, BeforeValidator(_policy), TypeName("`learned`, `fifo` or `shadho`")]
Points = Annotated[tuple[dict[str, Any], ...], BeforeValidator(_points), TypeName("list of points")]
Constraints = Annotated[tuple[str, ...], BeforeValidator(_constraints), TypeName("list of expressions")]
