"""Predicts the scores of configurations in each earlier study: one regression a study, over the same random features.

The features are those of a Matern kernel (Rahimi and Recht, *Random Features for Large-Scale Kernel Machines*, NIPS
2007), so that a prediction costs the same however many studies and trials there are. The lengths of the kernel, one for
each parameter, and the noise are those that predict left-out trials of all studies best.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

PAIRS = 160
"""Pairs of random features, a sine and a cosine each."""
FREEDOM = 5.0
"""Degrees of freedom of the frequencies: those of the Matern 5/2 kernel."""
LENGTH = 0.6
"""The length of the kernel along each parameter to begin with, in units of its range, for few parameters."""
FACTORS = (0.5, 2.0, 4.0)
"""The lengths that are tried, in turn for each parameter, in units of the one so far."""
MOST_FITTED, MOST_STUDIES = 80, 8
"""Trials of a study, and studies, by which the lengths are chosen."""
NOISES = (0.01, 0.03, 0.1, 0.3, 1.0)
"""The variances of the noise that are tried, in units of the variance of the scores."""
MOST_TRIED = 60
"""Lengths that are tried at most; each takes some milliseconds."""


class Experts:
    """The regressions, one a study.

    Args:
        tables: By study, the features of its trials.
        scores: By study, their scores.
        masks: By study, which features it knows; it says the same whatever the others are.
        groups: The features of each parameter, which have one length.
        rng: Its random numbers.
    """

    def __init__(
        self,
        tables: Sequence[np.ndarray],
        scores: Sequence[np.ndarray],
        masks: Sequence[np.ndarray],
        groups: Sequence[slice],
        rng: np.random.Generator,
    ) -> None:
        self._tables = [table * mask for table, mask in zip(tables, masks, strict=True)]
        self._scores, self._groups = list(scores), list(groups)
        width = len(masks[0]) if masks else 0
        directions = rng.standard_normal((width, PAIRS))
        self._frequencies = directions / np.sqrt(rng.chisquare(FREEDOM, PAIRS) / FREEDOM)
        self._lengths = np.full(width, LENGTH * np.sqrt(max(1.0, len(groups) / 4)))
        self._noise = NOISES[2]
        self._patterns: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # mask, its studies, their weights
        self._masks = list(masks)
        self._fitting: Iterator[None] | None = self._fit()

    @property
    def count(self) -> int:
        """The number of studies."""
        return len(self._tables)

    def prepare(self) -> bool:
        """Do a part of the fit, some milliseconds. Returns whether nothing is left to do."""
        if self._fitting is None:
            return True
        if next(self._fitting, self) is self:
            self._fitting = None
        return self._fitting is None

    def predict(self, features: np.ndarray) -> np.ndarray:
        """The scores of configurations, by configuration and study."""
        while not self.prepare():
            pass
        found = np.zeros((len(features), self.count))
        for mask, studies, weights in self._patterns:
            found[:, studies] = self._waves(features * mask, self._lengths) @ weights
        return found

    def _waves(self, features: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Random features, whose products are about the kernel's values."""
        phases = features @ (self._frequencies / lengths[:, None])
        found: np.ndarray = np.concatenate([np.cos(phases), np.sin(phases)], axis=1) / np.sqrt(PAIRS)
        return found

    # -- fitting ------------------------------------------------------------------------------------------------------

    def _fit(self) -> Iterator[None]:
        """Choose lengths and noise, then the weights of all features; yields after each piece."""
        chosen = range(0, self.count, max(1, -(-self.count // MOST_STUDIES)))
        parts = []
        for study in chosen:
            table, scores = self._tables[study], self._scores[study]
            rows = np.linspace(0, len(scores) - 1, min(len(scores), MOST_FITTED)).round().astype(int)
            parts.append((table[rows], scores[rows]))
        least, self._noise = self._error(parts, self._lengths)
        yield
        tried = 0
        for group in self._groups:
            for factor in FACTORS:
                if (tried := tried + 1) > MOST_TRIED:
                    break
                lengths = self._lengths.copy()
                lengths[group] *= factor
                error, noise = self._error(parts, lengths)
                if error < least:
                    least, self._lengths, self._noise = error, lengths, noise
                yield
        for study, mask in enumerate(self._masks):
            self._learn(study, mask)
            yield

    def _error(self, parts: Sequence[tuple[np.ndarray, np.ndarray]], lengths: np.ndarray) -> tuple[float, float]:
        """The least mean squared error of left-out trials, over the noises, and the noise that has it."""
        errors = np.zeros(len(NOISES))
        for table, scores in parts:
            waves = self._waves(table, lengths)
            values, vectors = np.linalg.eigh(waves @ waves.T)
            turned = vectors.T @ (scores - scores.mean())
            for i, noise in enumerate(NOISES):
                inverse = 1.0 / (np.maximum(values, 0.0) + noise)
                errors[i] += np.mean(((vectors @ (inverse * turned)) / ((vectors**2) @ inverse)) ** 2)
        best = int(errors.argmin())
        return float(errors[best]), NOISES[best]

    def _learn(self, study: int, mask: np.ndarray) -> None:
        """The weights of one study's features."""
        waves = self._waves(self._tables[study], self._lengths)
        weights = np.linalg.solve(waves.T @ waves + self._noise * np.eye(2 * PAIRS), waves.T @ self._scores[study])
        for i, (known, studies, others) in enumerate(self._patterns):
            if (known == mask).all():
                joined = np.concatenate([others, weights[:, None]], axis=1)
                self._patterns[i] = known, np.append(studies, study), joined
                return
        self._patterns.append((mask, np.array([study]), weights[:, None]))
