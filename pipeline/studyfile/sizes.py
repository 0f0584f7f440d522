"""What a trial takes where that depends on its parameters: ``gpus: ranks``, ``memory: 8GB * layers``.

:func:`take_out` finds the expressions in ``trial:``, so that the schema checks plain numbers only; :func:`trial_sizes`
checks them against the space.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...errors import UserError
from ...fields import size, whole, whole_or_share
from ...yamlfile import YamlFile, nearest
from ..distributions import cardinality, word
from ..expressions import Expression, NoValue, unusable
from ..space import Parameter, Space, derived_names
from .rank_counts import SizeProblem
from .schema import TrialOptions
from .values import memory

SIZED = ("cores", "gpus", "memory", "ranks")
"""Keys of ``trial:`` that may be expressions."""

MOST_CASES, MOST_NETWORKS = 2_000, 100
"""Most configurations that are looked at for the sizes that a space gives; and where each is a network."""

_SIZE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?\s*(?:[KMGTP]i?B?|B))(?!\w)", re.IGNORECASE)
"""A size with its unit in an expression of memory."""


class Inactive(SizeProblem):
    """It needs a parameter that is inactive."""


@dataclass(frozen=True)
class Case:
    """A configuration, and what its trial takes.

    Attributes:
        params: The parameters and constants that the sizes depend on.
        options: The trial's options; None where it can take no such thing.
        problem: Why not.
    """

    params: Mapping[str, Any]
    options: TrialOptions | None
    problem: SizeProblem | None = None


@dataclass(frozen=True)
class TrialSizes:
    """What trials take, by their parameters.

    Attributes:
        texts: The expressions as written, by key below ``trial:``.
        expressions: The same, read.
        space: The search space.
        plain: All options that are the same for all trials.
        core_a_rank: A trial has a core for each rank on its node, since ``cores`` is not given.
    """

    texts: Mapping[str, str]
    expressions: Mapping[str, Expression]
    space: Space
    plain: TrialOptions
    core_a_rank: bool

    def of(self, params: Mapping[str, Any]) -> TrialOptions:
        """The options of the trial with these parameters.

        Raises:
            SizeProblem: It would take what no trial can.
        """
        values = self.space.for_objective({**self.space.constants, **params})
        values |= self.space.derived({name for each in self.expressions.values() for name in each.names}, values)
        found = {key: self._value(key, expression, values) for key, expression in self.expressions.items()}
        options = self.plain.model_copy(update=found)
        counts = options.rank_counts
        return options.model_copy(update={"cores": counts.per_node}) if self.core_a_rank else options

    def _value(self, key: str, expression: Expression, values: Mapping[str, Any]) -> float:
        text = f"'{self.texts[key]}'"
        try:
            value = _rounded(expression.value(values))
        except NoValue as problem:
            kind = Inactive if "inactive" in str(problem) else SizeProblem
            raise kind(key, f"{text} {problem}") from None
        try:
            return _CHECKS[key](value)
        except ValueError as problem:
            raise SizeProblem(key, f"{text} {problem}") from None

    def cases(self) -> list[Case]:
        """What trials may take: of all configurations that make a difference, or of many of them."""
        found = []
        for params in configurations(self.space, {name for each in self.expressions.values() for name in each.names}):
            try:
                found.append(Case(params, self.of(params)))
            except SizeProblem as problem:
                found.append(Case(params, None, problem))
        return found


def _rounded(value: float) -> float:
    """``value``, or the whole number that it is but for rounding errors."""
    return round(value) if abs(value - round(value)) < 1e-9 else value


_CHECKS: Mapping[str, Callable[[Any], float]] = {
    "cores": whole(1),
    "ranks": whole(1),
    "gpus": whole_or_share,
    "memory": lambda value: memory(math.ceil(value)),
}


def take_out(source: YamlFile) -> tuple[YamlFile, dict[str, str]]:
    """The study file without the expressions in ``trial:``, and these by key."""
    trial, space = source.data.get("trial"), source.data.get("space")
    names = list(space) if isinstance(space, dict) else []
    if not isinstance(trial, dict):
        return source, {}
    texts = {key: trial[key] for key in SIZED if isinstance(trial.get(key), str) and _is_expression(trial[key], names)}
    plain = {key: value for key, value in trial.items() if key not in texts}
    return (replace(source, data={**source.data, "trial": plain}), texts) if texts else (source, {})


def _is_expression(text: str, names: Sequence[str]) -> bool:
    """Whether a text is meant as an expression: not a plain size, nor a word that is like no parameter."""
    text = text.strip()
    try:
        size(text)
        return False
    except ValueError:
        pass
    return text in names or "did you mean" in nearest(text, names) or not re.fullmatch(r"[\w.]*", text)


def trial_sizes(
    texts: Mapping[str, str], plain: TrialOptions, space: Space | None, source: YamlFile, *, core_a_rank: bool
) -> TrialSizes:
    """The expressions, checked against the space.

    Args:
        texts: What :func:`take_out` found.
        plain: All other options.
        space: The search space, if the study file has one.
        source: The study file.
        core_a_rank: ``cores`` is not given, and trials are on one node.

    Raises:
        UserError: An expression cannot be read, names what is not in the space or may be inactive, or never gives what
            a trial can take.
    """
    if space is None:
        message = "is an expression of parameters, which needs a `space` section; without one give a number"
        raise source.error(message, f"trial.{next(iter(texts))}")
    expressions = {key: _expression(key, text, space, source) for key, text in texts.items()}
    sizes = TrialSizes(texts, expressions, space, plain, core_a_rank)
    cases = sizes.cases()
    for case in cases:
        if isinstance(case.problem, Inactive) or (case.problem and "no number" in str(case.problem)):
            raise source.error(_impossible(case, space), f"trial.{case.problem.key}")
    if cases and all(case.problem for case in cases):
        raise source.error(_impossible(cases[0], space), f"trial.{cases[0].problem.key}")  # type: ignore[union-attr]
    return sizes


def _impossible(case: Case, space: Space) -> str:
    problem = case.problem
    assert problem is not None
    given = ", ".join(f"{name} is {word(value)}" for name, value in case.params.items())
    sentence = f"{problem.args[0]} where {given}" if given else str(problem.args[0])
    for parameter in space.parameters:
        if isinstance(problem, Inactive) and f"'{parameter.name}'" in sentence and parameter.when:
            when = " and ".join(f"{parent} is {' or '.join(map(word, v))}" for parent, v in parameter.when.items())
            return f"{sentence}: it is active only when {when}; say what holds otherwise, as in 'a if b else c'"
    return sentence


def _expression(key: str, text: str, space: Space, source: YamlFile) -> Expression:
    where, names = f"trial.{key}", space.names
    read = _SIZE.sub(lambda found: str(size(found[1].replace(" ", ""))), text) if key == "memory" else text
    expression, wrong = None, ""
    try:
        expression = Expression(read)
    except ValueError as error:
        wrong = str(error)
    for name in names:
        if problem := unusable(name, read, parsed=not wrong):
            raise source.error(f"'{text}' uses the parameter '{name}', but {problem}", where)
    if expression is None:
        raise source.error(f"'{text}' {wrong}", where)
    names = [*names, *(derived for graph in space.graphs for derived in derived_names(graph))]
    for name in expression.names:
        if name not in names:
            raise source.error(f"'{text}' uses '{name}', which is not in the space{nearest(name, names)}", where)
    return expression


def configurations(space: Space, names: set[str]) -> list[dict[str, Any]]:
    """Values of the parameters ``names``, and of those that their conditions name, as configurations have them.

    All combinations where there are few, of a continuous parameter with its ends and some values between; otherwise
    combinations of ends, and random ones. Without those that break a constraint on nothing else.
    """
    of_graphs = any(not derived_names(graph).isdisjoint(names) for graph in space.graphs)
    most = MOST_NETWORKS if of_graphs else MOST_CASES
    wanted = [p for p in space.parameters if of_graphs or p.name in _with_parents(space, names)]
    constants = {name: value for name, value in space.constants.items() if name in names}
    if math.prod(min(cardinality(p.distribution), MANY) for p in wanted) <= most:
        found = list(_combined(wanted, dict(space.constants), _values))
    else:
        found = list(itertools.islice(_combined(wanted, dict(space.constants), _ends), most // 2))
        rng = random.Random(0)
        found += [space.sample(rng) for _ in range(most // 2)]
    kept = {p.name for p in wanted}
    found = [{name: value for name, value in each.items() if name in kept} for each in found]
    known = kept | space.constants.keys()
    checks = [each for each in space.constraints if set(each.names) <= known]
    return [{**each, **constants} for each in found if all(_met(space, check, each) for check in checks)]


def _met(space: Space, check: Any, params: Mapping[str, Any]) -> bool:
    try:
        return space.meets(check, params)
    except TypeError:  # loading says it
        return True


def _with_parents(space: Space, names: set[str]) -> set[str]:
    found = set(names)
    for parameter in reversed(space.parameters):  # a parameter comes after those that its conditions name
        if parameter.name in found:
            found |= set(parameter.when)
    return found


MANY, SOME = 64, 9
"""A parameter with more values than the first is looked at at as many as the second."""


def _values(parameter: Parameter) -> list[Any]:
    kind: Any = parameter.distribution
    if hasattr(kind, "choices"):
        return list(kind.choices)
    steps = cardinality(kind)
    if steps <= MANY:
        return [parameter.own(kind.low + n * (kind.step or 0)) for n in range(int(steps))]
    between = [kind.low + (kind.high - kind.low) * n / (SOME - 1) for n in range(SOME)]
    if not kind.step:
        return between
    return sorted({parameter.own(kind.low + round((each - kind.low) / kind.step) * kind.step) for each in between})


def _ends(parameter: Parameter) -> list[Any]:
    found = _values(parameter)
    return found if hasattr(parameter.distribution, "choices") else [found[0], found[-1]]


def _combined(
    parameters: Sequence[Parameter], values: dict[str, Any], of: Callable[[Parameter], list[Any]]
) -> Iterator[dict[str, Any]]:
    """All combinations of the values of active parameters."""
    if not parameters:
        yield dict(values)
        return
    first, *others = parameters
    if not first.active(values):
        yield from _combined(others, values, of)
        return
    for value in of(first):
        yield from _combined(others, {**values, first.name: value}, of)


def sizes_in_words(sizes: TrialSizes) -> dict[str, str]:
    """By key, the range of values that it has, as in ``1 to 8``; empty without any."""
    options = [case.options for case in sizes.cases() if case.options is not None]
    found = {}
    for key in sizes.texts:
        values = [getattr(each, key) for each in options]
        if key == "memory":
            low, high = (f"{end / 1e9:.3g} GB" for end in (min(values), max(values)))
        else:
            low, high = (f"{end:g}" for end in (min(values), max(values)))
        found[key] = low if low == high else f"{low} to {high}"
    return found


def size_error(problem: SizeProblem) -> UserError:
    """The problem as an error that names the key."""
    return UserError(str(problem.args[0]), key=f"trial.{problem.key}")
