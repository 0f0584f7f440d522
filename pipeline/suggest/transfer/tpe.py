"""The sampler ``tpe`` where earlier studies say something: what they say of a candidate counts beside its densities.

A candidate's expected improvement is measured by log l(x) - log g(x). What the earlier studies say is subtracted, with
a weight that falls as results come in (Hvarfner et al., *piBO: Augmenting Acquisition Functions with User Beliefs*,
ICLR 2022), and the candidates that they find best join those drawn from l(x).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ...one_thread import one_thread
from ...space import Space
from ...study_changes import Changes
from ..published import publish
from ..surrogate.encoding import Encoding
from ..tpe import TPESampler
from ..tpe.model import Split, Subspace
from ..tpe.parallel import ParallelHistory, ParallelModel
from .earlier import EarlierStudy, normal_scores
from .knowledge import Knowledge

STRENGTH, RESULTS = 2.0, 20.0
"""The weight of what earlier studies say, before there are results, and the number of results that halves it."""
DRAWN, JOINED = 100, 12
"""Uniform configurations of which so many, those that the earlier studies find best, join the candidates."""
WEIGHED_EACH = 8
"""The studies are weighed anew when the results have grown by this part."""
MOST_WEIGHED = 300
"""Results, the newest, by which they are weighed."""
MISLED = 5
"""So many more trials are at random first where no earlier study agrees: those that they chose teach little."""
INFORMED_SHARE, INFORMED = 0.5, 30
"""The share of the first configurations that earlier studies choose, each of so many."""


class InformedHistory(ParallelHistory):
    """A history that keeps the results by which earlier studies are weighed.

    Attributes:
        results: By trial id, the parameters and the loss of complete trials.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.results: dict[int, tuple[dict[str, Any], float]] = {}

    def apply(self, changes: Changes) -> None:
        """Bring the history up to date with what changed in the study."""
        super().apply(changes)
        if changes.whole:
            self.results.clear()
        for trial in changes.trials:
            if trial.state == TrialState.COMPLETE:
                self.results[trial._trial_id] = trial.params, float(self._signs[0] * trial.values[0])


