"""The values of each parameter in a grid, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...errors import UserError
from ...fields import shown
from ...yamlfile import nearest
from ..distributions import cardinality, contains
from ..space import Space
from .points import Points

MAX_GRID = 1_000_000
"""Most points of a grid: Optuna keeps all of them in memory."""


def grid_values(space: Space, given: Mapping[str, Any], key: str = "sampler") -> dict[str, list[Any]]:
    """The values of each parameter in a grid.

    Args:
        space: The search space.
        given: From some parameters to a list of their values. The others take all values of their range.
        key: Where the sampler stands in the study file.

    Raises:
        UserError: A parameter is continuous and not given, its values are no list, an empty one, or one with a value
            twice or out of range, or there are more than ``MAX_GRID`` points.
    """
    given = stored_values(given, space)
    for name, values in given.items():
        _check_grid_values(space, name, values, f"{key}.search_space.{name}")
    for name, distribution in space.distributions.items():
        if name not in given and cardinality(distribution) == math.inf:
            raise UserError(f"a grid needs a finite space, and '{name}' is continuous; give it a step, or its "
                            f"values here: search_space: {{{name}: [...]}}", key=f"{key}.name")  # fmt: skip
    points = Points(space, given)
    if points.size > MAX_GRID:
        many = f"{points.size:,}" if points.size < 10**15 else "more than 10^15"
        message = f"the grid has {many} points; {MAX_GRID:,} is the most, so use larger steps or another sampler"
        raise UserError(message, key=f"{key}.name")
    return {axis.name: [axis.value(place) for place in range(axis.count)] for axis in points.axes}


def stored_values(given: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """Values by parameter, with the texts that stand for choices that are lists or mappings."""
    by_name = {parameter.name: parameter for parameter in space.parameters if parameter.objects}
    return {
        name: list(map(by_name[name].text_of, values)) if name in by_name and isinstance(values, list) else values
        for name, values in given.items()
    }


def _check_grid_values(space: Space, name: str, values: Any, key: str) -> None:
    """Check the values that a grid is to use for one parameter."""
    if name in space.constants:
        constant = shown(space.constants[name])
        raise UserError(f"'{name}' is the constant {constant}, which a grid cannot vary; take it out here", key=key)
    if name not in space.distributions:
        raise UserError(f"there is no parameter '{name}'{nearest(name, space.distributions)}", key=key)
    if not isinstance(values, list):
        example = f"[{shown(values)}]" if not isinstance(values, dict) and values is not None else "[1, 2, 3]"
        raise UserError(f"must be a list of values, as in {name}: {example}, but is {shown(values)}", key=key)
    if not values:
        raise UserError(f"has no value; list at least one, or leave '{name}' out to try its whole range", key=key)
    distribution, seen = space.distributions[name], set()
    for value in values:
        if not contains(distribution, value):
            raise UserError(f"{shown(value)} is outside the parameter's range", key=key)
        internal = distribution.to_internal_repr(value)
        if internal in seen:
            raise UserError(f"lists {shown(value)} twice; each value is tried once", key=key)
        seen.add(internal)
