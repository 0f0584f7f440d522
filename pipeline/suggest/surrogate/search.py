"""The search of one space in one study: learns what changed, renews the model in pieces, and suggests."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.study import Study, StudyDirection

from ...study_changes import Changes
from ..transfer.knowledge import Knowledge
from .encoding import Encoding
from .factor import Factor
from .fit import FIRST_ITERATIONS, LATER_ITERATIONS, fitted
from .kernel import Kernel, Likelihood, Prior
from .model import Model, Offset
from .proposals import Proposer, Spacing, first_places
from .reading import StudyReader
from .subset import chosen_rows, fitted_rows, pending_rows
from .targets import Targets
from .trials import COMPLETE, FAILED, PRUNED, RUNNING, Trials

GROWTH, LEAST_GROWTH = 1.12, 2
"""The model is made anew when the finished trials are so many times as many as last time, and at least so many more."""
SPARE, RESERVE = 40, 24
"""Rows of a factor for suggestions until the model is made anew, and for those that are made meanwhile."""
SURPRISE = 0.5
"""The model is made anew when a result is so many standardized units below all before."""
UNKNOWN, UNKNOWN_SHARE = 4, 32
"""The model is made anew when more results than this, or than this part of the running trials, are of trials that it
does not know."""
PARTIAL_SHARE = 40
"""With pruned trials, the model is made anew when this part of the finished trials is new."""
WORK = 2_000_000
"""Elementary operations, about two milliseconds, that renewing the model may take in one suggestion."""
READING, READING_TRIAL = 500_000, 100
"""About how many operations it takes to read the results of trials, and how many more for each."""
COMPARING = 5_000
"""About how many operations it takes to compare a failed trial with others."""
INFORMED_STARTUP = 3
"""Trials before the first model, at most, where earlier studies say something."""
MOST_WEIGHED = 300
"""Results, an even choice of more, by which earlier studies are weighed."""
BLOCK, LEAST_BLOCK = 64, 8
"""Most and fewest rows that are added to a new factor at a time."""


class Search:
    """The search of one space in one study.

    Args:
        encoding: Of the space.
        directions: Of the study.
        startup: Trials that are drawn at random until so many are complete or pruned.
        rng: Its random numbers.
        knowledge: What earlier studies say; None: nothing.
    """

    def __init__(
        self,
        encoding: Encoding,
        directions: Sequence[StudyDirection],
        startup: int,
        rng: np.random.Generator,
        knowledge: Knowledge | None = None,
    ) -> None:
        self.encoding, self._rng = encoding, rng
        self._knowledge = knowledge or None
        self._startup = min(startup, INFORMED_STARTUP) if self._knowledge else startup
        self.trials = Trials(encoding, directions)
        self._reader = StudyReader(self._learn, len(encoding.names))
        self._prior = Prior.of(len(encoding.names))
        self._reset()

    def _reset(self) -> None:
        self.model: Model | None = None
        self._building: Generator[int, None, None] | None = None
        self._hyperparameters: np.ndarray | None = None
        self._fits, self._fitted_at, self._made_at = 0, 0, 0
        self._due, self._unknown = False, 0
        self._began: list[int] = []  # trials that got a configuration while a new model was made
        self._full = 0
        self._spacing = Spacing(self.trials)
        self._proposer = Proposer(self.encoding, self._rng, self._spacing)

    # -- learning -----------------------------------------------------------------------------------------------------

    def refresh(self, study: Study) -> None:
        """Learn what changed in the study."""
        self._reader.refresh(study)

    def prepare(self, study: Study) -> bool:
        """Read a part of the study, or do a part of the first model, as much as one suggestion may cost.

        Returns:
            Whether nothing is left to do.
        """
        if self._reader.read_part(study) or (self._knowledge is not None and not self._knowledge.prepare()):
            return False
        if self.model is None and self.trials.scored >= self._startup:
            self._renew(urgent=False)
            return self._building is None
        return True

    def _learn(self, changes: Changes) -> None:
        ended, placed = self.trials.apply(changes)
        if changes.whole:
            self._reset()
        ids = {self.trials.row_of[trial._trial_id]: trial._trial_id for trial in changes.trials
               if trial._trial_id in self.trials.row_of}  # fmt: skip
        for row in placed:
            if self.model is not None and not self.model.place(ids[row], row):
                self._join(self.model, row, self._full - SPARE // 2)
        self._began += placed if self._building is not None else []
        for row in ended:
            self._spacing.learn(row)
        if self.model is not None and ended:
            self._tell(self.model, ended)

    def _join(self, model: Model, row: int, most: int) -> None:
        """Keep away from a trial that began without the model, such as another driver's, while there are rows left."""
        if row not in model.row_of and self.trials.state[row] == RUNNING and model.factor.size < most:
            model.join(row)

    def _tell(self, model: Model, ended: Sequence[int]) -> None:
        rows, least = np.array(ended), model.targets.least
        learnt = model.tell(ended)
        targets = np.where(self.trials.state[rows] == COMPLETE, model.targets.at(rows)[:, 0], np.inf)
        self._due = self._due or bool((targets[learnt] < least - SURPRISE).any())
        if not model.targets.partial:
            self._unknown += int((~learnt).sum())
            self._due = self._due or bool((targets[~learnt] < least).any())

    @property
    def _is_due(self) -> bool:
        """Whether the model is to be made anew."""
        if self.model is None or self._due or self.model.factor.size >= self._full:
            return True
        finished = self.trials.finished
        running = int(np.count_nonzero(self.trials.state[: self.trials.size] == RUNNING))
        if self._unknown > max(UNKNOWN, running / UNKNOWN_SHARE) or self._has_grown(self._made_at):
            return True
        partial = self.model.targets.partial or len(self.trials.rows(PRUNED)) > 0
        return partial and finished - self._made_at >= max(1, finished / PARTIAL_SHARE)

    def _has_grown(self, before: int) -> bool:
        return self.trials.finished >= max(GROWTH * before, before + LEAST_GROWTH)

    # -- suggesting ---------------------------------------------------------------------------------------------------

    def suggest(self, trial_id: int, fixed: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Suggest a configuration to a trial, after :meth:`refresh`. ``fixed``: values that it has already."""
        proposer = self._proposer
        if fixed:
            proposer = Proposer(self.encoding.fixing(fixed), self._rng, self._spacing, pooled=False)
        places = self._model_places(trial_id, proposer) if self.trials.scored >= self._startup else None
        if places is None:
            places = first_places(proposer.encoding, self.trials, self._rng, self._knowledge)
        return self.encoding.params(places)

    def _model_places(self, trial_id: int, proposer: Proposer) -> np.ndarray | None:
        self._renew(urgent=self.model is None or self.model.factor.size >= self.model.factor.capacity)
        model = self.model
        if model is None:
            return None
        model.reweigh(self._rng)
        model.settle()
        proposal = proposer.propose(model)
        if proposal is None:
            return None
        candidates, index = proposal
        model.expect(trial_id, candidates, index)
        return np.asarray(candidates.places[index])

    # -- renewing the model -------------------------------------------------------------------------------------------

    def _renew(self, urgent: bool) -> None:
        """Go on making the model anew, as much as one suggestion may cost; all of it where that is ``urgent``."""
        if self._building is None and self._is_due:
            self._building = self._build()
        if self._building is None:
            return
        left = WORK
        for work in self._building:
            left -= work
            if left <= 0 and not urgent:
                return
        self._building = None

    def _build(self) -> Generator[int, None, None]:
        """Make the model anew; yields how much work each piece was."""
        trials, encoding, rng = self.trials, self.encoding, self._rng
        fits = (
            self._hyperparameters is None
            or self._has_grown(self._fitted_at)
            or (self.model is not None and self.model.factor.size >= self._full)
        )
        self._due, self._unknown, self._made_at = False, 0, trials.finished
        targets = Targets(trials)
        yield READING + READING_TRIAL * trials.size
        order = self._order(targets)
        yield READING_TRIAL * trials.size
        if not len(order):
            return
        known = self._hyperparameters if self._hyperparameters is not None else self._prior.mean
        scale = Kernel(encoding.layout, known).scaled
        order = chosen_rows(rng, order, lambda rows: scale(encoding.features(trials.places[rows])))
        features, noise = encoding.features(trials.places[order]), targets.noise(order)
        offset = self._offset(targets)
        yield int(np.count_nonzero(trials.state[order] == FAILED)) * COMPARING
        if fits:
            self._fitted_at = trials.finished
            values = targets.at(order)[:, 0]
            yield from self._fit(features, values if offset is None else values - offset(features), noise)
        kernel = Kernel(encoding.layout, known if self._hyperparameters is None else self._hyperparameters)

        running = np.setdiff1d(trials.rows(RUNNING), order)
        scaled = kernel.scaled(encoding.features(trials.places[running]))
        pending = pending_rows(rng, running, scaled, kernel.scaled(features))
        self._began = []
        rows = np.concatenate([order, pending])
        noise = kernel.noise + np.concatenate([noise, targets.noise(pending)])
        factor = Factor(kernel, len(rows) + SPARE + RESERVE, targets.columns)
        dimensions = encoding.layout.dimensions
        block = int(np.clip(WORK // (8 * dimensions * (len(rows) + 1)), LEAST_BLOCK, BLOCK))
        for start in range(0, len(rows), block):
            part = slice(start, start + block)
            factor.extend(encoding.features(trials.places[rows[part]]), noise[part])
            yield (start + block) * block * (start // 8 + 8 * dimensions)
        model = Model(trials, targets, factor, rows, offset)
        for row in self._began:
            self._join(model, row, len(rows) + SPARE)
        self.model, self._full = model, len(rows) + SPARE

    def _offset(self, targets: Targets) -> Offset | None:
        """What earlier studies say, weighed by the results so far; None: nothing."""
        if self._knowledge is None:
            return None
        rows = self.trials.rows(COMPLETE)
        rows = rows[:: max(1, -(-len(rows) // MOST_WEIGHED))]
        said = self._knowledge.predict(self.encoding.features(self.trials.places[rows]))
        self._knowledge.weigh(said, targets.at(rows)[:, 0])
        return self._knowledge.as_of_now()

    def _order(self, targets: Targets) -> np.ndarray:
        """The trials that have a target, the best first: first those that break no constraint."""
        rows = self.trials.rows(COMPLETE, PRUNED, FAILED, *([RUNNING] if targets.partial else []))
        values = targets.at(rows)[:, 0]
        rows, values = rows[~np.isnan(values)], values[~np.isnan(values)]
        return np.asarray(rows[np.lexsort((rows, values, self.trials.violations(rows)))])

    def _fit(self, features: np.ndarray, values: np.ndarray, noise: np.ndarray) -> Generator[int, None, None]:
        """Fit the hyperparameters to some rows of a model, the best of which come first."""
        part = fitted_rows(self._rng, len(features), len(self.encoding.names))
        likelihood = Likelihood(self.encoding.layout, self._prior, features[part], values[part], noise[part])
        yield likelihood.work
        starts = [self._prior.mean]
        if self._hyperparameters is not None:
            starts = [self._hyperparameters, self._prior.mean][: 1 + self._fits % 2]
        iterations = FIRST_ITERATIONS if self._hyperparameters is None else LATER_ITERATIONS
        self._fits += 1
        self._hyperparameters = yield from fitted(likelihood, starts, iterations)
