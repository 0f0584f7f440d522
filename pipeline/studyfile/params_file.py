"""Reads files of parameters, as ``pilotune export --best`` and ``pilotune best`` write them; fits them to a space."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from ...errors import UserError
from ...fields import shown
from ...yamlfile import YamlFile, nearest, parse_value, parse_yaml
from ..distributions import contains, describe
from ..space import Parameter, Space
from ..trial.distributions import same_choice
from .schedule_file import KEY, is_schedule, read_schedule
from .study_file import StudyFile

WHAT = "file of parameters"


def read_params(path: Path) -> YamlFile:
    """Read values by name.

    Args:
        path: YAML or JSON with ``name: value``, as ``pilotune export --best`` or ``--trial N`` writes it; or what
            ``pilotune best`` has printed, with or without ``--json``; or a schedule.

    Returns:
        The values as its ``data``, and the lines for errors.

    Raises:
        UserError: The file cannot be read, or is none of these.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(
            f"there is no such {WHAT}; `pilotune export NAME --best -o {path}` writes one", file=path
        ) from None
    except IsADirectoryError:
        raise UserError(f"this is a folder; name a {WHAT} in it", file=path) from None
    except OSError as error:
        raise UserError(f"the {WHAT} cannot be read: {error.strerror}", file=path) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"the {WHAT} is not UTF-8 text", file=path, line=line) from None
    if re.match(r"trial +\d+\n", text):
        if re.search(r"^steps +trial", text, flags=re.MULTILINE):
            raise UserError(f"this trial went on from copies of others, so its parameters alone {_SCHEDULE}", file=path)
        source = _printed(text, path)
    elif re.match(r"\d+ trials on the Pareto front\n", text):
        raise UserError(f"this lists the whole Pareto front; {_CHOOSE}", file=path)
    else:
        source = _from_json(text, path) or parse_yaml(text, path, what=WHAT)
    if "study" in source.data and isinstance(source.data.get("best"), list):
        source = YamlFile(path, {KEY: source.data[KEY]}) if is_schedule(source) else _best_of(source)
    if is_schedule(source):
        read_schedule(source)
        return source
    for name in ("space", "budget"):
        if isinstance(source.data.get(name), dict):
            raise source.error("this looks like a study file; give parameters, as in lr: 0.01", name)
    return source


_SCHEDULE = "do not lead to it; `pilotune export NAME --schedule -o FILE` writes a file with all stages"
_CHOOSE = "choose one of them with `pilotune export NAME --trial N`"


def _from_json(text: str, path: Path) -> YamlFile | None:
    """JSON by Python's own reader, which knows all of its escapes; None for what is no JSON object."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return YamlFile(path, data) if isinstance(data, dict) else None


def _printed(text: str, path: Path) -> YamlFile:
    """What ``pilotune best`` prints: its indented lines are the parameters."""
    data, lines = {}, {}
    for number, line in enumerate(text.splitlines(), 1):
        found = re.fullmatch(r"  (\S.*?) {2,}(.*)", line)
        if found:
            try:
                data[found[1]] = None if found[2] == "-" else parse_value(found[2])
            except UserError:
                data[found[1]] = found[2]
            lines[found[1]] = number
    return YamlFile(path, data, lines)


def _best_of(source: YamlFile) -> YamlFile:
    """The parameters of the only trial in the output of ``pilotune best --json``."""
    best = source.data["best"]
    if not best:
        raise source.error(f"study {shown(source.data['study'])} has no best trial yet", "best")
    if len(best) > 1:
        raise source.error(f"{len(best)} trials are on the Pareto front; {_CHOOSE}", "best")
    params = best[0].get("params") if isinstance(best[0], dict) else None
    if not isinstance(params, dict):
        raise source.error("the best trial has no `params`", "best")
    return YamlFile(source.path, params)


@dataclass(frozen=True)
class FittedParams:
    """Given values, fitted to a study's space.

    Attributes:
        space: The study's space, with the given constants.
        values: Parameters by name, each of its parameter's type.
        notes: Sentences on what differs from the study file.
    """

    space: Space
    values: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def fit_params(given: YamlFile, study_file: StudyFile, space: Space) -> FittedParams:
    """Fit given values to the space of a study file.

    A given constant replaces that of the study file, but what ``--set`` gives wins over both. A number outside its
    range is used as it is, with a note: the range may have changed since.

    Args:
        given: As :func:`read_params` returns it.
        study_file: The study; its overrides count.
        space: Its space.

    Raises:
        UserError: A name that the space does not have, or a value that its parameter cannot have.
    """
    by_name = {p.name: p for p in space.parameters}
    values, constants, notes = {}, dict(space.constants), []
    for name, value in given.data.items():
        if isinstance(value, dict) and name not in space.graphs and not (name in by_name and by_name[name].objects):
            raise given.error("give one value, as in lr: 0.01", name)
        if name in by_name:
            values[name], note = _fitted(value, by_name[name], given)
            notes += [note] if note else []
        elif name in space.graphs:
            if value != space.graphs[name].to_data():
                raise given.error("is another graph than that of the study file", name)
        elif name not in constants:
            raise given.error(f"the study's space has no such parameter{nearest(name, space.names)}", name)
        elif not same_choice(value, constants[name]):
            own = constants[name]
            if f"space.{name}" in study_file.source.overrides:
                notes.append(f"{name} is {shown(own)}, as --set gives it; {given.path.name} says {shown(value)}")
            else:
                constants[name] = value
                notes.append(
                    f"{name} is {shown(value)}, as {given.path.name} gives it; the study file says {shown(own)}"
                )
    return FittedParams(replace(space, constants=constants), values, tuple(notes))


def _fitted(value: Any, parameter: Parameter, given: YamlFile) -> tuple[Any, str]:
    """A value as its parameter has it, and a note where it is outside the range."""
    distribution, name = parameter.distribution, parameter.name
    if isinstance(distribution, CategoricalDistribution):
        return _choice(parameter.text_of(value), distribution, name, given), ""
    return _numeric(value, distribution, name, given)


def _choice(value: Any, distribution: CategoricalDistribution, name: str, given: YamlFile) -> Any:
    for same in (
        lambda each: type(each) is type(value) and each == value,
        lambda each: each == value,
        lambda each: str(each) == str(value),  # `pilotune best` prints a text of digits like a number
    ):
        for each in distribution.choices:
            if same(each):
                return each
    raise given.error(f"{shown(value)} is not one of {describe(distribution)}", name)


def _numeric(value: Any, distribution: BaseDistribution, name: str, given: YamlFile) -> tuple[Any, str]:
    whole = isinstance(distribution, IntDistribution)
    wanted = f"must be a {'whole ' if whole else ''}number, but is {shown(value)}"
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) == float("inf"):
        raise given.error(wanted, name)
    if whole and value != int(value):
        raise given.error(wanted, name)
    value = int(value) if whole else float(value)
    outside = "" if contains(distribution, value) else f"{name} is {value}, which is outside {describe(distribution)}"
    return value, outside
