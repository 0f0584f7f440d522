"""Applies ``--set key=value`` to a YAML file that was read, so that errors name the setting instead of a line."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import UserError
from .yamlfile import YamlFile, is_text, join, parse_value


def with_overrides(source: YamlFile, settings: Sequence[str], shorthands: Mapping[str, str] | None = None) -> YamlFile:
    """Apply settings of ``--set`` to a file.

    Args:
        source: The file.
        settings: Settings ``key=value``. Keys are dotted (``budget.trials``), an item of a list by its index from 0
            (``start_from.enqueue[0].lr``, or ``.0``), values are YAML.
        shorthands: Keys whose plain value is short for a mapping that has it under the given name: with ``{"sampler":
            "name"}``, ``sampler.seed`` can be set although the file says ``sampler: tpe``.

    Raises:
        UserError: A setting is not of this form, or its key cannot exist in the file.
    """
    data = copy.deepcopy(source.data)
    lines, places = dict(source.lines), dict(source.overrides)
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip()
        if not equals or not key or "" in key.split(".") or not is_text(key):
            raise UserError(f"'{setting}' is not of the form key=value, as in budget.trials=10", file="--set")
        place = f"--set {key}"
        try:
            value = parse_value(text)
        except UserError as error:
            raise UserError(error.message, file=place) from None
        written = _assign(data, dotted(key), value, place, shorthands or {})
        for known in [k for k in {**lines, **places} if k == written or k.startswith((f"{written}.", f"{written}["))]:
            lines.pop(known, None)
            places.pop(known, None)
        places[written] = place
    return YamlFile(source.path, data, lines, places)


def dotted(key: str) -> str:
    """A key with its indices as further keys, as in ``--set``.

    >>> dotted("start_from.enqueue[0].lr")
    'start_from.enqueue.0.lr'
    """
    return re.sub(r"\[(\d+)\]", r".\1", key)


def _assign(data: dict[str, Any], key: str, value: Any, place: str, shorthands: Mapping[str, str]) -> str:
    """Set ``key`` in ``data``, and make the mappings above it. Returns the key as errors write it."""
    here: Any = data
    done, rest = "", key
    while True:
        part, rest = _next_part(here, rest)
        if isinstance(here, list):
            if not part.isdigit() or int(part) >= len(here):
                raise UserError(f"'{done}' is a list of {len(here)}; '{part}' is not an index of it", file=place)
            index: Any = int(part)
        else:
            index = part
            name = part.partition("[")[0]
            if part not in here and name in here and name != part:
                inside, place_of = part[len(name) :], join(done, name)
                form = f"items are numbered from 0, as in {place_of}[0]"
                if not isinstance(here[name], list):
                    form = f"write {place_of}.{inside.strip('[]')}"
                raise UserError(f"{inside} is no index; {form}", file=place)
        done = join(done, index)
        if not rest:
            here[index] = value
            return done
        below = here[index] if isinstance(here, list) else here.get(index)
        if below is None:
            if rest.partition(".")[0].isdigit():
                raise UserError(f"there is no list {done} to have an item; give all of it, as {done}=[...]", file=place)
            below = {}
        elif not isinstance(below, dict | list):
            if done not in shorthands:
                value = str(below).lower() if isinstance(below, bool) else repr(below)
                raise UserError(f"'{done}' is {value}, which has no keys below it", file=place)
            below = {shorthands[done]: below}
        here[index] = below
        here = below


def _next_part(here: Any, rest: str) -> tuple[str, str]:
    """Split the dotted keys ``rest`` after the first. Keys may contain dots, so an existing key is preferred."""
    if isinstance(here, dict):
        for known in sorted(here, key=len, reverse=True):
            if rest == known or rest.startswith(known + "."):
                return known, rest[len(known) + 1 :]
    part, _, rest = rest.partition(".")
    return part, rest
