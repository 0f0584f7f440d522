"""The sampler ``reinforce``: a small policy, with probabilities of its own for each parameter."""

from __future__ import annotations

import math
import random
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from ...attributes import PROBABILITIES
from ...distributions import cardinality
from ...space import Space
from ...study_changes import StudyWatch
from ..exhaustive import FIXED
from ..genes import Gene

RATE = 0.3
"""How far one result moves the policy. On FCNet's protein table with 16 workers 0.1 was as good, and 0.03 slower."""

WINDOW = 100
"""Results with which a new one is compared."""

LARGEST_WEIGHT = 2.0
"""Most that a result counts, where the policy now likes a value more than when it was drawn."""

MOST_VALUES, RANGES = 64, 10
"""A parameter of more values is divided into so many ranges, within which values are drawn evenly."""

TRIES = 100
"""Configurations that are drawn until one meets the constraints."""


class Policy:
    """Probabilities of the values of each parameter, independent of each other; as softmax of logits.

    Example:
        >>> from optuna.distributions import CategoricalDistribution
        >>> policy = Policy()
        >>> gene = Gene("op", CategoricalDistribution(["dense", "identity"]))
        >>> for loss in (1.0, 0.0, 0.0):
        ...     policy.learn({"op": "dense" if loss else "identity"}, loss, {"op": 0.5}, {"op": gene})
        >>> bool(policy.probabilities(gene)[1] > 0.5)
        True
    """

    def __init__(self) -> None:
        self._logits: dict[tuple[str, int], np.ndarray] = {}
        self._losses: deque[float] = deque(maxlen=WINDOW)

    def _of(self, gene: Gene) -> np.ndarray:
        values = cardinality(gene.distribution)
        number = int(values) if values <= MOST_VALUES else RANGES
        return self._logits.setdefault((gene.name, number), np.zeros(number))

    def probabilities(self, gene: Gene) -> np.ndarray:
        """The probability of each value, or of each range of values."""
        found = np.exp(self._of(gene) - self._of(gene).max())
        return np.asarray(found / found.sum())

    def draw(self, gene: Gene, rng: random.Random) -> tuple[Any, float]:
        """A value, and the probability that it or its range had."""
        probabilities = self.probabilities(gene)
        index = rng.choices(range(len(probabilities)), probabilities.tolist())[0]
        return gene.value((index + rng.random()) / len(probabilities)), float(probabilities[index])

    def learn(
        self, params: Mapping[str, Any], loss: float, drawn: Mapping[str, float], genes: Mapping[str, Gene]
    ) -> None:
        """Make the values of a trial likelier if it is better than half of the last ones, else less likely.

        Args:
            params: Of the trial.
            loss: Its value, the less the better; infinite for a failure.
            drawn: By parameter, the probability that its value had when it was drawn.
            genes: The parameters.
        """
        worse, better = (sum(sign * each > sign * loss for each in self._losses) for sign in (1, -1))
        advantage = (worse - better) / max(1, len(self._losses))
        self._losses.append(loss)
        for name, value in params.items():
            if (gene := genes.get(name)) is None or not gene.contains(value):
                continue
            probabilities = self.probabilities(gene)
            index = min(int(gene.place(value) * len(probabilities)), len(probabilities) - 1)
            weight = min(LARGEST_WEIGHT, probabilities[index] / drawn.get(name, probabilities[index]))
            step = RATE * advantage * weight
            self._of(gene)[:] -= step * probabilities
            self._of(gene)[index] += step


