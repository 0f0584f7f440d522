"""How sure an importance is: its interval over studies of trials that are drawn from these, with replacement."""

from __future__ import annotations

import math
import random
from dataclasses import replace

from ...errors import PilotuneError
from .chance import MOST_TRIALS, TREES
from .evaluators import Target, evaluate, make_evaluator
from .reading import StudyData

DRAWS = 20
"""Studies that are drawn. The interval leaves out the least and the largest share, so that it holds 90 % of them."""


def intervals(
    data: StudyData, evaluator: str, target: Target | None, params: tuple[str, ...]
) -> dict[str, tuple[float, float]]:
    """By parameter, the ends of a 90 % interval of its share.

    Args:
        data: The study with the trials to use.
        evaluator: Name of the evaluator.
        target: What to explain.
        params: The parameters that the evaluator uses.
    """
    step = max(1, -(-len(data.trials) // MOST_TRIALS[evaluator]))
    trials = data.trials[::step]
    shares: dict[str, list[float]] = {name: [] for name in params}
    for seed in range(DRAWS):
        drawn = replace(data, trials=tuple(random.Random(seed).choices(trials, k=len(trials))))
        try:
            raw = evaluate(drawn, make_evaluator(evaluator, trees=TREES, seed=seed), target)
        except PilotuneError:  # of a few trials, all that were drawn may be the same
            continue
        total = sum(raw.get(name, 0.0) for name in params)
        if math.isfinite(total) and total > 0.0:
            for name in params:
                shares[name].append(raw.get(name, 0.0) / total)
    return {name: _inner(found) for name, found in shares.items()}


def _inner(shares: list[float]) -> tuple[float, float]:
    """The least and the largest share without the outermost ones; all that is possible where few could be drawn."""
    return (sorted(shares)[1], sorted(shares)[-2]) if len(shares) > DRAWS // 2 else (0.0, 1.0)
