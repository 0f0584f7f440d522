"""Checks the arguments of ``pbt`` and ``pb2`` that depend on each other or on the space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....errors import UserError
from ....fields import shown
from ....yamlfile import nearest
from ...space import Space


def check_population(name: str, args: Mapping[str, Any], space: Space | None, key: str) -> None:
    """Check what a study with this sampler needs.

    Args:
        name: ``pbt`` or ``pb2``.
        args: Its arguments, with checked types.
        space: The study's.
        key: Where they stand in the file.

    Raises:
        UserError: Something is missing, or does not fit.
    """
    if key != "sampler":
        raise UserError(f"{name} cannot be inside another sampler; name it as the study's own", key=f"{key}.name")
    if space is None:
        raise UserError(f"the sampler {name} needs a `space:` in the study file", key=f"{key}.name")
    if "interval" not in args:
        raise UserError(
            f"{name} needs `interval`, the steps that a member trains until it may be replaced, as in "
            f"{{name: {name}, interval: 2}}",
            key=key,
        )
    for index, parameter in enumerate(args.get("perturb") or ()):
        if parameter not in space.distributions:
            raise UserError(
                f"there is no parameter {shown(parameter)}{nearest(str(parameter), space.distributions)}",
                key=f"{key}.perturb[{index}]",
            )
        if parameter in args["perturb"][:index]:
            raise UserError(f"names {shown(parameter)} twice", key=f"{key}.perturb[{index}]")
    if args.get("perturb") == []:
        raise UserError(
            "an empty list would make every copy the same as its parent; leave it out for all", key=f"{key}.perturb"
        )
