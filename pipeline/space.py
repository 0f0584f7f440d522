"""What a trial may be: parameters with Optuna's distributions, conditions, constants and constraints."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from .expressions import Constraint

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

__all__ = ["Constraint", "Parameter", "Space", "cardinality", "contains", "describe", "differences", "word"]


MOST_CASES = 20_000
"""Combinations of parents' values that are told apart in counting a space."""

LARGEST = sys.float_info.max


@dataclass(frozen=True)
class Parameter:
    """One parameter: its name, its Optuna distribution, and when it is active.

    ``when`` maps other parameters (or constants) to the values at which this one is active; all must hold.
    """

    name: str
    distribution: BaseDistribution
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def active(self, values: Mapping[str, Any]) -> bool:
        return all(parent in values and values[parent] in wanted for parent, wanted in self.when.items())


@dataclass(frozen=True)
class Space:
    """A search space. ``parameters`` stand in the order they are suggested in: parents before children."""

    parameters: tuple[Parameter, ...]
    constants: Mapping[str, Any] = field(default_factory=dict)
    constraints: tuple[Constraint, ...] = ()

    @property
    def names(self) -> list[str]:
        """Parameters, then constants."""
        return [p.name for p in self.parameters] + list(self.constants)

    @property
    def conditional(self) -> bool:
        """Whether some configurations lack some parameters."""
        return any(p.when for p in self.parameters)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        return {p.name: p.distribution for p in self.parameters}

    def suggest(self, trial: BaseTrial) -> dict[str, Any]:
        """Ask ``trial`` for every active parameter; those and the constants, by name."""
        return self.walk(lambda name, distribution: _suggest(trial, name, distribution))

    def walk(self, value: Callable[[str, BaseDistribution], Any]) -> dict[str, Any]:
        """Ask for the ``value`` of every active parameter, parents first; those and the constants, by name."""
        values = dict(self.constants)
        params = {}
        for p in self.parameters:
            if not p.when or p.active(values):
                params[p.name] = values[p.name] = value(p.name, p.distribution)
        return {**params, **self.constants}

    def sample(self, rng: random.Random) -> dict[str, Any]:
        """A configuration drawn uniformly (log-uniformly where ``log``), whatever the constraints say."""
        values = dict(self.constants)
        for p in self.parameters:
            if p.active(values):
                values[p.name] = _draw(p.distribution, rng)
        return values

    def feasible(self, params: Mapping[str, Any]) -> bool:
        """Whether all constraints hold; one that names an inactive parameter does.

        ``params`` need not hold the constants. Raises TypeError where a constraint mixes numbers and text.
        """
        if not self.constraints:
            return True
        values = {**self.constants, **params}
        return all(constraint.holds(values) for constraint in self.constraints)

    def size(self) -> float:
        """The number of configurations: conditions counted, constraints not; ``math.inf`` with a continuous one.

        Where conditions are entangled beyond MOST_CASES cases it is that of the space without them.
        """
        return _size(self)

    def to_json(self) -> dict[str, Any]:
        """A canonical form, for the database and for :func:`differences`."""
        return {
            "parameters": {p.name: _parameter_json(p) for p in sorted(self.parameters, key=lambda p: p.name)},
            "constants": {name: self.constants[name] for name in sorted(self.constants)},
            "constraints": sorted(" ".join(c.text.split()) for c in self.constraints),
        }


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """How two spaces (as :meth:`Space.to_json`) differ, one sentence a difference; empty when they do not.

    ``old`` is called the database's, ``new`` the study file's.
    """
    found = []
    for kind, text in (("parameters", _parameter_text), ("constants", lambda value: f"constant {value!r}")):
        before, after = old.get(kind, {}), new.get(kind, {})
        for name in sorted(before.keys() | after.keys()):
            if name not in after:
                found.append(f"{name}: {text(before[name])} in the database, no {kind[:-1]} in the study file")
            elif name not in before:
                found.append(f"{name}: no {kind[:-1]} in the database, {text(after[name])} in the study file")
            elif (was := text(before[name])) != (now := text(after[name])):
                found.append(f"{name}: {was} in the database, {now} in the study file")
    before, after = set(old.get("constraints", [])), set(new.get("constraints", []))
    found += [f"constraint '{c}': in the database only" for c in sorted(before - after)]
    found += [f"constraint '{c}': in the study file only" for c in sorted(after - before)]
    return found


def describe(distribution: BaseDistribution) -> str:
    """``float [1e-05, 0.1] log``, ``int [16, 256] step 16``, ``choice [sgd, adamw]``."""
    return _parameter_text(_distribution_json(distribution))


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Whether ``value`` is one that the distribution can take (type, bounds, step)."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    if isinstance(distribution, IntDistribution) and value != int(value):
        return False
    return bool(distribution._contains(value))


