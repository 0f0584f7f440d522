"""Makes a sampler learn from earlier studies: which class and arguments it then has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...space import Space
from .earlier import EarlierStudy


def informed_sampler(
    name: str, sampler_class: Any, args: dict[str, Any], space: Space | None, earlier: Sequence[EarlierStudy]
) -> tuple[Any, dict[str, Any]]:
    """The class and arguments of a sampler that learns from earlier studies.

    Args:
        name: Its short name, one of ``TRANSFER``.
        sampler_class: The class that it has without them.
        args: The study file's arguments.
        space: The study's.
        earlier: The studies.
    """
    if name == "tpe":
        from .tpe import InformedTPESampler

        return InformedTPESampler, {**args, "earlier": earlier, "space": space}
    if name == "cmaes":
        from .cmaes import informed

        # CMA-ES adapts the parameters that every trial has.
        always = {each.name: each.distribution for each in space.parameters if not each.when} if space else {}
        chosen = args.keys() & {"x0", "sigma0", "use_separable_cma", "source_trials"}
        return sampler_class, args if chosen else {**args, **informed(earlier, always)}
    return sampler_class, {**args, "earlier": earlier}
