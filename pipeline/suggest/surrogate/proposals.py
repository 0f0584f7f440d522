"""Chooses the next configuration: draws candidates, refines the best ones, and takes one that no trial has."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..transfer.knowledge import Knowledge
from .encoding import Encoding
from .model import Model
from .pool import Candidates
from .trials import Trials

UNIFORM, NEAR = 100, 150
"""Candidates of a pool that are drawn uniformly, and near the best trials."""
CENTRES, DECAY = 20, 0.7
"""The best trials that candidates are drawn near, and the weight of each compared with the one before."""
POOL_SCALES = (0.003, 0.4)
"""The least and the largest standard deviation of steps from these trials, in units of the range."""
PARTS, FIRST_PARTS = 4, 2
"""In so many parts a pool is drawn, one for each suggestion that uses it; and with how many it begins."""
ROUNDS = (0.1, 0.033, 0.011)
"""The largest standard deviation of the steps of each round of refinement; the least is a tenth of it."""
REFINED, PERTURBED = 4, 10
"""The best candidates that are refined in each round, and how many new ones are drawn near each."""
WIDE_SHARE, WIDE = 0.2, 200
"""The share of suggestions that are the best of fresh uniform candidates, and how many of these."""
CLOSE_SHARE, CLOSE, CLOSE_CENTRES, CLOSE_SCALES, CLOSE_FROM = 0.4, 60, 3, (0.002, 0.05), 200
"""The share of suggestions that begin very near the best trials, with how many candidates, near how many of them, the
least and the largest step, and from how many finished trials on: without these a long search stalls."""
TRIES = 3
"""How many times as many candidates as wanted are drawn where constraints forbid some."""
WHOLE, LEAST_SHARE = 20, 0.25
"""In spaces of more parameters, candidates are fewer in proportion, since each costs more, but never below a share."""
LEAST_DISTANCE = 0.001
"""A distance that candidates must keep from all rows counts from here on; see :class:`Spacing`."""


INFORMED_SHARE, INFORMED = 0.5, 30
"""The share of the first configurations that earlier studies choose, each of so many."""


class Spacing:
    """How far apart configurations must be for their results to differ.

    Two trials with exactly the same result at different places lie on one step of a staircase; the model, which knows
    no steps, would go on to suggest configurations there. The distance grows with each such pair, and shrinks with
    each result that is unlike all others.

    Attributes:
        distance: Between features.
    """

    GROWTH, SHRINKING, MOST = 1.5, 0.97, 0.5
    KEPT = 50_000
    """Results that are remembered."""

    def __init__(self, trials: Trials) -> None:
        self._trials = trials
        self.distance = 0.0
        self._rows: dict[float, list[int]] = {}
        self._count = 0

    def learn(self, row: int) -> None:
        """Compare a trial's result with those before: its first report where it has some, else its value."""
        reports = self._trials.reports.get(row)
        value = reports[min(reports)] if reports else float(self._trials.losses[row, 0])
        if not np.isfinite(value) or self._count >= self.KEPT:
            return
        self._count += 1
        tied = self._rows.setdefault(value, [])
        if tied:
            features = self._trials.encoding.features(self._trials.places[[row, *tied[-20:]]])
            distances = np.sqrt(((features[1:] - features[0]) ** 2).sum(axis=1))
            elsewhere = distances[distances > 1e-9]
            if len(elsewhere):
                self.distance = min(self.MOST, max(self.distance, self.GROWTH * float(elsewhere.min())))
        else:
            self.distance *= self.SHRINKING
        tied.append(row)


def random_places(encoding: Encoding, trials: Trials, rng: np.random.Generator, tries: int = 100) -> np.ndarray:
    """A configuration drawn uniformly: allowed, and one that no trial has, if such a one is found."""
    drawn = encoding.draw(rng, tries)
    allowed: np.ndarray | None = None
    places: np.ndarray
    for places in drawn:
        if encoding.feasible(places[None, :])[0]:
            if not trials.tried(places):
                return places
            allowed = places if allowed is None else allowed
    return np.asarray(drawn[0]) if allowed is None else allowed


def first_places(
    encoding: Encoding, trials: Trials, rng: np.random.Generator, knowledge: Knowledge | None
) -> np.ndarray:
    """A configuration without a model: uniform, or as often the best of some by what earlier studies say."""
    if knowledge is None or rng.random() >= INFORMED_SHARE:
        return random_places(encoding, trials, rng)
    drawn = encoding.draw(rng, INFORMED)
    order = np.argsort(knowledge.mean(encoding.features(drawn)), kind="stable")
    allowed = (row for row in drawn[order] if encoding.feasible(row[None, :])[0] and not trials.tried(row))
    found = next(allowed, None)
    return random_places(encoding, trials, rng) if found is None else np.asarray(found)