def cardinality(distribution: BaseDistribution) -> float:
    """The number of values of one parameter; ``math.inf`` for a continuous one."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return (distribution.high - distribution.low) // distribution.step + 1
    assert isinstance(distribution, FloatDistribution)
    if distribution.low == distribution.high:
        return 1
    if distribution.step is None:
        return math.inf
    return round((distribution.high - distribution.low) / distribution.step) + 1


def _suggest(trial: BaseTrial, name: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, FloatDistribution):
        low, high, step, log = distribution.low, distribution.high, distribution.step, distribution.log
        return trial.suggest_float(name, low, high, step=step, log=log)
    if isinstance(distribution, IntDistribution):
        d = distribution
        return trial.suggest_int(name, d.low, d.high, step=d.step, log=d.log)
    assert isinstance(distribution, CategoricalDistribution)
    return trial.suggest_categorical(name, distribution.choices)


def _draw(distribution: BaseDistribution, rng: random.Random) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return rng.choice(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = distribution.low, distribution.high
    if distribution.log:
        value = math.exp(rng.uniform(math.log(low), math.log(high)))
        value = min(max(value, low), high)
        return round(value) if isinstance(distribution, IntDistribution) else value
    if distribution.step is None:
        return rng.uniform(low, high)
    return low + rng.randrange(int(cardinality(distribution))) * distribution.step


def _distribution_json(distribution: BaseDistribution) -> dict[str, Any]:
    if isinstance(distribution, CategoricalDistribution):
        return {"kind": "choice", "choices": list(distribution.choices)}
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    kind = "float" if isinstance(distribution, FloatDistribution) else "int"
    return {
        "kind": kind,
        "low": distribution.low,
        "high": distribution.high,
        "log": distribution.log,
        "step": distribution.step,
    }


def _parameter_json(parameter: Parameter) -> dict[str, Any]:
    when = {parent: list(parameter.when[parent]) for parent in sorted(parameter.when)}
    return {**_distribution_json(parameter.distribution), "when": when}


def _parameter_text(data: Mapping[str, Any]) -> str:
    if data["kind"] == "choice":
        text = f"choice [{', '.join(word(choice) for choice in data['choices'])}]"
    else:
        text = f"{data['kind']} [{data['low']!r}, {data['high']!r}]"
        text += " log" if data["log"] else ""
        text += (
            f" step {data['step']!r}"
            if data["step"] not in (None, 1) or (data["kind"] == "float" and data["step"])
            else ""
        )
    for parent, wanted in data.get("when", {}).items():
        text += f" when {parent} is {' or '.join(word(value) for value in wanted)}"
    return text


def word(value: Any) -> str:
    """A choice as YAML would write it; text that looks like something else in quotes."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value if value.replace("_", "a").replace("-", "a").isalnum() and not value[0].isdigit() else repr(value)
    return repr(value)


def _size(space: Space) -> float:
    """The product over groups of parameters that no condition connects."""
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
    """Walk the parameters in order, telling apart only the values that a later condition names."""
    last_use = {parent: i for i, p in enumerate(parameters) for parent in p.when}
    named: dict[str, list[Any]] = {}
    for p in parameters:
        for parent, wanted in p.when.items():
            named.setdefault(parent, []).extend(v for v in wanted if v not in named.get(parent, []))
    counts: dict[tuple[tuple[str, Any], ...], float] = {(): 1}  # configurations so far by the values that still matter
    for index, p in enumerate(parameters):
        told = [v for v in named.get(p.name, ()) if contains(p.distribution, v)]
        rest = _count(p) - len(told)
        ways = [*((v, 1.0) for v in told), *([(_OTHER, rest)] if rest > 0 else [])]
        after: dict[tuple[tuple[str, Any], ...], float] = {}
        for known, count in counts.items():
            active = p.active({**constants, **dict(known)})
            for value, times in ways if active else [(_INACTIVE, 1.0)]:
                told_now = (*known, (p.name, value)) if value is not _INACTIVE else known
                kept = tuple((name, v) for name, v in told_now if last_use.get(name, -1) > index)
                after[kept] = after.get(kept, 0) + count * times
        counts = after
        if len(counts) > MOST_CASES:
            return math.prod(map(_count, parameters))
    return sum(counts.values())


def _count(parameter: Parameter) -> float:
    count = cardinality(parameter.distribution)
    return count if count == math.inf else float(min(count, int(LARGEST)))


class _Mark:
    """No value of a parameter's."""


_OTHER, _INACTIVE = _Mark(), _Mark()
"""Any value that no condition names; and none at all."""
