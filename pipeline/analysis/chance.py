"""Finds out how important each parameter would seem by chance, with shuffled copies of all parameters.

Every importance is positive, also that of a parameter which the objective ignores; with few trials it can be the
largest of all. So each parameter gets a copy whose values are shuffled between the trials, and the evaluator sees both.
A parameter is told from chance when it beats its own copy in all of 20 shuffles. (The idea is Boruta's: Kursa and
Rudnicki, *Feature Selection with the Boruta Package*, 2010.)
"""

from __future__ import annotations

from .evaluations import Evaluations
from .evaluators import COPY

ROUNDS = 20
"""Shuffles. All of them must be beaten, so that a parameter without influence passes in one case of 21."""


def by_chance(some: Evaluations, params: tuple[str, ...]) -> tuple[dict[str, float], frozenset[str]]:
    """Compare each parameter with its shuffled copy.

    Args:
        some: Evaluates the trials.
        params: The parameters that the evaluator uses.

    Returns:
        The largest share that the copy of each parameter reaches, and the parameters that beat their copies each time.
    """
    certain, chance = set(params), dict.fromkeys(params, 0.0)
    for seed in range(ROUNDS):
        raw = some.with_copies(params, seed)
        total = sum(raw.get(name, 0.0) for name in params)
        for name in params:
            copied = raw.get(name + COPY, 0.0)
            chance[name] = max(chance[name], copied / total if total > 0.0 else 1.0)
            if copied >= raw.get(name, 0.0):
                certain.discard(name)
    return {name: min(1.0, share) for name, share in chance.items()}, frozenset(certain)
