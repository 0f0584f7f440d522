"""The search space: parameters with Optuna's distributions, conditions, constants and constraints."""

from __future__ import annotations

import functools
import math
import random
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, CategoricalDistribution

from ..fields import shown
from .architecture.graph import Graph
from .architecture.network import NetworkError, network
from .architecture.sites import Site, sites_of
from .distributions import as_data, cardinality, contains, draw, in_words, own, suggest, word
from .expressions import Constraint
from .trial.distributions import same_choice, stored_choice

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

MOST_CASES = 20_000
"""Most combinations of conditions' values that are kept apart when a space is counted; bounds time and memory."""

LARGEST = sys.float_info.max
"""The size of a finite space with more configurations than a float can hold: only a continuous one is infinite."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a search space.

    Attributes:
        name: Unique in the space.
        distribution: Its values, as Optuna describes them.
        when: From other parameters or constants to the values of theirs at which this one is active. All conditions
            must hold; without any it is always active.
        objects: The choices that are lists or mappings, by the JSON text that stands for them in the distribution.

    Example:
        >>> from optuna.distributions import FloatDistribution
        >>> momentum = Parameter("momentum", FloatDistribution(0.0, 0.99), when={"optimizer": ("sgd",)})
        >>> momentum.active({"optimizer": "sgd"}), momentum.active({"optimizer": "adamw"})
        (True, False)
    """

    name: str
    distribution: BaseDistribution
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    objects: Mapping[str, Any] = field(default_factory=dict)

    def own(self, value: Any) -> Any:
        """``value`` as the distribution has it: the choice that equals it, a float, an int. It must contain it.

        >>> Parameter("flag", CategoricalDistribution([True, False])).own(1)
        True
        """
        return own(self.distribution, self.text_of(value))

    def text_of(self, value: Any) -> Any:
        """The text that stands for ``value`` where that is one of :attr:`objects`; else ``value`` itself.

        >>> Parameter("layers", CategoricalDistribution(["[1]"]), objects={"[1]": [1]}).text_of([True])
        [True]
        """
        if not isinstance(value, list | tuple | dict):
            return value
        text = stored_choice(value)
        if text in self.objects:
            return text
        return next((text for text, known in self.objects.items() if same_choice(known, value)), value)

    def active(self, values: Mapping[str, Any]) -> bool:
        """Whether all conditions hold; one on a parameter without a value does not."""
        return all(parent in values and values[parent] in wanted for parent, wanted in self.when.items())


