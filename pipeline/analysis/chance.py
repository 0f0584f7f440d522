"""Finds out how important each parameter would seem by chance, with shuffled copies of all parameters.

Every importance is positive, also that of a parameter which the objective ignores; with few trials it can be the
largest of all. So each parameter gets a copy whose values are shuffled between the trials, and the evaluator sees both.
A parameter is told from chance when it beats its own copy in all of 20 shuffles. (The idea is Boruta's: Kursa and
Rudnicki, *Feature Selection with the Boruta Package*, 2010.)
"""

from __future__ import annotations

import copy
import random
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .evaluators import Target, evaluate, make_evaluator
from .reading import StudyData

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

ROUNDS = 20
"""Shuffles. All of them must be beaten, so that a parameter without influence passes in one case of 21."""

MOST_TRIALS = {"ped-anova": 1000, "fanova": 200, "mean-decrease-impurity": 400}
"""Trials that are used for this; of more, an even choice. It bounds the time to some seconds."""

TREES = 16
"""Trees in the forests; the copies are judged by the same forests, so that few are enough."""

COPY = "\0"
"""What the name of a copy ends with; no name in a database has it."""


def by_chance(
    data: StudyData, evaluator: str, target: Target | None, params: tuple[str, ...]
) -> tuple[dict[str, float], frozenset[str]]:
    """Compare each parameter with its shuffled copy.

    Args:
        data: The study with the trials to use.
        evaluator: Name of the evaluator.
        target: What to explain.
        params: The parameters that the evaluator uses.

    Returns:
        The largest share that the copy of each parameter reaches, and the parameters that beat their copies each time.
    """
    most = MOST_TRIALS[evaluator]
    step = max(1, -(-len(data.trials) // most))
    trials = data.trials[::step]
    certain, chance = set(params), dict.fromkeys(params, 0.0)
    for seed in range(ROUNDS):
        both = replace(data, trials=with_copies(trials, params, random.Random(seed)))
        raw = evaluate(both, make_evaluator(evaluator, trees=TREES, seed=seed), target)
        total = sum(raw.get(name, 0.0) for name in params)
        for name in params:
            copied = raw.get(name + COPY, 0.0)
            chance[name] = max(chance[name], copied / total if total > 0.0 else 1.0)
            if copied >= raw.get(name, 0.0):
                certain.discard(name)
    return {name: min(1.0, share) for name, share in chance.items()}, frozenset(certain)


def with_copies(
    trials: tuple[FrozenTrial, ...], params: tuple[str, ...], rng: random.Random
) -> tuple[FrozenTrial, ...]:
    """The trials with a shuffled copy of each parameter beside it.

    A conditional parameter's values are shuffled between the trials that have it, and those of different ranges by
    themselves, so that a copy is active where the parameter is.
    """
    import optuna

    copies: list[dict[str, Any]] = [{} for _ in trials]
    texts: dict[int, str] = {}  # by the distribution's id: most trials share theirs
    for name in params:
        groups: dict[Any, list[int]] = defaultdict(list)
        for place, trial in enumerate(trials):
            if name in trial.params:
                distribution = trial.distributions[name]
                if id(distribution) not in texts:
                    texts[id(distribution)] = optuna.distributions.distribution_to_json(distribution)
                groups[texts[id(distribution)]].append(place)
        for places in groups.values():
            values = [trials[place].params[name] for place in places]
            rng.shuffle(values)
            for place, value in zip(places, values, strict=True):
                copies[place][name + COPY] = value
    made = []
    for trial, copied in zip(trials, copies, strict=True):
        one = copy.copy(trial)  # Optuna's ``create_trial`` would check each value again
        one.params = {**trial.params, **copied}
        one.distributions = trial.distributions | {
            name: trial.distributions[name.removesuffix(COPY)] for name in copied
        }
        made.append(one)
    return tuple(made)
