"""Selects the best trials of several directions: non-dominated fronts one by one, the last by hypervolume.

As in Ozaki et al., Multiobjective Tree-Structured Parzen Estimator, JAIR 2022. The subset of the last front is that of
the greedy algorithm of Guerreiro et al., Greedy Hypervolume Subset Selection in Low Dimensions, Evolutionary
Computation 2016. All losses are minimized.
"""

from __future__ import annotations

import numpy as np

TINY = 1e-12
"""In place of 0 in the reference point, so that each trial dominates some volume."""


def best_by_hypervolume(losses: np.ndarray, count: int) -> np.ndarray:
    """The indices, ascending, of the best ``count`` rows of ``losses`` (trials x directions)."""
    total = len(losses)
    if count <= 0 or total == 0:
        return np.arange(0)
    if count >= total:
        return np.arange(total)
    different, place = np.unique(losses, axis=0, return_inverse=True)
    place = place.reshape(-1)
    chosen = np.zeros(total, dtype=bool)
    left = np.arange(len(different))
    while True:
        front = np.zeros(len(different), dtype=bool)
        front[left[non_dominated(different[left])]] = True
        members = front[place]
        if chosen.sum() + members.sum() > count:
            break
        chosen |= members
        if chosen.sum() == count:
            return np.flatnonzero(chosen)
        left = left[~front[left]]
    last = np.flatnonzero(members)
    with np.errstate(over="ignore", invalid="ignore"):  # volumes of huge values are infinite, as in Optuna
        chosen[last[_subset(losses[last], count - int(chosen.sum()))]] = True
    return np.flatnonzero(chosen)


def non_dominated(losses: np.ndarray) -> np.ndarray:
    """Which rows no other row dominates (boolean); the rows must be distinct and in lexicographic order."""
    if losses.shape[1] == 2:
        least = np.minimum.accumulate(losses[:, 1])
        return np.concatenate([[True], least[1:] < least[:-1]])
    found = np.zeros(len(losses), dtype=bool)
    left = np.arange(len(losses))
    while len(left):  # only an earlier row can dominate, so the first one left is not dominated
        found[left[0]] = True
        left = left[(losses[left, 1:] < losses[left[0], 1:]).any(axis=1)]
    return found


def _subset(losses: np.ndarray, size: int) -> np.ndarray:
    """The indices of ``size`` rows that dominate much of the volume below a reference point beyond the worst values."""
    worst = losses.max(axis=0)
    corner = np.maximum(1.1 * worst, 0.9 * worst)
    corner[corner == 0] = TINY
    different, first = np.unique(losses, axis=0, return_index=True)
    if len(different) < size:
        again = np.setdiff1d(np.arange(len(losses)), first)
        return np.concatenate([first, again[: size - len(first)]])
    if not np.isfinite(corner).all():
        return first[:size]
    if len(different) == size:
        return first
    greedy = _greedy_flat if losses.shape[1] == 2 else _greedy
    return np.asarray(first[greedy(different, corner, size)])


def _greedy_flat(losses: np.ndarray, corner: np.ndarray, size: int) -> np.ndarray:
    """Greedy selection for two directions, rows sorted by the first: a row adds a rectangle next to chosen ones."""
    ends = np.repeat(corner[None, :], len(losses), axis=0)
    left = np.ones(len(losses), dtype=bool)
    chosen = np.zeros(size, dtype=int)
    for i in range(size):
        added = np.where(left, np.prod(ends - losses, axis=1), -np.inf)
        best = int(np.argmax(added))
        chosen[i] = best
        left[best] = False
        ends[:best, 0] = np.minimum(ends[:best, 0], losses[best, 0])
        ends[best + 1 :, 1] = np.minimum(ends[best + 1 :, 1], losses[best, 1])
    return chosen


def _greedy(losses: np.ndarray, corner: np.ndarray, size: int) -> np.ndarray:
    """Greedy selection. The volume a row adds only shrinks as others are chosen, so old values are upper bounds."""
    bound = np.prod(corner - losses, axis=1)
    chosen: list[int] = []
    for _ in range(size):
        if chosen:
            exact = np.zeros(len(losses), dtype=bool)
            while not exact[best := int(np.argmax(bound))]:
                own = float(np.prod(corner - losses[best]))
                if np.isfinite(own):
                    covered = np.maximum(losses[chosen], losses[best])
                    bound[best] = min(bound[best], own - hypervolume(covered, corner))
                exact[best] = True
        else:
            best = int(np.argmax(bound))
        if np.isposinf(bound[best]):  # volumes are infinite and do not compare: the rest in order
            rest = np.setdiff1d(np.arange(len(losses)), [*chosen, best])
            return np.array([*chosen, best, *rest[: size - len(chosen) - 1]])
        chosen.append(best)
        bound[best] = -np.inf
    return np.array(chosen)


def hypervolume(losses: np.ndarray, corner: np.ndarray) -> float:
    """The volume dominated by the rows of ``losses`` up to the point ``corner``; by slices along the last axis."""
    losses = np.unique(losses, axis=0)
    losses = losses[non_dominated(losses)] if losses.shape[1] > 1 else losses[:1]
    if losses.shape[1] == 1:
        return float(corner[0] - losses[0, 0])
    if losses.shape[1] == 2:
        above = np.concatenate([corner[1:], losses[:-1, 1]])
        return float((corner[0] - losses[:, 0]) @ (above - losses[:, 1]))
    order = np.argsort(losses[:, -1], kind="stable")
    heights = np.append(losses[order, -1], corner[-1])
    volume = 0.0
    for i in range(len(order)):
        if heights[i + 1] > heights[i]:
            volume += (heights[i + 1] - heights[i]) * hypervolume(losses[order[: i + 1], :-1], corner[:-1])
    return volume
