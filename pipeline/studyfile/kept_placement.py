"""Reads how a campaign placed its trials, from the text of the study file that it has kept in the database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...fields import validate
from ...yamlfile import parse_yaml
from .pool_rule import PoolRule, pool_rule
from .schema import StudySchema
from .sizes import take_out
from .spaces import build_space


@dataclass(frozen=True)
class KeptPlacement:
    """What a study file says of placement.

    Attributes:
        policy: Of ``placement``.
        pools: Which pools may run a trial; None for all.
    """

    policy: str
    pools: PoolRule | None


def kept_placement(text: str) -> KeptPlacement:
    """Read it. Nothing outside of the text is looked at.

    Args:
        text: A study file with every default written out.

    Raises:
        UserError: The text is incomplete, or of a version that knows other keys.

    Example:
        >>> kept = kept_placement("{name: s, objective: s.py:f, direction: minimize, space: {layers: {int: [1, 6]}}, "
        ...                       "trial: {pools: gpu if layers > 3 else cpu}, placement: fifo}")
        >>> kept.policy, kept.pools.of({"layers": 5})
        ('fifo', ('gpu',))
    """
    source = parse_yaml(text, Path("study.yaml"), what="study file")
    schema = validate(StudySchema, take_out(source)[0])
    pools = schema.trial.pools
    if pools is None:
        return KeptPlacement(schema.placement.policy, None)
    space = None if schema.space is None else build_space(schema.space, schema.constraints, source)
    return KeptPlacement(schema.placement.policy, pool_rule(pools, space, source))
