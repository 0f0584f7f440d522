"""How sure an importance is: its interval over studies of trials that are drawn from these, with replacement."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

from ...errors import PilotuneError
from .evaluations import Evaluations

DRAWS = 20
"""Studies that are drawn. The interval leaves out the least and the largest share, so that it holds 90 % of them."""


def intervals(some: Evaluations, shares: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """By parameter, the ends of a 90 % interval of its share, which holds the share itself.

    Args:
        some: Evaluates the trials.
        shares: By parameter, the share that all trials give.
    """
    found: dict[str, list[float]] = {name: [] for name in shares}
    for seed in range(DRAWS):
        try:
            raw = some.drawn(seed)
        except PilotuneError:  # of a few trials, all that were drawn may be the same
            continue
        total = sum(raw.get(name, 0.0) for name in shares)
        if math.isfinite(total) and total > 0.0:
            for name in shares:
                found[name].append(raw.get(name, 0.0) / total)
    return {name: _around(share, found[name]) for name, share in shares.items()}


def _around(share: float, drawn: list[float]) -> tuple[float, float]:
    """The least and the largest drawn share without the outermost ones; all that is possible where few were drawn.

    Trials that are drawn twice shift all shares, since an evaluator takes them for trials that agree. So the drawn
    shares are shifted, until their median is the share of all trials.

    >>> _around(0.5, [0.5] * 10 + [0.75] * 10)  # their median is 0.625
    (0.375, 0.625)
    """
    if len(drawn) <= DRAWS // 2:
        return 0.0, 1.0
    shift = share - statistics.median(drawn)
    low, high = (min(max(each + shift, 0.0), 1.0) for each in (sorted(drawn)[1], sorted(drawn)[-2]))
    return min(low, share), max(high, share)
