"""Which kinds of trials there are, where they may run, and what share of each pool they should get.

Approximate: kinds and their mix are those of the last ``RECENT`` trials that began to wait. A kind may run in a pool if
most of its trials may.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .costs import Costs
from .features import Params
from .kinds import MOST_KINDS, clusters, nearest
from .shares import Shares, solve
from .waiting import PoolRoom

RECENT = 400
"""Kinds and their mix are taken from so many trials."""

ATTEMPTS_A_KIND = 1
"""There are no more kinds than one for so many ended attempts in each pool: the first few tell little."""

FAR = 30.0
"""Added to the log seconds in pools where a trial should not run: trials that may run elsewhere are other kinds."""

Candidate = tuple[Params, frozenset[str] | None]
"""Parameters, and the pools that the study file allows; None: all."""


@dataclass(frozen=True)
class Plan:
    """Kinds and shares at one moment.

    Attributes:
        pools: Their names, in the order of the columns; those with workers, and those that are expected to have some.
        trials: The parameters that the kinds are taken from.
        labels: By trial, its kind.
        centers: By kind and pool: log seconds, with ``FAR`` added where it should not run.
        seconds: By kind and pool, mean predicted seconds.
        mix: By kind, the part of trials that are of it.
        may: By kind and pool, whether it should run there.
        seen: By kind and pool, how many ended there, as of the last fit.
        shares: The linear program's solution; None where it has none.
    """

    pools: tuple[str, ...]
    trials: list[Params]
    labels: np.ndarray
    centers: np.ndarray
    seconds: np.ndarray
    mix: np.ndarray
    may: np.ndarray
    seen: np.ndarray
    shares: Shares | None


class Planner:
    """Makes plans from learned costs.

    Args:
        costs: What trials cost, as it is learned meanwhile.

    Attributes:
        costs: What trials cost.
        recent: The last trials that began to wait.
        absent: Pools that have no workers at the moment, and will have some.
        returning: Those of them of which it is known when.

    Example:
        >>> costs = Costs(["cpu", "gpu"])
        >>> for model, on_cpu, on_gpu in [("cnn", 100.0, 5.0), ("svm", 10.0, 10.0)] * 12:
        ...     costs.note({"model": model}, "cpu", on_cpu)
        ...     costs.note({"model": model}, "gpu", on_gpu)
        >>> planner = Planner(costs)
        >>> plan = planner.plan({"cpu": PoolRoom(10), "gpu": PoolRoom(1)})
        >>> [plan.trials[list(plan.labels).index(kind)]["model"] for kind in (0, 1)]
        ['svm', 'cnn']
        >>> plan.shares.shares.round(1).tolist()
        [[0.3, 0.0], [0.7, 1.0]]
    """

    def __init__(self, costs: Costs) -> None:
        self.costs = costs
        self._begun = False
        self.recent: deque[Candidate] = deque(maxlen=RECENT)
        self.absent: Mapping[str, PoolRoom] = {}

    @property
    def returning(self) -> dict[str, PoolRoom]:
        return {name: room for name, room in self.absent.items() if room.back is not None}

    def recall(self, candidate: Candidate) -> None:
        """A trial ended before: those that will come are like it. Without any, all attempts of the costs are."""
        self._begun = True
        self.recent.append(candidate)

    def note(self, candidate: Candidate) -> None:
        """A trial begins to wait."""
        self._begin()
        self.recent.append(candidate)

    def _begin(self) -> None:
        """Where a campaign goes on, the trials that ended before are like those that will come."""
        if not self._begun:
            self._begun = True
            self.recent.extend((params, None) for params in self.costs.latest(RECENT))

    def plan(self, rooms: Mapping[str, PoolRoom]) -> Plan | None:
        """Kinds and shares as of now; None while nothing is known."""
        self._begin()
        params = [each for each, _ in self.recent]
        pools = (*rooms, *self.returning)
        vectors = self._vectors(params, pools) if rooms else None
        if vectors is None:
            return None
        usable = self.usable(self.recent, {**rooms, **self.returning, **self.absent})[:, : len(pools)]
        places = np.where(usable, vectors, vectors + FAR)
        most = min(MOST_KINDS, 1 + self.costs.count // (ATTEMPTS_A_KIND * len(rooms)))
        centers = clusters(places, most)
        labels = nearest(places, centers)
        kinds = sorted(set(labels.tolist()))
        centers, labels = centers[kinds], np.searchsorted(kinds, labels)
        members = [labels == kind for kind in range(len(kinds))]
        seconds = np.array([np.exp(vectors[which]).mean(axis=0) for which in members])
        may = np.array([usable[which].mean(axis=0) > 0.5 for which in members])
        mix = np.array([which.mean() for which in members])
        workers = np.array([float(rooms[name].workers) if name in rooms else 0.0 for name in pools])
        shares = solve(seconds, workers, mix, may & (workers > 0))
        seen = self._count(seconds, pools, *self.costs.attempts())
        return Plan(pools, params, labels, centers, seconds, mix, may, seen, shares)

    def count(self, plan: Plan, attempts: Sequence[tuple[Params, str]]) -> np.ndarray:
        """How many attempts, each a trial's parameters and a pool, are of each kind in each pool."""
        known = self.costs.log_seconds([params for params, _ in attempts]) if attempts else None
        if known is None:
            return np.zeros(plan.seconds.shape, dtype=int)
        where = np.array([self.costs.pools.index(pool) for _, pool in attempts])
        return self._count(plan.seconds, plan.pools, known, where)

    def kinds_of(self, plan: Plan, many: Sequence[Candidate], usable: np.ndarray) -> list[int]:
        """The kinds of trials, which may run where ``usable`` says."""
        vectors = self._vectors([params for params, _ in many], plan.pools)
        assert vectors is not None
        found: list[int] = nearest(np.where(usable, vectors, vectors + FAR), plan.centers).tolist()
        return found

    def alike(self, plan: Plan, many: Sequence[Params]) -> list[int]:
        """The kinds that trials are most like in their seconds, wherever they may run."""
        vectors = self._vectors(many, plan.pools)
        return [] if vectors is None else nearest(vectors, np.log(plan.seconds)).tolist()

    def usable(self, many: Sequence[Candidate], rooms: Mapping[str, PoolRoom]) -> np.ndarray:
        """Which trials should run in which pools.

        A trial should not run where its memory probably does not suffice, and not where trials like it failed by memory
        twice. Where nothing is left of the pools that the study file allows, it may run in the largest of those that
        are not closed; where all are closed, in all that are allowed.
        """
        params = [each for each, _ in many]
        columns = self._columns(tuple(rooms))
        allowed = np.array([[which is None or name in which for name in rooms] for _, which in many])
        limits = np.array([math.inf if room.memory is None else room.memory for room in rooms.values()])
        memory = self.costs.log_memory(params)
        fits = np.ones(allowed.shape, dtype=bool) if memory is None else memory[:, columns] <= np.log(limits)
        is_open = ~self.costs.closed(params)[:, columns]
        largest = limits >= np.where(allowed & is_open, limits, 0.0).max(axis=1, keepdims=True)
        found = np.zeros(allowed.shape, dtype=bool)
        for choice in (fits & is_open, largest & is_open, np.ones(allowed.shape, dtype=bool)):
            nowhere = ~found.any(axis=1)
            found[nowhere] = (choice & allowed)[nowhere]
        return found

    def why_not(self, many: Sequence[Candidate], pool: str, rooms: Mapping[str, PoolRoom]) -> str:
        """Why trials of a kind do not run in a pool, as a sentence without its subject."""
        params = [each for each, _ in many]
        if sum(which is not None and pool not in which for _, which in many) * 2 > len(many):
            return "the study file names other pools for them"
        if self.costs.closed(params)[:, self._columns((pool,))].mean() > 0.5:
            return "trials like these failed there by memory twice"
        return "they probably need more memory than a trial has there"

    def _count(self, seconds: np.ndarray, pools: tuple[str, ...], known: np.ndarray, where: np.ndarray) -> np.ndarray:
        """How many attempts of each kind ended in each pool, from their log seconds and the indices of their pools."""
        columns = self._columns(pools)
        # Of what ended it is not known where it was allowed, so seconds alone tell the kind.
        labels = nearest(known[:, columns], np.log(seconds))
        found = np.zeros(seconds.shape, dtype=int)
        for place, column in enumerate(columns):
            found[:, place] = np.bincount(labels[where == column], minlength=len(found))
        return found

    def _columns(self, pools: tuple[str, ...]) -> list[int]:
        """The columns of pools in the tables of the costs."""
        return [self.costs.pools.index(name) for name in pools]

    def _vectors(self, many: Sequence[Params], pools: tuple[str, ...]) -> np.ndarray | None:
        """Log seconds, by trial and pool."""
        found = self.costs.log_seconds(many) if many else None
        return None if found is None else found[:, self._columns(pools)]
