"""Kinds: groups of trials that cost about the same in each pool, and their names in words.

Approximate: trials whose cost changes smoothly with a parameter have no kinds by nature; they are cut into at most
``MOST_KINDS`` of about equal width.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from .features import Params, is_number

MOST_KINDS = 8

WIDTH = 0.2
"""Trials are one kind if the logarithms of their seconds differ from its mean by no more than this (root mean square
over the trials, in the pool where it is largest)."""

TURNS = 8
"""How often trials move to the nearest kind after one was added."""

GOOD = 0.95
"""A name is long enough when so large a part of its trials are the kind's, and of the kind's trials has the name."""

MOST_VALUES = 16
"""Most values or bounds of a parameter that are tried in names."""

MOST_WORDS = 3
"""Most conditions of a name."""


def clusters(vectors: np.ndarray, most: int) -> np.ndarray:
    """Centers of the kinds, by kind and pool.

    One kind after the other is added, at the trial that is farthest from its own, until all are narrow enough.

    Args:
        vectors: Log seconds, by trial and pool.
        most: Most kinds.

    Example:
        >>> clusters(np.array([[1.0, 1.0], [1.1, 1.0], [4.0, 1.0], [4.1, 1.0]]), 8).round(2).tolist()
        [[1.05, 1.0], [4.05, 1.0]]
    """
    centers = vectors.mean(axis=0, keepdims=True)
    while len(centers) < most:
        labels = nearest(vectors, centers)
        far = (vectors - centers[labels]) ** 2
        widths = [far[labels == kind].mean(axis=0).max(initial=0.0) for kind in range(len(centers))]
        widest = int(np.argmax(widths))
        if math.sqrt(widths[widest]) <= WIDTH:
            break
        members = np.flatnonzero(labels == widest)
        centers = np.vstack([centers, vectors[members[far[members].sum(axis=1).argmax()]]])
        centers = _settled(vectors, centers)
    found: np.ndarray = centers[np.lexsort(centers.T[::-1])]
    return found


def nearest(vectors: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """The kind of each trial."""
    found: np.ndarray = ((vectors[:, None, :] - centers[None, :, :]) ** 2).sum(axis=2).argmin(axis=1)
    return found


def _settled(vectors: np.ndarray, centers: np.ndarray) -> np.ndarray:
    for _ in range(TURNS):
        labels = nearest(vectors, centers)
        moved = [vectors[labels == kind].mean(axis=0) for kind in range(len(centers)) if (labels == kind).any()]
        if len(moved) == len(centers) and np.allclose(moved, centers):
            break
        centers = np.array(moved)
    return centers


# -- names ------------------------------------------------------------------------------------------------------------

_Condition = tuple[str, Callable[[Params], bool]]


def names_of(many: Sequence[Params], labels: Sequence[int], count: int) -> list[str]:
    """A name in words for each kind: the conditions on parameters that tell its trials from the others.

    Args:
        many: The parameters of trials.
        labels: The kind of each.
        count: How many kinds there are.

    Example:
        >>> trials = [{"model": "cnn", "units": units} for units in (16, 32, 64, 128)]
        >>> names_of(trials, [0, 0, 1, 1], 2)
        ['units <= 32', 'units >= 64']
        >>> names_of(trials, [0, 0, 0, 0], 1)
        ['all']
    """
    if count == 1:
        return ["all"]
    conditions = _conditions(many)
    held = {text: np.array([holds(params) for params in many]) for text, holds in conditions}
    found: list[str] = []
    for kind in range(count):
        name = _name(np.array(labels) == kind, held) or "others"
        found.append(name if name not in found else f"{name} ({kind + 1})")
    return found


def _name(wanted: np.ndarray, held: dict[str, np.ndarray]) -> str:
    """The conditions that together hold for the wanted trials and for few others, added one by one."""
    words: list[str] = []
    chosen, best = np.ones(len(wanted), dtype=bool), _agreement(wanted, np.ones(len(wanted), dtype=bool))
    while len(words) < MOST_WORDS and best < GOOD:
        scores = {text: _agreement(wanted, chosen & holds) for text, holds in held.items()}
        text = max(scores, key=lambda each: scores[each], default="")
        if not text or scores[text] <= best + 0.01:
            break
        words.append(text)
        chosen, best = chosen & held[text], scores[text]
    return ", ".join(words)


def _agreement(wanted: np.ndarray, chosen: np.ndarray) -> float:
    """How well two sets of trials agree: 1 where they are the same (the F1 score)."""
    both = float((wanted & chosen).sum())
    return 2 * both / max(1.0, float(wanted.sum() + chosen.sum()))


def _conditions(many: Sequence[Params]) -> list[_Condition]:
    """Conditions that may separate trials: values of categories, and bounds of numbers at up to 16 places."""
    found: list[_Condition] = []
    for name in dict.fromkeys(name for params in many for name in params):
        values = [params[name] for params in many if name in params]
        if len(values) < len(many):
            found += [(f"with {name}", _there(name, True)), (f"without {name}", _there(name, False))]
        if all(is_number(value) for value in values):
            found += _bounds(name, sorted({float(value) for value in values}))  # type: ignore[arg-type]
        else:
            often = [value for value, _ in Counter(map(str, values)).most_common(MOST_VALUES)]
            found += [(f"{name} = {value}", _equal(name, value)) for value in often]
    return found


def _bounds(name: str, values: list[float]) -> list[_Condition]:
    places = sorted({round(place) for place in np.linspace(0, len(values) - 1, MOST_VALUES + 1)})
    found: list[_Condition] = []
    for low, high in pairwise(places):
        below, above = values[high - 1], values[low + 1]
        found.append((f"{name} <= {below:g}", _between(name, -math.inf, below)))
        found.append((f"{name} >= {above:g}", _between(name, above, math.inf)))
    return found


def _there(name: str, wanted: bool) -> Callable[[Params], bool]:
    return lambda params: (name in params) == wanted


def _equal(name: str, value: str) -> Callable[[Params], bool]:
    return lambda params: str(params.get(name)) == value


def _between(name: str, low: float, high: float) -> Callable[[Params], bool]:
    def holds(params: Params) -> bool:
        value = params.get(name)
        return is_number(value) and low <= float(value) <= high  # type: ignore[arg-type]

    return holds
