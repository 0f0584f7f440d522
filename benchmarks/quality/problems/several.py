"""Problems of several objectives: ZDT, DTLZ, Branin with Currin. Their value is minus the hypervolume found."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution

from .base import Listed, Outcome, Params, Problem, space_of
from .functions import branin

Vector = np.ndarray


def hypervolume(points: np.ndarray, corner: Sequence[float]) -> float:
    """The volume that `points` (n, 2 or 3; minimized) dominate within `corner`."""
    inside = points[(points < np.array(corner)).all(axis=1)]
    if not len(inside):
        return 0.0
    if inside.shape[1] == 2:
        ordered = inside[np.argsort(inside[:, 0], kind="stable")]
        lowest = np.minimum.accumulate(ordered[:, 1])
        until = np.append(ordered[1:, 0], corner[0])
        return float(((until - ordered[:, 0]) * (corner[1] - lowest)).sum())
    ordered = inside[np.argsort(inside[:, -1], kind="stable")]
    until = np.append(ordered[1:, -1], corner[-1])
    slices = (
        (top - point[-1]) * hypervolume(ordered[: i + 1, :-1], corner[:-1])
        for i, (point, top) in enumerate(zip(ordered, until, strict=True))
        if top > point[-1]
    )
    return float(sum(slices))


def vector(
    name: str, count: int, function: Callable[[Vector], Sequence[float]], corner: tuple[float, ...], most: float
) -> Problem:
    """`function` of `count` floats in [0, 1], with the largest hypervolume `most`. Regret is the missing share."""
    kinds: dict[str, BaseDistribution] = {f"x{i}": FloatDistribution(0.0, 1.0) for i in range(count)}

    def evaluate(params: Params) -> Outcome:
        return Outcome(tuple(float(value) for value in function(np.array([params[each] for each in kinds]))))

    return Problem(name, space_of(kinds), evaluate, -most, unit=most, corner=corner)


def _spread(x: Vector) -> float:
    return 1 + 9 * float(x[1:].mean())


def zdt1(x: Vector) -> tuple[float, float]:
    g = _spread(x)
    return x[0], g * (1 - math.sqrt(x[0] / g))


def zdt2(x: Vector) -> tuple[float, float]:
    g = _spread(x)
    return x[0], g * (1 - (x[0] / g) ** 2)


def zdt3(x: Vector) -> tuple[float, float]:
    g = _spread(x)
    return x[0], g * (1 - math.sqrt(x[0] / g) - x[0] / g * math.sin(10 * math.pi * x[0]))


def dtlz2(x: Vector) -> tuple[float, float, float]:
    """Three objectives; the front is the unit sphere."""
    g = 1 + float(((x[2:] - 0.5) ** 2).sum())
    a, b = x[0] * math.pi / 2, x[1] * math.pi / 2
    return g * math.cos(a) * math.cos(b), g * math.cos(a) * math.sin(b), g * math.sin(a)


def dtlz7(x: Vector) -> tuple[float, float]:
    """Two objectives; the front is in pieces."""
    g = 1 + 9 * float(x[1:].mean())
    return x[0], (1 + g) * (2 - x[0] / (1 + g) * (1 + math.sin(3 * math.pi * x[0])))


def branin_currin(x: Vector) -> tuple[float, float]:
    top = (2300 * x[0] ** 3 + 1900 * x[0] ** 2 + 2092 * x[0] + 60) / (100 * x[0] ** 3 + 500 * x[0] ** 2 + 4 * x[0] + 20)
    currin = top * (1 - math.exp(-1 / (2 * x[1]))) if x[1] else top
    return branin(np.array([15 * x[0] - 5, 15 * x[1]])), currin


ZDT_CORNER = (1.1, 6.0)


def _zdt(name: str, function: Callable[[Vector], Sequence[float]], count: int) -> Problem:
    """One of the ZDT functions: its front has x1 = x2 = ... = 0."""
    grid = np.linspace(0.0, 1.0, 20_001)
    front = np.array([function(np.array([at, 0.0])) for at in grid])
    return vector(f"{name} of {count}", count, function, ZDT_CORNER, hypervolume(front, ZDT_CORNER))


def _dtlz2(count: int) -> Problem:
    return vector("DTLZ2", count, dtlz2, (1.5, 1.5, 1.5), 1.5**3 - math.pi / 6)


def _dtlz7(count: int) -> Problem:
    corner = (1.1, 15.0)
    front = np.array([dtlz7(np.array([at, 0.0])) for at in np.linspace(0.0, 1.0, 20_001)])
    return vector("DTLZ7", count, dtlz7, corner, hypervolume(front, corner))


def bnh() -> Problem:
    """Binh and Korn's two objectives under two soft constraints."""
    kinds: dict[str, BaseDistribution] = {"x0": FloatDistribution(0.0, 5.0), "x1": FloatDistribution(0.0, 3.0)}

    def values(a: float, b: float) -> tuple[float, float]:
        return 4 * a**2 + 4 * b**2, (a - 5) ** 2 + (b - 5) ** 2

    def evaluate(params: Params) -> Outcome:
        a, b = params["x0"], params["x1"]
        broken = ((a - 5) ** 2 + b**2 - 25, 7.7 - (a - 8) ** 2 - (b + 3) ** 2)
        return Outcome(values(a, b), constraints=broken)

    corner = (140.0, 50.0)
    front = np.array([values(at, min(at, 3.0)) for at in np.linspace(0.0, 5.0, 20_001)])
    most = hypervolume(front, corner)
    return Problem("BNH", space_of(kinds), evaluate, -most, unit=most, corner=corner)


PROBLEMS = {
    "zdt1": Listed(lambda: _zdt("ZDT1", zdt1, 12), False),
    "dtlz2": Listed(lambda: _dtlz2(7), False),
    "branin-currin": Listed(lambda: vector("Branin-Currin", 2, branin_currin, (18.0, 6.0), 59.36011874867746), False),
    "zdt2": Listed(lambda: _zdt("ZDT2", zdt2, 12), True),
    "zdt3": Listed(lambda: _zdt("ZDT3", zdt3, 30), True),
    "dtlz7": Listed(lambda: _dtlz7(8), True),
    "bnh": Listed(bnh, True),
}
