"""Lists the keys that a study file can have, and the values of keys that have few; for completion in the shell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from ...errors import PilotuneError
from ..fidelity.registry import pruner_arguments, pruner_names
from ..suggest.auto import AUTO, Situation, choose_sampler
from ..suggest.registry import sampler_arguments, sampler_names
from .schema import StudySchema
from .values import DIRECTIONS


def study_keys(study: Mapping[str, Any]) -> list[str]:
    """The keys of a study file, with its parameters and the arguments of its sampler and pruner.

    >>> [key for key in study_keys({"space": {"lr": {"float": [0, 1]}}}) if key.startswith("space.")]
    ['space.lr']
    """
    keys = list(schema_keys(StudySchema))
    keys += [f"sampler.{name}" for name in ("name", *_arguments(sampler_arguments, _sampler_of(study)))]
    keys += [f"pruner.{name}" for name in ("name", *_arguments(pruner_arguments, study.get("pruner")))]
    space = study.get("space")
    return keys + [f"space.{name}" for name in (space if isinstance(space, dict) else {})]


def _sampler_of(study: Mapping[str, Any]) -> Any:
    """The sampler whose arguments a study may have: of ``auto``, those of the one that this study gets."""
    chosen = study.get("sampler")
    written = chosen if isinstance(chosen, dict) else {"name": chosen or AUTO}
    name = written.get("name", AUTO)
    if not isinstance(name, str) or name.lower() != AUTO:
        return name
    space, directions, budget = study.get("space"), study.get("directions"), study.get("budget")
    trials = budget.get("trials") if isinstance(budget, dict) else None
    situation = Situation(
        # A constant is written without a range. Nothing here is checked yet, so anything may be missing or wrong.
        sum(isinstance(each, dict) for each in space.values()) if isinstance(space, dict) else None,
        tuple(directions) if isinstance(directions, list) else ("",),
        trials if isinstance(trials, int) else None,
        written.keys() - {"name"},
    )
    return choose_sampler(situation).name


def values_of(key: str) -> list[str]:
    """The values of a key that has few.

    >>> values_of("direction"), values_of("name")
    (['minimize', 'maximize'], [])
    """
    if key in ("sampler", "sampler.name"):
        return [AUTO, *sampler_names()]
    if key in ("pruner", "pruner.name"):
        return pruner_names()
    return list(DIRECTIONS) if key == "direction" else []


def schema_keys(schema: type[BaseModel]) -> Iterator[str]:
    """The keys of a section and of the sections in it, with dots."""
    for name, field in schema.model_fields.items():
        section = _section_of(field.annotation)
        if section is None:
            yield name
        else:
            yield from (f"{name}.{key}" for key in schema_keys(section))


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds, or None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ()
    return next((section for part in parts if (section := _section_of(part))), None)


def _arguments(of: Callable[[str], list[str]], chosen: Any) -> list[str]:
    """The arguments of a sampler or pruner as a study file names it; empty if it is unknown."""
    name = chosen.get("name") if isinstance(chosen, dict) else chosen
    try:
        return list(of(name)) if isinstance(name, str) else []
    except (PilotuneError, KeyError):
        return []
