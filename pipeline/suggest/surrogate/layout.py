"""Which features of an encoded configuration belong to which parameter."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Layout:
    """The features of a space, parameter by parameter: one for a number, one for each choice of a category.

    Args:
        counts: The number of features of each parameter.

    Attributes:
        starts: The first feature of each parameter.
        owner: The parameter of each feature.
    """

    counts: tuple[int, ...]

    @property
    def dimensions(self) -> int:
        """The number of parameters."""
        return len(self.counts)

    @cached_property
    def width(self) -> int:
        """The number of features."""
        return sum(self.counts)

    @cached_property
    def starts(self) -> np.ndarray:
        """The first feature of each parameter."""
        return np.concatenate([[0], np.cumsum(self.counts)])[:-1].astype(int)

    @cached_property
    def owner(self) -> np.ndarray:
        """The parameter of each feature."""
        return np.repeat(np.arange(self.dimensions), self.counts)

    def parts(self) -> list[slice]:
        """The features of each parameter."""
        return [slice(start, start + count) for start, count in zip(self.starts.tolist(), self.counts, strict=True)]