class InformedModel(ParallelModel):
    """A model of one study that knows earlier ones."""

    history: InformedHistory

    HISTORY = InformedHistory

    def __init__(self, *args: Any, earlier: Sequence[EarlierStudy], space: Space | None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._earlier, self._space = earlier, space
        self._encoding: Encoding | None = None
        self._knowledge: Knowledge | None = None
        self._weighed_at = -1

    def inform(self, distributions: dict[str, BaseDistribution]) -> tuple[Encoding, Knowledge] | None:
        """What earlier studies say of the space of these parameters; None where they say nothing."""
        if self._encoding is None or set(self._encoding.names) != set(distributions):
            self._encoding = Encoding(distributions, self._space)
            self._knowledge, self._weighed_at = Knowledge(self._earlier, self._encoding) or None, -1
        return None if self._knowledge is None else (self._encoding, self._knowledge)

    def prepare(self, distributions: dict[str, BaseDistribution]) -> bool:
        """Do a part of what predictions need. Returns whether nothing is left to do."""
        found = self.inform(distributions)
        return found is None or found[1].prepare()

    @property
    def is_misled(self) -> bool:
        """Whether no earlier study agrees with the results so far."""
        return self._knowledge is not None and not self._knowledge.weights.any()

    def first(self, distributions: dict[str, BaseDistribution], random: np.random.RandomState) -> dict[str, Any]:
        """A configuration before the densities are used: the best of some by what earlier studies say, or none."""
        found = self.inform(distributions)
        if found is None or random.random_sample() >= INFORMED_SHARE:
            return {}
        encoding, knowledge = found
        self._weigh(encoding, knowledge)
        drawn = encoding.draw(np.random.default_rng(random.randint(2**31)), INFORMED)
        drawn = drawn[encoding.feasible(drawn)]
        if not len(drawn) or not knowledge.weights.any():
            return {}
        return encoding.params(drawn[knowledge.mean(encoding.features(drawn)).argmin()])

    def _candidates(
        self, subspace: Subspace, number: int, random: np.random.RandomState, count: int, split: Split | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        points, log_below, log_above = super()._candidates(subspace, number, random, count, split)
        known = {axis.name: axis.distribution for axis in subspace.axes}
        whole = self.history.intersection.space() if self._space is None else _free(self._space)
        found = self.inform(known) if known.keys() == whole.keys() else None
        if found is None:
            return points, log_below, log_above
        encoding, knowledge = found
        self._weigh(encoding, knowledge)
        extra = self._joining(subspace, encoding, knowledge, random)
        if len(extra):
            below, above = self._below_mixture(subspace, split), subspace.above
            more = below.log_density(extra)
            points = np.concatenate([points, extra])
            log_above = np.concatenate([log_above, above.log_density_for_ranking(more, extra)])
            log_below = np.concatenate([log_below, more])
        strength = STRENGTH * RESULTS / (RESULTS + len(self.history.results))
        params = [self._to_params(subspace, point) for point in points]
        places = encoding.places_of(params, [True] * len(params))
        usable = [i for i, each in enumerate(places) if each is not None]
        said = np.zeros(len(points))
        if usable:
            said[usable] = knowledge.mean(encoding.features(np.array([places[i] for i in usable])))
        return points, log_below, log_above + strength * said

    def _weigh(self, encoding: Encoding, knowledge: Knowledge) -> None:
        results = list(self.history.results.values())[-MOST_WEIGHED:]
        count = len(self.history.results)
        if count - self._weighed_at < max(1, self._weighed_at // WEIGHED_EACH):
            return
        self._weighed_at = count
        places = encoding.places_of([params for params, _ in results], [True] * len(results))
        usable = [i for i, each in enumerate(places) if each is not None]
        if not usable:
            return
        losses = normal_scores(np.array([results[i][1] for i in usable]))
        knowledge.weigh(knowledge.predict(encoding.features(np.array([places[i] for i in usable]))), losses)

    def _joining(
        self, subspace: Subspace, encoding: Encoding, knowledge: Knowledge, random: np.random.RandomState
    ) -> np.ndarray:
        """The best of some uniform configurations by what earlier studies say, in the coordinates of the densities."""
        if not knowledge.weights.any() or encoding.conditional:
            return np.zeros((0, len(subspace.axes)))
        drawn = encoding.draw(np.random.default_rng(random.randint(2**31)), DRAWN)
        best = drawn[np.argsort(knowledge.mean(encoding.features(drawn)), kind="stable")[:JOINED]]
        params = [encoding.params(row) for row in best]
        internal = np.array(
            [[float(axis.distribution.to_internal_repr(each[axis.name])) for axis in subspace.axes] for each in params]
        )
        return np.stack(
            [axis.transform(column) for axis, column in zip(subspace.axes, internal.T, strict=True)], axis=1
        )


class InformedTPESampler(TPESampler):
    """:class:`TPESampler` that learns from earlier studies, where there is one direction.

    Args:
        earlier: The earlier studies.
        space: The search space; None where the objective defines it.
        kwargs: As of :class:`TPESampler`.
    """

    def __init__(self, *, earlier: Sequence[EarlierStudy], space: Space | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._space = space
        self.MODEL = functools.partial(InformedModel, earlier=tuple(earlier), space=space)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Values for all of ``search_space``."""
        with one_thread(), self._lock:
            model = self._model(study)
            model.refresh(study, trial)
            if self._begins_anew(model):
                return {}
            params = super().sample_relative(study, trial, search_space)
            if not params and self._space is not None and search_space.keys() == _free(self._space).keys():
                assert isinstance(model, InformedModel)
                params = model.first(search_space, self._rng())
                if params and self._constant_liar:
                    publish(study, trial, params)
            return params

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value for one parameter that is not suggested together with others."""
        with self._lock:
            if self._begins_anew(self._model(study)):
                return self._random_sampler.sample_independent(study, trial, param_name, param_distribution)
            return super().sample_independent(study, trial, param_name, param_distribution)

    def _begins_anew(self, model: ParallelModel) -> bool:
        assert isinstance(model, InformedModel)
        return model.is_misled and model.history.finished < self._n_startup_trials + MISLED

    def prepare(self, study: Study) -> bool:
        """Do a part of what predictions need, some milliseconds. Returns whether nothing is left to do."""
        if self._space is None:
            return True
        model = self._model(study)
        assert isinstance(model, InformedModel)
        with one_thread():
            return model.prepare(_free(self._space))


def _free(space: Space) -> dict[str, BaseDistribution]:
    return {name: found for name, found in space.distributions.items() if not found.single()}
