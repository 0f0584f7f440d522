"""Builds the search space from the ``space`` and ``constraints`` of a study file, and checks points in it."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from ...fields import shown
from ...yamlfile import YamlFile, join, nearest
from ..architecture.graph import Graph
from ..distributions import contains, describe
from ..expression_errors import in_words
from ..expressions import Constraint, unusable
from ..space import Parameter, Space, derived_names
from ..trial.distributions import same_choice
from . import ranges
from .graphs import fits_always, variable_distributions
from .graphs.in_space import GRAPH, check_countable, check_parameter_names, read_graph
from .space_hints import as_yaml, form_of_list, form_of_text

CONSTANT = "constant"
"""Key of a constant that a plain value cannot express: a list, or a text that looks like a range."""

FEASIBILITY_TRIES = 5000
"""Random configurations that are tried to find one that the constraints allow."""

FEASIBILITY_DRAWS = 1_000_000
"""Most values drawn for these, which limits the time for spaces of thousands of parameters."""


def build_space(data: Mapping[str, Any], constraints: tuple[str, ...], source: YamlFile) -> Space:
    """The search space that a study file describes.

    Args:
        data: The ``space`` section, parameter or constant by name.
        constraints: The ``constraints``.
        source: The study file, for the place of an error.

    Raises:
        UserError: The first mistake.
    """
    distributions: dict[str, BaseDistribution] = {}
    objects: dict[str, dict[str, Any]] = {}
    constants: dict[str, Any] = {}
    graphs: dict[str, Graph] = {}
    for name, value in data.items():
        key = f"space.{name}"
        _check_name(name, key, source)
        if isinstance(value, dict) and GRAPH in value:
            graphs[name] = read_graph(name, value, key, source)
            variables = variable_distributions(graphs[name], name)
            distributions |= variables
            objects |= {variable: {} for variable in variables}
        elif isinstance(value, dict) and CONSTANT in value:
            constants[name] = _explicit_constant(value, key, source)
        elif isinstance(value, dict):
            distributions[name] = ranges.distribution(value, key, source)
            objects[name] = ranges.objects(value.get("choice"))
        else:
            constants[name] = _constant(value, key, source)
    if not distributions:
        raise source.error("has no parameter to tune; write one, as in lr: {float: [0.001, 0.1], log: true}", "space")
    plain = {name: Parameter(name, kind, objects=objects[name]) for name, kind in distributions.items()}
    check_parameter_names(graphs, data, source)
    whens = {name: _when(name, data.get(name, {}), plain, constants, source) for name in distributions}
    parameters = tuple(replace(plain[name], when=whens[name]) for name in _ordered(whens, source))
    names = [*data, *(each for name in graphs for each in sorted(derived_names(name)))]
    checked = tuple(_constraint(text, index, names, objects, source) for index, text in enumerate(constraints))
    checked += tuple(Constraint(f"{name}_fits") for name, graph in graphs.items() if not fits_always(graph))
    space = Space(parameters, constants, checked, graphs)
    check_countable(space, source)
    if checked:
        _check_feasible(space, source)
    return space


def check_point(point: Mapping[str, Any], space: Space, key: str, source: YamlFile) -> dict[str, Any]:
    """A point to try, with its values converted to their parameters' types.

    Args:
        point: Values by parameter; some parameters may be missing.
        space: The search space.
        key: Where the point is in the study file.
        source: The study file.

    Raises:
        UserError: A value or the whole point is not in the space.
    """
    result: dict[str, Any] = {}
    by_name = {p.name: p for p in space.parameters}
    for name, value in point.items():
        where = join(key, name)
        if name in space.constants:
            raise source.error("is a constant of the space; leave it out of the point", where)
        if name not in by_name:
            raise source.error(f"unknown parameter{nearest(name, by_name)}", where)
        distribution = by_name[name].distribution
        if not contains(distribution, by_name[name].text_of(value)):
            raise source.error(f"{shown(value)} is not one of {describe(distribution)}", where)
        result[name] = by_name[name].own(value)
    values = {**space.constants, **result}
    for name in result:
        for parent, wanted in by_name[name].when.items():
            if parent in values and values[parent] not in wanted:
                message = f"is active only if {parent} is {_listed(wanted)}, but it is {shown(values[parent])}"
                raise source.error(message, join(key, name))
    if all(name in result or not p.active(values) for name, p in by_name.items()) and (broken := space.broken(values)):
        raise source.error(f"the point does not meet the constraint '{broken.text}'", key)
    return result


def _check_name(name: str, key: str, source: YamlFile) -> None:
    plain = name.replace("_", "a").replace(".", "a").replace("-", "a").replace("/", "a")
    if not (plain.isascii() and plain.isalnum() and (name[0].isalpha() or name[0] == "_") and len(name) <= 128):
        message = "a parameter's name is 1 to 128 letters, digits, '_', '.', '-' or '/', beginning with a letter or '_'"
        raise source.error(message, key)


def _explicit_constant(data: Mapping[str, Any], key: str, source: YamlFile) -> Any:
    """The value of ``{constant: value}``, which may be a list or any text."""
    for name in data:
        if name in ranges.KINDS:
            raise source.error(f"has both {CONSTANT} and {name}; give one of them", join(key, name))
        if name != CONSTANT:
            raise source.error(f"a constant has no {name}", join(key, name))
    if data[CONSTANT] is None:
        raise source.error("is empty; give the value, as in {constant: [64, 32]}", join(key, CONSTANT))
    return _checked_constant(data[CONSTANT], join(key, CONSTANT), source)


def _constant(value: Any, key: str, source: YamlFile) -> Any:
    """A value that is written without a kind: a number, a text, true or false."""
    if value is None:
        raise source.error("is empty; give a range, as in {float: [0, 1]}, or a constant value", key)
    if isinstance(value, list):
        raise source.error(f"a list is not a parameter; {form_of_list(value)}", key)
    if isinstance(value, str) and (form := form_of_text(value)):
        constant = f"for this text as a constant {{constant: {as_yaml(value)}}}"
        raise source.error(f"the text {shown(value)} is not a parameter; {form}, {constant}", key)
    return _checked_constant(value, key, source)


def _checked_constant(value: Any, key: str, source: YamlFile) -> Any:
    if isinstance(value, dict):
        raise source.error("a constant is a plain value or a list of them, not a mapping", key)
    if isinstance(value, float) and not math.isfinite(value):
        raise source.error(f"must be finite, but is {value}", key)
    if isinstance(value, list):
        for index, item in enumerate(value):
            if item is not None:
                _checked_constant(item, join(key, index), source)
    return value


def _when(
    name: str,
    data: Mapping[str, Any],
    parents: Mapping[str, Parameter],
    constants: Mapping[str, Any],
    source: YamlFile,
) -> dict[str, tuple[Any, ...]]:
    """The conditions of the parameter ``name``: by parameter or constant, the values at which it is active."""
    key = f"space.{name}.when"
    when = data.get("when")
    if when is None:
        return {}
    if not isinstance(when, dict):
        raise source.error(f"must give values of other parameters, as in {{optimizer: sgd}}, but is {shown(when)}", key)
    result: dict[str, tuple[Any, ...]] = {}
    for parent, wanted in when.items():
        where = join(key, parent)
        values = tuple(wanted) if isinstance(wanted, list) else (wanted,)
        if not values:
            raise source.error(f"lists no value of '{parent}', so '{name}' would never be active", where)
        if parent in parents:
            values = tuple(_condition(value, wanted, parents[parent], where, source) for value in values)
        elif parent not in constants:
            others = [other for other in [*parents, *constants] if other != name]
            raise source.error(f"there is no parameter '{parent}'{nearest(parent, others)}", where)
        elif f"space.{parent}" in source.overrides:  # --set has fixed what is a parameter in the file
            values = tuple(value for value in values if same_choice(constants[parent], value))
        elif not any(same_choice(constants[parent], value) for value in values):
            constant = constants[parent]
            hint = _list_form(wanted) if same_choice(constant, wanted) else ""
            message = f"'{parent}' is the constant {as_yaml(constant)}, so '{name}' would never be active{hint}"
            raise source.error(message, where)
        result[parent] = values
    return result


def _condition(value: Any, wanted: Any, parent: Parameter, where: str, source: YamlFile) -> Any:
    """A value in a condition, as the parameter that it is of has it. ``wanted``: all that is written there."""
    distribution, stored = parent.distribution, parent.text_of(value)
    if isinstance(distribution, FloatDistribution) and distribution.step is None:
        message = f"'{parent.name}' is continuous and never has exactly this value; make it a choice or give it a step"
        raise source.error(message, where)
    if isinstance(distribution, CategoricalDistribution):
        possible = any(same_choice(choice, stored) for choice in distribution.choices)
    else:
        possible = contains(distribution, stored)
    if not possible:
        hint = _list_form(wanted) if isinstance(parent.text_of(wanted), str) else ""
        message = f"'{parent.name}' cannot be {shown(value)}; it is {describe(distribution)}{hint}"
        raise source.error(message, where)
    return stored


def _list_form(wanted: Any) -> str:
    """How to write a condition on a choice or constant that is the list ``wanted``, not one of its items."""
    return f"; for this list write [{as_yaml(wanted)}]" if isinstance(wanted, list) else ""


def _ordered(whens: Mapping[str, Mapping[str, Any]], source: YamlFile) -> list[str]:
    """The names in the file's order, except that each comes after the parameters in its condition."""
    order: dict[str, None] = {}
    for first in whens:
        # Depth-first search without recursion: a chain of conditions may be longer than the stack allows.
        path, parents = ([first], [iter(whens[first])]) if first not in order else ([], [])
        while path:
            parent = next(parents[-1], None)
            if parent is None:
                order[path.pop()] = None
                parents.pop()
            elif parent in path:
                cycle = " -> ".join([*path[path.index(parent) :], parent])
                raise source.error(f"the conditions form a cycle: {cycle}", f"space.{parent}.when")
            elif parent in whens and parent not in order:
                path.append(parent)
                parents.append(iter(whens[parent]))
    return list(order)


