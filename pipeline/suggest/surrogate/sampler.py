"""The sampler ``gp``: Bayesian optimization with a Gaussian process, at some milliseconds a trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial

from ...space import Space
from ..transfer.earlier import EarlierStudy
from .base import SearchSampler
from .encoding import Encoding
from .search import Search

IMPORTS = ("scipy.special", "scipy.linalg.lapack", "scipy.linalg", "scipy", "numpy.f2py", "numpy.ma", "numpy.testing")
"""What a model needs, in parts: the last first. SciPy imports most of what belongs to NumPy."""


class GPSampler(SearchSampler[Search]):
    """Bayesian optimization with a Gaussian process, for any number of trials that run at once.

    A Gaussian process learns the objective from finished trials, and the configuration with the largest expected
    improvement is suggested. Running trials count as if they had turned out as the model expects, so that others keep
    away from them. The model is kept as one Cholesky factor of at most some hundred trials, to which suggestions and
    results are added exactly, in whatever order they come; it is made anew, in pieces, when the study has grown.

    It takes integers, steps, logarithmic ranges, choices, conditional parameters, the study file's constraints, soft
    constraints (``trial.set_constraint``), several directions, pruned and failed trials. Where an objective defines its
    space as it runs, and not all trials have the same parameters, it leaves the study to :class:`TPESampler`.

    Safe to use from several threads. A pickled copy has the random state, and reads the study anew.

    Args:
        seed: Of the random numbers. Default None: different numbers each time.
        n_startup_trials: Suggest at random until this many trials are complete or pruned. Default 8.
        space: The search space with its conditions and constraints; None: what the trials of the study have in common.
        constraints_func: From a finished trial to a sequence of numbers, each above 0 where a constraint is violated.
            Deprecated in Optuna, which has ``trial.set_constraint``.
        earlier: Studies to learn from, where there is one direction.

    Example:
        >>> import optuna
        >>> from pilotune.pipeline.suggest.surrogate import GPSampler
        >>> study = optuna.create_study(sampler=GPSampler(seed=0))
        >>> study.optimize(lambda trial: (trial.suggest_float("x", -10, 10) - 2) ** 2, n_trials=20)
        >>> abs(study.best_params["x"] - 2) < 0.1
        True
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        n_startup_trials: int = 8,
        space: Space | None = None,
        constraints_func: Callable[[FrozenTrial], Sequence[float]] | None = None,
        earlier: Sequence[EarlierStudy] = (),
    ) -> None:
        super().__init__(seed=seed, space=space, constraints_func=constraints_func, imports=IMPORTS, earlier=earlier)
        self._startup = n_startup_trials

    def _make_search(self, study: Study, encoding: Encoding, rng: np.random.Generator) -> Search:
        knowledge = self._knowledge(encoding) if len(study.directions) == 1 else None
        return Search(encoding, study.directions, self._startup, rng, knowledge)
