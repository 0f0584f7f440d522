"""The sampler ``forest``: asynchronous model-based search with a random forest, for many trials that run at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial

from ...space import Space
from ..surrogate.base import SearchSampler
from ..surrogate.encoding import Encoding
from ..surrogate.trials import Trials
from ..transfer.earlier import EarlierStudy
from .acquisition import ACQUISITIONS
from .search import ForestSearch, Options
from .targets import LIES

IMPORTS = (
    *("sklearn.tree", "sklearn", "joblib", "pandas", "scipy.stats", "scipy.ndimage", "scipy.interpolate"),
    *("scipy.integrate", "scipy.optimize", "scipy.spatial", "scipy.sparse.csgraph", "scipy.sparse", "scipy.special"),
    *("scipy.linalg", "scipy", "numpy.f2py", "numpy.ma", "numpy.testing"),
)
"""What a forest needs, in parts: the last first."""


class ForestSampler(SearchSampler[ForestSearch]):
    """Asynchronous model-based search (AMBS) with a random forest, as DeepHyper does it.

    A forest learns the loss from finished trials. Of many random configurations the one is suggested that is the most
    promising by the mean and the deviation of its trees. With ``qucb``, while others run, each suggestion draws from an
    exponential distribution how much the deviation counts (Egele et al., Asynchronous Decentralized Bayesian
    Optimization for Large Scale Hyperparameter Optimization, e-Science 2023), so that trials that run at once differ.
    ``acquire="gp_hedge", lie="max"`` is AMBS as first published (Balaprakash et al., DeepHyper: Asynchronous
    Hyperparameter Search for Deep Neural Networks, HiPC 2018).

    Trees are grown anew one after the other as the study grows by a twentieth; results that come between count in the
    leaves where they lie at once. So a suggestion takes some milliseconds.

    It takes integers, steps, logarithmic ranges, choices, conditional parameters, the study file's constraints, soft
    constraints (``trial.set_constraint``), pruned and failed trials, and one direction. A failed trial is no result: a
    second forest learns where trials fail. Where an objective defines its space as it runs, and not all trials have the
    same parameters, it leaves the study to :class:`TPESampler`. It needs scikit-learn.

    Safe to use from several threads. A pickled copy has the random state, and reads the study anew.

    Args:
        acquire: What makes a candidate promising: ``qucb``, a bound of confidence with random weights; ``lcb``, the
            same with ``kappa`` itself; ``ei``, expected improvement; ``pi``, probability of improvement; ``gp_hedge``,
            one of these three, by how good their choices were.
        kappa: Standard deviations that ``qucb``, on average, and ``lcb`` go below the mean. Default 1.96.
        decay: Kappa comes down to 0.01 within so many results, and begins anew. Default 10; 0: it stays.
        lie: What running trials count as: ``max``, the worst result so far, ``min``, the best one, or ``mean``. Default
            None: nothing with ``qucb``, and ``max`` with the others.
        trees: The number of trees. Default 50.
        n_startup_trials: Suggest at random until this many trials are complete or pruned. Default 10.
        candidates: Random configurations that are compared. Default 10,000.
        seed: Of the random numbers. Default None: different numbers each time.
        space: The search space with its conditions and constraints; None: what the trials of the study have in common.
        constraints_func: From a finished trial to a sequence of numbers, each above 0 where a constraint is violated.
            Deprecated in Optuna, which has ``trial.set_constraint``.
        earlier: Studies to learn from.

    Raises:
        ValueError: ``acquire`` or ``lie`` is none of these words.

    Example:
        >>> import optuna
        >>> from pilotune.pipeline.suggest.forest import ForestSampler
        >>> study = optuna.create_study(sampler=ForestSampler(seed=0))
        >>> study.optimize(lambda trial: (trial.suggest_float("x", -10, 10) - 2) ** 2, n_trials=30)
        >>> abs(study.best_params["x"] - 2) < 0.2
        True
    """

    def __init__(
        self,
        *,
        acquire: str = "qucb",
        kappa: float = 1.96,
        decay: int = 10,
        lie: str | None = None,
        trees: int = 50,
        n_startup_trials: int = 10,
        candidates: int = 10_000,
        seed: int | None = None,
        space: Space | None = None,
        constraints_func: Callable[[FrozenTrial], Sequence[float]] | None = None,
        earlier: Sequence[EarlierStudy] = (),
    ) -> None:
        for name, value, words in (("acquire", acquire, ACQUISITIONS), ("lie", lie or "max", tuple(LIES))):
            if value not in words:
                raise ValueError(f"{name} must be one of {', '.join(words)}, but is {value!r}")
        super().__init__(seed=seed, space=space, constraints_func=constraints_func, imports=IMPORTS, earlier=earlier)
        lie = "max" if lie is None and acquire != "qucb" else lie
        self._options = Options(acquire, kappa, decay, lie, trees, n_startup_trials, candidates)

    def _make_search(self, study: Study, encoding: Encoding, rng: np.random.Generator) -> ForestSearch:
        self._raise_error_if_multi_objective(study)
        return ForestSearch(encoding, Trials(encoding, study.directions), self._options, rng, self._knowledge(encoding))