def _constraint(
    text: str, index: int, names: list[str], objects: Mapping[str, Mapping[str, Any]], source: YamlFile
) -> Constraint:
    """A constraint. ``objects``: by parameter, its choices that are lists or mappings by the text that is stored."""
    key = f"constraints[{index}]"
    constraint, wrong = None, ""
    try:
        constraint = Constraint(text)
    except ValueError as error:
        wrong = str(error)
    for name in names:
        problem = unusable(name, text, parsed=not wrong)
        if problem:
            raise source.error(f"'{text}' uses the parameter '{name}', but {problem}", key)
    if constraint is None:
        raise source.error(f"'{text}' {wrong}", key)
    for name in constraint.names:
        if name not in names:
            raise source.error(f"'{text}' uses '{name}', which is not in the space{nearest(name, names)}", key)
        for literal in set(constraint.texts) & objects.get(name, {}).keys():
            message = f"'{text}' has the text {literal!r}, which '{name}' never is; write it without quotes"
            raise source.error(message, key)
    return constraint


def _check_feasible(space: Space, source: YamlFile) -> None:
    """Raise UserError if no random configuration meets the constraints: such a study would never have a trial."""
    rng = random.Random(0)
    tries = max(100, min(FEASIBILITY_TRIES, FEASIBILITY_DRAWS // (len(space.parameters) + len(space.constraints))))
    for _ in range(tries):
        values = space.sample(rng)
        for index, constraint in enumerate(space.constraints):
            try:
                if not space.meets(constraint, values):
                    break
            except TypeError as error:
                message = f"'{constraint.text}' cannot be evaluated: {in_words(error)}"
                raise source.error(message, f"constraints[{index}]") from None
        else:
            return
    what = "'" + "' and '".join(c.text for c in space.constraints) + "'"
    raise source.error(
        f"none of {tries:,} random configurations meets {what}; relax the constraints or widen the space", "constraints"
    )


def _listed(values: tuple[Any, ...]) -> str:
    return " or ".join(shown(value) for value in values)
