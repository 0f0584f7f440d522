"""Which pools may run a trial: ``trial: {pools: gpu}``, ``[cpu, gpu]``, or ``gpu if layers > 3 else cpu``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...grammar import listed
from ...names import NAME
from ...yamlfile import YamlFile
from ..distributions import word
from ..expressions import Choice, NoValue, unusable
from ..space import Space, derived_names
from .rank_counts import SizeProblem
from .sizes import configurations

KEY = "pools"


@dataclass(frozen=True)
class PoolRule:
    """The pools that may run a trial.

    Attributes:
        text: As the study file has it.
        choice: The expression; None where the same pools may run all trials.
        space: The search space; None without an expression.
        named: All pools that it may give.
        bare: The names in the text that are no parameters, and must be those of pools.
        results: The parameters in the text whose values may be pools; none of them may have a pool's name.
    """

    text: str
    choice: Choice | None
    space: Space | None
    named: tuple[str, ...]
    bare: tuple[str, ...] = ()
    results: frozenset[str] = frozenset()

    def of(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        """The pools that may run the trial with these parameters.

        Raises:
            SizeProblem: The expression has no value for them.
        """
        if self.choice is None or self.space is None:
            return self.named
        values = self.space.for_objective({**self.space.constants, **params})
        values |= self.space.derived(set(self.choice.names), values)
        try:
            return self.choice.value(values)
        except NoValue as problem:
            raise SizeProblem(KEY, f"'{self.text}' {problem}") from None


def allowed_earlier(rule: PoolRule | None, params: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The pools that may run an earlier trial; None for all, and where it was run with another study file."""
    try:
        return None if rule is None else rule.of(params)
    except SizeProblem:
        return None


def pool_rule(written: Sequence[str] | str, space: Space | None, source: YamlFile) -> PoolRule:
    """The rule in ``trial.pools``.

    Args:
        written: A list of names, one name, or an expression. In it, a name that is not in the space is a pool's.
        space: The search space, if the study file has one.
        source: The study file.

    Raises:
        UserError: It cannot be read, or needs a parameter that may be inactive.
    """
    key = f"trial.{KEY}"
    if not isinstance(written, str):
        return PoolRule(", ".join(written), None, None, tuple(dict.fromkeys(written)))
    names = [*space.names, *(derived for graph in space.graphs for derived in derived_names(graph))] if space else []
    if NAME.fullmatch(written) and written not in names:
        return PoolRule(written, None, None, (written,))
    for name in names:
        if problem := unusable(name, written, parsed=False):
            raise source.error(f"'{written}' uses the parameter '{name}', but {problem}", key)
    choice: Choice | None = None
    try:
        choice = Choice(written, names)
        if space is None or not choice.names:
            return PoolRule(written, None, None, choice.value({}), choice.bare)
    except (ValueError, NoValue) as error:
        hint = "" if choice is None else _no_parameters(choice.operands)
        hint = hint or "; give a pool's name (in quotes if it has a dash or a dot), a list of names, or 'a if b else c'"
        raise source.error(f"'{written}' {error}{hint}", key) from None
    rule, named = PoolRule(written, choice, space, ()), dict[str, None]()
    for params in configurations(space, set(choice.names)):
        try:
            named |= dict.fromkeys(rule.of(params))
        except SizeProblem as problem:
            given = ", ".join(f"{name} is {word(value)}" for name, value in params.items())
            hint = _quotes(choice.results) or _no_parameters(choice.operands)
            raise source.error(f"{problem.args[0]} where {given}{hint}", key) from None
    return PoolRule(written, choice, space, tuple(named), choice.bare, choice.results)


def _no_parameters(operands: Sequence[str]) -> str:
    """The end of a sentence on a rule without a value, where a name may be misspelt, or a pool's lacks quotes."""
    if not operands:
        return ""
    what = "is no parameter" if len(operands) == 1 else "are no parameters"
    return f"; {listed(operands)} {what} (put a pool's name with a dash in quotes)"


def _quotes(parameters: Collection[str]) -> str:
    """The end of a sentence on a rule that is no pool, where parameters may have been meant as pools."""
    if not parameters:
        return ""
    name = min(parameters)
    return f"; '{name}' is a parameter here: if a pool is meant, put its name in quotes"
