"""Evaluates the importance of parameters many times: of the trials, with shuffled copies, and of trials drawn anew."""

from __future__ import annotations

import copy
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from .evaluators import COPY, Target, evaluate, make_evaluator
from .reading import StudyData

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

MOST_TRIALS = {"ped-anova": 1000, "fanova": 200, "mean-decrease-impurity": 400}
"""Trials that are shuffled and drawn from; of more, an even choice. It bounds the time to some seconds."""

FEW_TREES = 16
"""Trees in the forests of those; the copies are judged by the same forests, so that few are enough."""


class Evaluations(Protocol):
    """What one evaluator makes of the same trials, again and again: importances by parameter, not normalized.

    All raise PilotuneError when the evaluator cannot cope with the trials.
    """

    def whole(self) -> dict[str, float]:
        """Of the trials as they are."""

    def with_copies(self, params: Sequence[str], seed: int) -> dict[str, float]:
        """Of the trials with a copy of each parameter (its name and :data:`COPY`), shuffled between the trials."""

    def drawn(self, seed: int) -> dict[str, float]:
        """Of as many trials, drawn from them with replacement."""


def evaluations(data: StudyData, evaluator: str, target: Target | None) -> Evaluations:
    """What evaluates these trials.

    Args:
        data: The study with the trials to use.
        evaluator: Name of the evaluator.
        target: What to explain; None: closeness to the Pareto front.
    """
    if evaluator != "ped-anova" or (target is None and len(data.metrics) > 1):
        return OptunaEvaluations(data, evaluator, target)
    from .ped_anova import PedAnovaEvaluations

    sign = -1.0 if data.directions[0] == "maximize" else 1.0
    return PedAnovaEvaluations(data, target or (lambda trial: sign * trial.values[0]))


def thinned(data: StudyData, evaluator: str) -> StudyData:
    """The study with an even choice of its trials, where there are more than ``MOST_TRIALS``."""
    step = max(1, -(-len(data.trials) // MOST_TRIALS[evaluator]))
    return replace(data, trials=data.trials[::step]) if step > 1 else data


class OptunaEvaluations:
    """One of Optuna's evaluators. Args as :func:`evaluations`."""

    def __init__(self, data: StudyData, evaluator: str, target: Target | None):
        self.data, self.evaluator, self.target = data, evaluator, target

    def whole(self) -> dict[str, float]:
        return evaluate(self.data, make_evaluator(self.evaluator), self.target)

    def with_copies(self, params: Sequence[str], seed: int) -> dict[str, float]:
        return self._few(with_copies(self.data.trials, params, random.Random(seed)), seed)

    def drawn(self, seed: int) -> dict[str, float]:
        trials = self.data.trials
        return self._few(tuple(random.Random(seed).choices(trials, k=len(trials))), seed)

    def _few(self, trials: tuple[FrozenTrial, ...], seed: int) -> dict[str, float]:
        evaluator = make_evaluator(self.evaluator, trees=FEW_TREES, seed=seed)
        return evaluate(replace(self.data, trials=trials), evaluator, self.target)


def with_copies(trials: tuple[FrozenTrial, ...], params: Sequence[str], rng: random.Random) -> tuple[FrozenTrial, ...]:
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