class Proposer:
    """Chooses configurations by a model.

    Args:
        encoding: Of the space, with the values that all candidates are to have.
        rng: Its random numbers.
        spacing: How far apart configurations must be.
        pooled: Whether candidates are kept from one suggestion to the next.
    """

    def __init__(self, encoding: Encoding, rng: np.random.Generator, spacing: Spacing, *, pooled: bool = True) -> None:
        self.encoding, self._rng, self._spacing, self._pooled = encoding, rng, spacing, pooled
        self._best: float | None = None
        self._share = min(1.0, max(LEAST_SHARE, WHOLE / max(1, len(encoding.names))))

    def propose(self, model: Model) -> tuple[Candidates, int] | None:
        """The next configuration, as one of some candidates; None where all of them were tried.

        Args:
            model: Settled.
        """
        kind, order = self._rng.random() if self._pooled else 1.0, model.order
        if kind < WIDE_SHARE:
            found = model.candidates(self._allowed(lambda count: self.encoding.draw(self._rng, count), WIDE))
            return self._untried(model, found)
        if kind < WIDE_SHARE + CLOSE_SHARE and model.trials.finished >= CLOSE_FROM and len(order):
            centres = model.trials.places[order[:CLOSE_CENTRES]]
            found = model.candidates(self._around(centres, CLOSE, CLOSE_SCALES))
        else:
            found = self._pool(model, order)
        return self._untried(model, self._refined(model, found))

    def _pool(self, model: Model, order: np.ndarray) -> Candidates:
        """The model's pool, a part of which is drawn anew each time: all at once would hold this suggestion up."""
        if not self._pooled:
            found = self._drawn(model, order, PARTS)
            self._best = float(found.expected.min())  # all of them may be worse than the best trial
            return found
        if model.pool is None:
            model.pool = self._drawn(model, order, FIRST_PARTS)
        else:
            size, new = len(model.pool), self._drawn(model, order, 1)
            kept = min(size, round((PARTS - 1) / PARTS * self._share * (UNIFORM + NEAR)))
            model.pool = model.pool.take(np.arange(size - kept, size)).joined(new)
        return model.pool

    def _drawn(self, model: Model, order: np.ndarray, parts: int) -> Candidates:
        places = [self._allowed(lambda count: self.encoding.draw(self._rng, count), UNIFORM * parts // PARTS)]
        if len(order):
            places.append(self._around(model.trials.places[order[:CENTRES]], NEAR * parts // PARTS, POOL_SCALES, DECAY))
        return model.candidates(np.concatenate(places))

    def _around(self, centres: np.ndarray, count: int, scales: tuple[float, float], decay: float = 1.0) -> np.ndarray:
        """Candidates near some configurations, near the first most of all where there is a ``decay``."""
        weights = decay ** np.arange(len(centres))

        def draw(number: int) -> np.ndarray:
            chosen = self._rng.choice(len(centres), size=number, p=weights / weights.sum())
            return self.encoding.mutate(self._rng, centres[chosen], self._scales(number, scales))

        return self._allowed(draw, count)

    def _scales(self, count: int, scales: tuple[float, float]) -> np.ndarray:
        low, high = np.log(scales)
        found: np.ndarray = np.exp(low + (high - low) * self._rng.random(count))
        return found

    def _allowed(self, draw: Callable[[int], np.ndarray], count: int) -> np.ndarray:
        """``count`` configurations that the constraints allow, or as many as are found."""
        count = max(1, round(self._share * count))
        first = draw(count)
        found = [first[self.encoding.feasible(first)]]
        for _ in range(TRIES):
            missing = count - sum(map(len, found))
            if missing <= 0:
                break
            more = draw(count)
            found.append(more[self.encoding.feasible(more)][:missing])
        allowed = np.concatenate(found)
        return allowed if len(allowed) else first

    def _refined(self, model: Model, found: Candidates) -> Candidates:
        """The candidates, and others near the best of them, in rounds of smaller and smaller steps."""
        scores = model.scores(found, self._best)
        for largest in ROUNDS:
            best = np.argsort(-scores, kind="stable")[:REFINED]
            around = np.repeat(found.places[best], max(1, round(self._share * PERTURBED)), axis=0)
            places = self.encoding.mutate(self._rng, around, self._scales(len(around), (largest / 10, largest)))
            places = places[self.encoding.feasible(places)]
            if not len(places):
                continue
            new = model.candidates(places)
            scores = np.concatenate([scores[best], model.scores(new, self._best)])
            found = found.take(best).joined(new)
        return found

    def _untried(self, model: Model, found: Candidates) -> tuple[Candidates, int] | None:
        """The best candidate that no trial has; one that keeps its distance, if there is one."""
        order = np.argsort(-model.scores(found, self._best), kind="stable")
        near: int | None = None
        for index in order.tolist():
            if model.trials.tried(found.places[index]):
                continue
            if self._spacing.distance <= LEAST_DISTANCE or self._is_apart(model, found.features[index]):
                return found, index
            near = index if near is None else near
        return None if near is None else (found, near)

    def _is_apart(self, model: Model, features: np.ndarray) -> bool:
        squares = ((model.factor.features - features) ** 2).sum(axis=1)
        return bool(squares.min() >= self._spacing.distance**2)