class ReinforceSampler(BaseSampler):
    """Reinforcement learning in its smallest form: REINFORCE with independent probabilities for each parameter.

    The published searches (Zoph and Le, arXiv:1611.01578; Balaprakash et al., Scalable Reinforcement-Learning-Based
    Neural Architecture Search for Cancer Deep Learning Research, SC 2019) choose one operation after the other with a
    recurrent network, and wait for whole batches. Here each parameter has a softmax of its own, and each result moves
    it at once: a result of an older policy counts by its probability now over that when it was drawn. It is for
    comparisons: on NAS-Bench-201 it was level with ``ageing``, and the default sampler was better than both.

    The policy is not stored: it is learnt from the trials in the order in which they ended, so a study may be resumed,
    or have several drivers. Safe to use from several threads.

    Args:
        seed: Of the random numbers. Default None: different numbers each time.
        space: The search space with its conditions and constraints; None: parameters as the objective asks for them.

    Example:
        >>> import optuna
        >>> from pilotune.pipeline.suggest.networks import ReinforceSampler
        >>> study = optuna.create_study(sampler=ReinforceSampler(seed=0))
        >>> study.optimize(lambda trial: trial.suggest_int("a", 0, 9) + trial.suggest_int("b", 0, 9), n_trials=200)
        >>> study.best_value < 3
        True
    """

    def __init__(self, *, seed: int | None = None, space: Space | None = None) -> None:
        self._space, self._rng = space, random.Random(seed)
        self._lock = threading.RLock()
        self._read_anew()

    def _read_anew(self) -> None:
        self._watch, self._policy, self._known = StudyWatch(), Policy(), set[int]()
        self._genes: dict[str, Gene] = {}

    def __getstate__(self) -> dict[str, Any]:
        kept = ("_space", "_rng")
        return {name: value for name, value in self.__dict__.items() if name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()
        self._read_anew()

    def reseed_rng(self) -> None:
        """Continue with other random numbers, as Optuna asks of copies of a sampler."""
        self._rng.seed()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that are drawn together: all of the space, for its constraints."""
        found = {} if self._space is None else self._space.distributions
        return {name: distribution for name, distribution in found.items() if not distribution.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A configuration drawn from the policy, which meets the constraints if one of a hundred does."""
        self._raise_error_if_multi_objective(study)
        if self._space is None or not search_space:
            return {}
        drawn: dict[str, float] = {}
        given = trial.system_attrs.get(FIXED, {})

        def value(name: str, distribution: BaseDistribution) -> Any:
            gene = self._gene(name, distribution)
            if name in given and gene.contains(given[name]):
                return given[name]
            found, drawn[name] = self._policy.draw(gene, self._rng)
            return found

        with self._lock:
            self._refresh(study)
            for _ in range(TRIES):
                drawn.clear()
                params = self._space.walk(value)
                if self._space.feasible(params):
                    break
        rounded = {name: round(probability, 6) for name, probability in drawn.items() if name in search_space}
        study._storage.set_trial_system_attr(trial._trial_id, PROBABILITIES, rounded)
        return {name: params[name] for name in search_space if name in params}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value drawn from the policy."""
        with self._lock:
            self._refresh(study)
            return self._policy.draw(self._gene(param_name, param_distribution), self._rng)[0]

    def _gene(self, name: str, distribution: BaseDistribution) -> Gene:
        known = self._genes.get(name)
        if known is None or known.distribution != distribution:
            known = self._genes[name] = Gene(name, distribution)
        return known

    def _refresh(self, study: Study) -> None:
        """Learn from the trials that have ended. Raises ValueError where the study has several directions."""
        self._raise_error_if_multi_objective(study)
        changes = self._watch.refresh(study)
        if changes.whole:
            self._policy, self._known = Policy(), set()
        sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
        ended = [trial for trial in changes.trials if trial.state.is_finished() and trial._trial_id not in self._known]
        for trial in sorted(ended, key=lambda trial: (trial.datetime_complete, trial.number)):
            self._known.add(trial._trial_id)
            for name, distribution in trial.distributions.items():
                self._gene(name, distribution)
            self._policy.learn(trial.params, _loss(trial, sign), trial.system_attrs.get(PROBABILITIES, {}), self._genes)


def _loss(trial: FrozenTrial, sign: float) -> float:
    """The value of a trial, the less the better: the last one of a pruned trial, infinite for a failure."""
    steps = trial.intermediate_values
    value = trial.values[0] if trial.values else steps[max(steps)] if steps else math.nan
    return math.inf if math.isnan(value) else sign * value
