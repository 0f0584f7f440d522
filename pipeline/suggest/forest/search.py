"""The search of one space in one study with a forest: learns what changed, grows trees anew, and suggests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.study import Study

from ...study_changes import Changes
from ..surrogate.encoding import Encoding
from ..surrogate.proposals import first_places
from ..surrogate.reading import StudyReader
from ..surrogate.trials import RUNNING, Trials
from ..transfer.knowledge import Knowledge
from .acquisition import HEDGED, Hedge, decayed, scores
from .candidates import Candidates
from .described import Described
from .pooled import PooledForest
from .targets import RENEWALS, Losses, failures

GROWN = 6
"""Most trees that are grown anew in one suggestion."""
FAILURE_TREES = 4
"""The forest of failures has so many times fewer trees."""
FIXED_CANDIDATES = 500
"""Candidates for a trial that has some of its values already."""


@dataclass(frozen=True)
class Options:
    """The arguments of the sampler, as :class:`ForestSampler` explains them."""

    acquire: str
    kappa: float
    decay: int
    lie: str | None
    trees: int
    startup: int
    candidates: int


class ForestSearch:
    """The search of one space in one study.

    Args:
        encoding: Of the space.
        trials: Of the study; empty.
        options: Of the sampler.
        rng: Its random numbers.
        knowledge: What earlier studies say; None: nothing.
    """

    def __init__(
        self,
        encoding: Encoding,
        trials: Trials,
        options: Options,
        rng: np.random.Generator,
        knowledge: Knowledge | None = None,
    ) -> None:
        self.encoding, self.trials, self._options, self._rng = encoding, trials, options, rng
        self._knowledge = knowledge or None
        self._reader = StudyReader(self._learn, len(encoding.names))
        self._reset()

    def _reset(self) -> None:
        self._losses = Losses(self.trials, self._options.lie)
        self._described = Described(self.encoding, self.trials, self._knowledge)
        self._pool: Candidates | None = None
        self._forest = PooledForest(self._options.trees, self._rng)
        self._failing: PooledForest | None = None  # until there is a failure
        self._expectation: tuple[np.ndarray, np.ndarray] | None = None  # of the pool, while nothing changes
        self._due = 0.0  # the share of the trees that are to be grown anew
        self._hedge, self._nominees = Hedge(self._rng), np.zeros((0, 0))

    # -- learning -----------------------------------------------------------------------------------------------------

    def refresh(self, study: Study) -> None:
        """Learn what changed in the study."""
        self._reader.refresh(study)

    def prepare(self, study: Study) -> bool:
        """Read a part of the study, or grow some trees, as much as one suggestion may cost.

        Returns:
            Whether nothing is left to do.
        """
        if self._reader.read_part(study) or (self._knowledge is not None and not self._knowledge.prepare()):
            return False
        if not (self._is_modelled and self._forest.missing):
            return True
        self._grow(min(GROWN, self._forest.missing), self._losses.of_results())
        return False

    def _learn(self, changes: Changes) -> None:
        left = [self.trials.row_of[each] for each in changes.gone if each in self.trials.row_of]
        ended, placed = self.trials.apply(changes)
        if changes.whole:
            self._reset()
        running = [row for row in placed if self.trials.state[row] == RUNNING]
        for forest in self._forests():
            forest.learn(running, ended + left, self._features)
        self._losses.learn(ended)
        if ended or left or (running and self._options.lie is not None):
            self._expectation = None
        if ended:
            part = len(ended) / max(1.0, self.trials.finished / RENEWALS)
            self._due = min(1.0, self._due + part)

    def _forests(self) -> list[PooledForest]:
        return [self._forest] if self._failing is None else [self._forest, self._failing]

    def _features(self, rows: np.ndarray) -> np.ndarray:
        return self._described.of_rows(rows)

    @property
    def _is_modelled(self) -> bool:
        return self.trials.scored >= max(1, self._options.startup)

    # -- suggesting ---------------------------------------------------------------------------------------------------

    def suggest(self, trial_id: int, fixed: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Suggest a configuration to a trial, after :meth:`refresh`. ``fixed``: values that it has already."""
        encoding = self.encoding.fixing(fixed) if fixed else self.encoding
        places = self._model_places(encoding, pooled=not fixed) if self._is_modelled else None
        if places is None:
            places = first_places(encoding, self.trials, self._rng, self._knowledge)
        return self.encoding.params(places)

    def _model_places(self, encoding: Encoding, pooled: bool) -> np.ndarray | None:
        losses = self._losses.of_results()
        if np.isnan(losses).all():
            return None
        self._renew(losses)
        losses = self._losses.with_lies(losses)
        assert self._pool is not None
        pool = self._pool if pooled else Candidates(encoding.draw(self._rng, FIXED_CANDIDATES))
        means, deviations = self._expected(losses, None if pooled else self._described.of_places(pool.places))
        index = pool.take(self._scores(losses, pool, means, deviations), encoding, self.trials)
        return None if index is None else np.asarray(pool.places[index])

    def _expected(self, losses: np.ndarray, features: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """The means and deviations of the loss, where a failure counts as the worst result.

        Args:
            losses: By row.
            features: Of configurations; None: those of the pool.
        """
        if features is None and self._expectation is not None:
            return self._expectation
        means, deviations = self._forest.predict(losses, features)
        if self._failing is not None:
            share = self._failing.predict(failures(self.trials), features)[0]
            means, deviations = means + share * (np.nanmax(losses) - means), deviations * (1.0 - share)
        if features is None:
            self._expectation = means, deviations
        return means, deviations

    def _scores(self, losses: np.ndarray, pool: Candidates, means: np.ndarray, deviations: np.ndarray) -> np.ndarray:
        """How promising the candidates of a pool are."""
        kappa = decayed(self._options.kappa, self._options.decay, self.trials.finished - self._options.startup)
        if self._options.acquire == "qucb":
            running = bool((self.trials.state[: self.trials.size] == RUNNING).any())
            return scores("lcb", means, deviations, 0.0, float(self._rng.exponential(kappa)) if running else kappa)
        best = float(np.nanmin(losses))
        if self._options.acquire != "gp_hedge":
            return scores(self._options.acquire, means, deviations, best, kappa)
        if len(self._nominees):
            self._hedge.learn(self._expected(losses, self._nominees)[0])
        by_name = [scores(name, means, deviations, best, kappa) for name in HEDGED]
        where = np.flatnonzero(pool.left)
        nominees = [pool.places[where[each[where].argmax()]] for each in by_name] if len(where) else []
        self._nominees = self._described.of_places(np.array(nominees)) if nominees else np.zeros((0, 0))
        return by_name[self._hedge.choose()]

    # -- renewing the forest ------------------------------------------------------------------------------------------

    def _renew(self, losses: np.ndarray) -> None:
        """Grow the trees that are due, and draw as large a part of the candidates anew."""
        trees, candidates = self._options.trees, self._options.candidates
        count = self._forest.missing or min(GROWN, int(self._due * trees))
        if count:
            self._grow(count, losses)
        if self._pool is None:
            self._pool = Candidates(self.encoding.draw(self._rng, candidates))
            for forest in self._forests():
                forest.fill(self._described.of_places(self._pool.places))
        elif count:
            places = self.encoding.draw(self._rng, max(1, candidates * count // trees))
            which = self._pool.renew(places)
            for forest in self._forests():
                forest.renew(which, self._described.of_places(places))

    def _grow(self, count: int, losses: np.ndarray) -> None:
        """Grow so many trees, and as large a part of the forest of failures, where there are any."""
        self._forest.grow(count, np.flatnonzero(~np.isnan(losses)), losses, self._features)
        self._due, self._expectation = max(0.0, self._due - count / self._options.trees), None
        failed = failures(self.trials)
        if self._failing is None and (failed == 1.0).any():
            self._failing = PooledForest(max(1, self._options.trees // FAILURE_TREES), self._rng)
            if self._pool is not None:
                self._failing.fill(self._described.of_places(self._pool.places))
        if self._failing is not None:
            part = self._failing.missing or -(-count // FAILURE_TREES)
            self._failing.grow(part, np.flatnonzero(~np.isnan(failed)), failed, self._features)
