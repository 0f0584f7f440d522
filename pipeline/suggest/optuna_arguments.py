"""Arguments of Optuna's samplers as a study file gives them: names and lists in place of Optuna's objects."""

from __future__ import annotations

from typing import Any

import optuna.samplers as optuna_samplers
from optuna.distributions import CategoricalDistribution

from ...errors import UserError
from ...yamlfile import nearest
from ..registry_args import quietly
from ..space import Space


def check_numbers(space: Space | None, key: str) -> None:
    """Raise UserError for a space that CMA-ES cannot search.

    It adapts the parameters that are numbers and that every trial has, and needs two; others are random.
    """
    if space is None:
        return
    free = [parameter for parameter in space.parameters if not parameter.when and not parameter.distribution.single()]
    numbers = [each for each in free if not isinstance(each.distribution, CategoricalDistribution)]
    if len(numbers) < 2:
        found = f"only {numbers[0].name!r}" if numbers else "none"
        raise UserError(
            f"cmaes needs at least two parameters that are numbers without conditions, and this space has {found}; "
            "use gp, tpe or random",
            key=key,
        )


def genetic_arguments(args: dict[str, Any], key: str) -> dict[str, Any]:
    """The arguments of NSGA-II and NSGA-III. Raises UserError for a wrong one."""
    for argument, ending in (("crossover", "Crossover"), ("mutation", "Mutation")):
        if argument in args:
            module = optuna_samplers.nsgaii
            known = {
                n.removesuffix(ending).lower(): n for n in module.__all__ if n.endswith(ending) and n[:4] != "Base"
            }
            word = args[argument].lower().removesuffix(argument)
            if word not in known:
                message = f"there is no {argument} '{args[argument]}'{nearest(word, known)}"
                raise UserError(message, key=f"{key}.{argument}")
            args[argument] = quietly(getattr(module, known[word]), key)
    if "reference_points" in args:
        import numpy

        try:
            points = numpy.array(args["reference_points"], dtype=float)
        except (ValueError, TypeError):
            points = numpy.empty(0)
        if points.ndim != 2 or not numpy.isfinite(points).all():
            raise UserError("must be a list of lists of finite numbers", key=f"{key}.reference_points")
        args["reference_points"] = points
    return args
