"""What a trial costs: its seconds and its peak memory, by its parameters and the pool, learned from attempts.

Nothing is known in advance. Each attempt that ends is noted, and the model of :mod:`.regression` is fitted to the
logarithms. Nothing here reads a clock or draws a random number, so the same attempts in the same order give the same
predictions.

Approximate: seconds are a product of powers of the numbers and of factors of the categories, with squares and products
in the exponent, which is right for layers times units and wrong for a threshold in the middle of a range. An attempt of
which steps are known is extrapolated from them, as if all its time went into steps. Predictions move only when the
number of attempts has grown by a tenth.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .features import Params
from .learner import Learner, Observation

LIKE = math.log(1.5)
"""Trials are alike if their predicted seconds differ by less than this factor in every pool."""

ENOUGH_FOR_MEMORY = 5
"""Peak memory is not predicted from fewer attempts: a guess would keep trials away from pools that can run them."""

QUANTILE = 1.645
"""Of the normal distribution: 95 %."""

LIGHTER = 0.9
"""A trial that needs less memory than this share of what a failed one needed may run where that one failed."""

CLOSING = 2
"""So many failures by memory close a pool."""

REMEMBERED = 100
"""Number of last attempts that the mean duration is taken from."""

LEAST_SECONDS = 1e-3


@dataclass(frozen=True)
class Prediction:
    """What is known of a trial's duration in a pool.

    Attributes:
        seconds: The median.
        factor: Two trials in three take between ``seconds / factor`` and ``seconds * factor``.
        seen: How many trials like it ended in this pool, as of the last fit.
    """

    seconds: float
    factor: float
    seen: int


class Costs:
    """Costs of trials in pools; see the module.

    Args:
        pools: Their names. A pool that is noted later is added.

    Attributes:
        pools: The pools' names, in the order of all columns.
        mean: Mean of the seconds of the last attempts, whole ones and others; None before the first.

    Example:
        >>> costs = Costs(["cpu", "gpu"])
        >>> costs.seconds({"model": "cnn"}, "gpu") is None
        True
        >>> for _ in range(8):
        ...     costs.note({"model": "cnn"}, "cpu", 100.0)
        ...     costs.note({"model": "cnn"}, "gpu", 5.0)
        ...     costs.note({"model": "mlp"}, "gpu", 4.0)
        >>> found = costs.predict({"model": "cnn"}, "gpu")
        >>> round(found.seconds), found.seen
        (5, 16)
    """

    def __init__(self, pools: Sequence[str]) -> None:
        self.pools = list(pools)
        self.mean: float | None = None
        self._seconds = Learner(offset=4.0)
        self._memory = Learner(offset=0.1)
        self._last: deque[float] = deque(maxlen=REMEMBERED)
        self._failures: list[tuple[Params, int]] = []
        self._cached: tuple[object, np.ndarray, np.ndarray] | None = None

    # -- learning -----------------------------------------------------------------------------------------------------

    def note(
        self,
        params: Params,
        pool: str,
        seconds: float,
        *,
        censored: bool = False,
        steps: float | None = None,
        of_steps: float | None = None,
        memory: float | None = None,
    ) -> None:
        """Learn from an attempt that ended.

        Args:
            params: The trial's parameters.
            pool: Where it ran.
            seconds: How long.
            censored: It was pruned, killed or yielded, so a whole trial takes at least that long.
            steps: How many steps it made. With ``of_steps``, a whole trial's seconds are extrapolated from them, and no
                longer censored.
            of_steps: How many steps a whole trial has.
            memory: Peak memory in bytes, where that is known.
        """
        self._last.append(seconds)
        self.mean = sum(self._last) / len(self._last)
        if steps and of_steps and steps > 0:
            seconds, censored = seconds * of_steps / steps, False
        place = self._place(pool)
        self._seconds.add(Observation(params, place, math.log(max(seconds, LEAST_SECONDS)), censored))
        if memory is not None and memory > 0:
            self._memory.add(Observation(params, place, math.log(memory), censored=False))

    def failed_by_memory(self, params: Params, pool: str, limit: float | None = None) -> None:
        """Learn from an attempt that ended because it wanted more memory than there was.

        Args:
            params: The trial's parameters.
            pool: Where it ran.
            limit: The memory that it could have, in bytes, where that is known: a trial like it needs more.
        """
        place = self._place(pool)
        self._failures.append((params, place))
        if limit is not None and limit > 0:
            self._memory.add(Observation(params, place, math.log(limit), censored=True))

    def running(self, attempts: Sequence[tuple[Params, str, float, bool]]) -> None:
        """Learn from attempts that have not ended, until this is called again.

        Without this, long trials would be taken for short ones until the first of them ends.

        Args:
            attempts: By attempt, the trial's parameters, the pool, seconds, and whether a whole trial takes longer:
                where the seconds are those for which it has run, and not what its reports say of a whole trial.
        """
        self._seconds.running(
            [
                Observation(params, self._place(pool), math.log(max(seconds, LEAST_SECONDS)), censored)
                for params, pool, seconds, censored in attempts
            ]
        )

    def refit(self) -> None:
        """Let predictions follow from all attempts, also where few have ended since the last fit.

        For tables: in a campaign the model is fitted more and more rarely.
        """
        self._seconds.refit()
        self._memory.refit()

    def add_pool(self, pool: str) -> None:
        """There is a pool of this name, too; nothing happens if it is known."""
        if pool not in self.pools:
            self.pools.append(pool)

    def _place(self, pool: str) -> int:
        self.add_pool(pool)
        return self.pools.index(pool)

    # -- one trial ----------------------------------------------------------------------------------------------------

    def seconds(self, params: Params, pool: str) -> float | None:
        """Expected seconds of a whole trial; None while nothing is known."""
        found = self.predict(params, pool)
        return None if found is None else found.seconds * math.exp(math.log(found.factor) ** 2 / 2)

    def predict(self, params: Params, pool: str) -> Prediction | None:
        """What is known of a whole trial's duration; None while nothing is."""
        place = self._place(pool)
        vectors = self.log_seconds([params])
        if vectors is None:
            return None
        spread = float(self.log_spread([params])[0, place])
        return Prediction(math.exp(vectors[0, place]), math.exp(spread), int(self.seen(vectors)[0, place]))

    def memory(self, params: Params, pool: str) -> float | None:
        """95 % quantile of the peak memory, in bytes; None while too little is known."""
        place = self._place(pool)
        found = self.log_memory([params])
        return None if found is None else math.exp(found[0, place])

    # -- many trials --------------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Changes when predictions may have moved by a tenth, or a pool may be closed to some trials."""
        self._seconds.update(len(self.pools))
        self._memory.update(len(self.pools))
        return self._seconds.changes + self._memory.changes + len(self._failures)

    @property
    def count(self) -> int:
        """Attempts in all."""
        return self._seconds.count

    def log_seconds(self, many: Sequence[Params]) -> np.ndarray | None:
        """Logarithms of the median seconds, by trial and pool; None while nothing is known."""
        if not self._seconds.update(len(self.pools)):
            return None
        return self._seconds.means(many)

    def log_spread(self, many: Sequence[Params]) -> np.ndarray:
        """Standard deviations of the log seconds, by trial and pool; only where :meth:`log_seconds` knows something."""
        found: np.ndarray = np.hypot(self._seconds.noise, self._seconds.deviations(many))
        return found

    def log_memory(self, many: Sequence[Params]) -> np.ndarray | None:
        """Logarithms of the 95 % quantile of the peak memory, by trial and pool; None while too little is known."""
        if self._memory.count < ENOUGH_FOR_MEMORY or not self._memory.update(len(self.pools)):
            return None
        noise = self._memory.noise
        # Where nothing is known, this is no wider than where something is: else new kinds of trials would run nowhere.
        unsure = np.minimum(self._memory.deviations(many), noise)
        found: np.ndarray = self._memory.means(many) + QUANTILE * np.hypot(noise, unsure)
        return found

    def seen(self, vectors: np.ndarray) -> np.ndarray:
        """How many attempts ended that are like trials with these log seconds, by trial and pool."""
        known, pools = self.attempts()
        found = np.zeros(vectors.shape)
        for place, vector in enumerate(vectors):
            alike = (np.abs(known - vector) < LIKE).all(axis=1)
            found[place] = np.bincount(pools[alike], minlength=len(self.pools))[: vectors.shape[1]]
        return found

    def attempts(self) -> tuple[np.ndarray, np.ndarray]:
        """Log seconds by attempt and pool, and the index of the pool of each, of those that the model learned from."""
        if self._cached is None or self._cached[0] != self._seconds.fits:
            latest = self._seconds.latest
            known = self._seconds.means([each.params for each in latest])
            self._cached = (self._seconds.fits, known, np.array([each.pool for each in latest]))
        return self._cached[1], self._cached[2]

    def latest(self, most: int) -> list[Params]:
        """The parameters of the last attempts."""
        return [each.params for each in self._seconds.kept[-most:]]

    @property
    def ended(self) -> list[tuple[Params, str]]:
        """The parameters and the pool of each of the last attempts."""
        return [(each.params, self.pools[each.pool]) for each in self._seconds.kept]

    def closed(self, many: Sequence[Params]) -> np.ndarray:
        """Which pools are closed to which trials, since trials like them failed there by memory; by trial and pool."""
        found = np.zeros((len(many), len(self.pools)))
        if not self._failures or not many:
            return found > 0
        failed = [params for params, _ in self._failures]
        times, memory = self.log_seconds([*many, *failed]), self.log_memory([*many, *failed])
        for place, (_, pool) in enumerate(self._failures):
            alike = np.ones(len(many), dtype=bool)
            if times is not None:
                alike &= (np.abs(times[: len(many)] - times[len(many) + place]) < LIKE).all(axis=1)
            if memory is not None:
                alike &= memory[: len(many), pool] >= memory[len(many) + place, pool] + math.log(LIGHTER)
            found[:, pool] += alike
        return found >= CLOSING