@dataclass(frozen=True)
class Space:
    """A search space.

    Attributes:
        parameters: In the order in which values are suggested: a parameter comes after those its conditions name.
        constants: Values that every configuration has, by name.
        constraints: Conditions on parameters and constants that every configuration must meet.
        graphs: Spaces of networks by name, whose variables are among the parameters.

    Example:
        >>> from optuna.distributions import IntDistribution
        >>> space = Space(
        ...     parameters=(
        ...         Parameter("layers", IntDistribution(1, 4)),
        ...         Parameter("optimizer", CategoricalDistribution(["sgd", "adamw"])),
        ...     ),
        ...     constants={"epochs": 27},
        ...     constraints=(Constraint("layers < 4 or optimizer == 'adamw'"),),
        ... )
        >>> space.size()
        8.0
        >>> sorted(space.sample(random.Random(0)))
        ['epochs', 'layers', 'optimizer']
        >>> space.feasible({"layers": 4, "optimizer": "sgd"})
        False
    """

    parameters: tuple[Parameter, ...]
    constants: Mapping[str, Any] = field(default_factory=dict)
    constraints: tuple[Constraint, ...] = ()
    graphs: Mapping[str, Graph] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The names of the parameters, then those of the constants and the graphs."""
        return [p.name for p in self.parameters] + list(self.constants) + list(self.graphs)

    @property
    def conditional(self) -> bool:
        """Whether some configurations lack a parameter: whether any has a condition."""
        return any(p.when for p in self.parameters)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The distributions by parameter."""
        return {p.name: p.distribution for p in self.parameters}

    @functools.cached_property
    def sites(self) -> list[Site]:
        """Where a configuration can change: a graph's operations with their arguments, and each other parameter."""
        return sites_of((p.name for p in self.parameters), self.graphs)

    @functools.cached_property
    def graph_parameters(self) -> dict[str, list[str]]:
        """The names of each graph's parameters, by graph."""
        return {name: [each.name for each in graph.variables(name)] for name, graph in self.graphs.items()}

    def suggest(self, trial: BaseTrial) -> dict[str, Any]:
        """Suggest a configuration with ``trial``: the values of its active parameters and the constants, by name."""
        return self.walk(lambda name, distribution: suggest(trial, name, distribution))

    def walk(self, value: Callable[[str, BaseDistribution], Any]) -> dict[str, Any]:
        """A configuration whose values are chosen by ``value``.

        Args:
            value: Called with the name and distribution of each active parameter, in order; returns its value.

        Returns:
            The active parameters' values and the constants, by name.
        """
        values = dict(self.constants)
        params = {}
        for p in self.parameters:
            if not p.when or p.active(values):
                params[p.name] = values[p.name] = value(p.name, p.distribution)
        return {**params, **self.constants}

    def for_objective(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """``params`` as the objective gets them.

        Lists and mappings are in place of the texts that stand for them, and graphs are described, so that a network
        can be built from these alone.
        """
        params = {**params, **self._described}
        for p in self._listed:
            if isinstance(text := params.get(p.name), str):
                params[p.name] = p.objects.get(text, text)
        return params

    @functools.cached_property
    def _described(self) -> dict[str, Any]:
        """The graphs as plain data."""
        return {name: graph.to_data() for name, graph in self.graphs.items()}

    @functools.cached_property
    def _listed(self) -> list[Parameter]:
        """The parameters with choices that are lists or mappings."""
        return [p for p in self.parameters if p.objects]

    def sample(self, rng: random.Random) -> dict[str, Any]:
        """A configuration drawn uniformly (log-uniformly where ``log``); constraints are not considered."""
        values = dict(self.constants)
        for p in self.parameters:
            if p.active(values):
                values[p.name] = draw(p.distribution, rng)
        return values

    def feasible(self, params: Mapping[str, Any]) -> bool:
        """Whether a configuration meets all constraints. A constraint on an inactive parameter counts as met.

        Args:
            params: With or without the constants; a list or a mapping may be the text that stands for it.

        Raises:
            TypeError: A constraint mixes numbers and text.
        """
        return self.broken(params) is None

    def broken(self, params: Mapping[str, Any]) -> Constraint | None:
        """The first constraint that a configuration does not meet; None where it meets all. As :meth:`feasible`."""
        return next((constraint for constraint in self.constraints if not self.meets(constraint, params)), None)

    def meets(self, constraint: Constraint, params: Mapping[str, Any]) -> bool:
        """Whether a configuration meets one constraint, which is evaluated on the values as the objective gets them."""
        values = self.for_objective({**self.constants, **params})
        return constraint.holds({**values, **self.derived(constraint.names, values)})

    def derived(self, names: Collection[str], params: Mapping[str, Any]) -> dict[str, Any]:
        """What expressions may name beside parameters: of each graph ``NAME_parameters`` and ``NAME_fits``.

        Args:
            names: Those that are needed.
            params: A configuration.

        Returns:
            By name: the number of weights, infinite where the network cannot be built; and whether it can.
        """
        found: dict[str, Any] = {}
        for name, graph in self.graphs.items():
            if not derived_names(name).isdisjoint(names):
                try:
                    weights, fits = network(graph, params, name).parameters, True
                except NetworkError:
                    weights, fits = None, False
                found |= {f"{name}_parameters": math.inf if weights is None else weights, f"{name}_fits": fits}
        return found

    def size(self) -> float:
        """The number of configurations; ``math.inf`` if a parameter is continuous.

        Conditions are considered, constraints are not. Where more than ``MOST_CASES`` combinations of conditions would
        have to be kept apart, the conditions of these parameters are ignored, too, and the result is an upper bound.
        """
        return _size(self)

    def to_json(self) -> dict[str, Any]:
        """The space as plain data in a canonical order, for the database and for :func:`differences`."""
        data: dict[str, Any] = {
            "parameters": {p.name: _parameter_json(p) for p in sorted(self.parameters, key=lambda p: p.name)},
            "constants": {name: self.constants[name] for name in sorted(self.constants)},
            "constraints": sorted(" ".join(c.text.split()) for c in self.constraints),
        }
        return (
            {**data, "graphs": {name: self._described[name] for name in sorted(self.graphs)}} if self.graphs else data
        )


def derived_names(graph: str) -> frozenset[str]:
    """The names that expressions have for what follows from a graph.

    >>> sorted(derived_names("net"))
    ['net_fits', 'net_parameters']
    """
    return frozenset({f"{graph}_parameters", f"{graph}_fits"})


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The differences between two spaces, a sentence each; empty where they are the same.

    Args:
        old: The space in the database, as :meth:`Space.to_json` gives it.
        new: The space in the study file, likewise.
    """
    found = []
    for kind, text in (("parameters", _parameter_text), ("constants", lambda value: f"constant {shown(value)}")):
        before, after = old.get(kind, {}), new.get(kind, {})
        for name in sorted(before.keys() | after.keys()):
            if name not in after:
                found.append(f"{name}: {text(before[name])} in the database, no {kind[:-1]} in the study file")
            elif name not in before:
                found.append(f"{name}: no {kind[:-1]} in the database, {text(after[name])} in the study file")
            elif (was := text(before[name])) != (now := text(after[name])):
                found.append(f"{name}: {was} in the database, {now} in the study file")
    graphs = {**old.get("graphs", {}), **new.get("graphs", {})}
    for name in sorted(graphs):
        if old.get("graphs", {}).get(name) != new.get("graphs", {}).get(name):
            found.append(f"{name}: another graph in the database than in the study file")
    before, after = set(old.get("constraints", [])), set(new.get("constraints", []))
    found += [f"constraint '{c}': in the database only" for c in sorted(before - after)]
    found += [f"constraint '{c}': in the study file only" for c in sorted(after - before)]
    return found


def point_key(point: Mapping[str, Any], space: Space | None = None) -> frozenset[tuple[str, Any]]:
    """What two points have in common only if they have the same parameters with exactly equal values.

    Args:
        point: Values by parameter.
        space: Tells which values are the same choice; None: values of different types differ, other than 1 and 1.0.

    Example:
        >>> point_key({"n": 1, "lr": 0.1}) == point_key({"lr": 0.1, "n": 1.0})
        True
        >>> point_key({"n": 123456}) == point_key({"n": 123457}), point_key({"n": 1}) == point_key({"n": True})
        (False, False)
    """
    distributions = space.distributions if space is not None else {}
    return frozenset((name, _value_key(value, distributions.get(name))) for name, value in point.items())


def _value_key(value: Any, distribution: BaseDistribution | None) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        try:
            return distribution.to_internal_repr(value)
        except (ValueError, TypeError):
            pass
    if isinstance(value, bool) or value is None:
        return repr(value)
    if isinstance(value, int | float):
        return value if value == value else "nan"
    return repr(value)


def _parameter_json(parameter: Parameter) -> dict[str, Any]:
    when = {parent: list(parameter.when[parent]) for parent in sorted(parameter.when)}
    objects = {"objects": list(parameter.objects)} if parameter.objects else {}
    return {**as_data(parameter.distribution), "when": when, **objects}


def _parameter_text(data: Mapping[str, Any]) -> str:
    text = in_words(data)
    for parent, wanted in data.get("when", {}).items():
        text += f" when {parent} is {' or '.join(word(value) for value in wanted)}"
    return text


def _size(space: Space) -> float:
    """The product of the sizes of the groups of parameters that conditions connect."""
    groups: dict[str, list[Parameter]] = {}
    for p in space.parameters:  # parents before children
        own = [p]
        connected = {id(group): group for parent in p.when if (group := groups.get(parent)) is not None}
        for group in connected.values():
            own = [*group, *own] if len(group) < len(own) else group + own
        groups |= {each.name: own for each in own}
    total = 1.0
    place = {p.name: i for i, p in enumerate(space.parameters)}
    for group in {id(group): group for group in groups.values()}.values():
        total *= _group_size(sorted(group, key=lambda p: place[p.name]), space.constants)
    continuous = any(cardinality(p.distribution) == math.inf for p in space.parameters)
    return total if continuous else min(total, LARGEST)


def _group_size(parameters: list[Parameter], constants: Mapping[str, Any]) -> float:
    """Count the configurations of parameters that conditions connect.

    Goes through the parameters in order, and counts the partial configurations by the values that a later condition
    names; all other values of a parameter are counted together.
    """
    last_use = {parent: i for i, p in enumerate(parameters) for parent in p.when}
    named: dict[str, list[Any]] = {}
    for p in parameters:
        for parent, wanted in p.when.items():
            named.setdefault(parent, []).extend(v for v in wanted if v not in named.get(parent, []))
    counts: dict[tuple[tuple[str, Any], ...], float] = {(): 1}  # partial configurations by the values that still matter
    for index, p in enumerate(parameters):
        distinct = [v for v in named.get(p.name, ()) if contains(p.distribution, v)]
        rest = _count(p) - len(distinct)
        ways = [*((v, 1.0) for v in distinct), *([(_OTHER, rest)] if rest > 0 else [])]
        after: dict[tuple[tuple[str, Any], ...], float] = {}
        for known, count in counts.items():
            active = p.active({**constants, **dict(known)})
            for value, times in ways if active else [(_INACTIVE, 1.0)]:
                values_now = (*known, (p.name, value)) if value is not _INACTIVE else known
                kept = tuple((name, v) for name, v in values_now if last_use.get(name, -1) > index)
                after[kept] = after.get(kept, 0) + count * times
        counts = after
        if len(counts) > MOST_CASES:
            return math.prod(map(_count, parameters))
    return sum(counts.values())


def _count(parameter: Parameter) -> float:
    count = cardinality(parameter.distribution)
    return count if count == math.inf else float(min(count, int(LARGEST)))


class _Mark:
    """Stands in for a value of a parameter while a space is counted."""


_OTHER, _INACTIVE = _Mark(), _Mark()
"""All values that no condition names; and that the parameter is inactive."""
