"""Functions with known optimum, of 2 to 100 parameters: smooth, with many valleys, mixed, categorical, and noisy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from .base import Listed, Noise, Params, Problem, gaussian, heavy_tailed, single, space_of

Vector = np.ndarray
Ranges = Sequence[tuple[float, float]]


def plain(name: str, function: Callable[[Vector], float], ranges: Ranges, optimum: float = 0.0) -> Problem:
    """A function of floats x0, x1, ... with their `ranges`; its regret is the plain difference to the optimum."""
    kinds: dict[str, BaseDistribution] = {f"x{i}": FloatDistribution(*ends) for i, ends in enumerate(ranges)}
    names = list(kinds)
    evaluate = single(lambda params: function(np.array([params[each] for each in names])))
    return Problem(name, space_of(kinds), evaluate, optimum, unit=1.0)


def moved(function: Callable[[Vector], float], ranges: Ranges, seed: int = 7) -> Callable[[Vector], float]:
    """`function`, whose optimum is at 0, with the optimum elsewhere: a first guess at the centre misses it."""
    lows, highs = np.array(ranges).T
    at = np.random.default_rng(seed).uniform(0.15, 0.85, len(ranges)) * (highs - lows) + lows
    return lambda x: function(x - at)


def branin(x: Vector) -> float:
    valley = x[1] - 5.1 / (4 * math.pi**2) * x[0] ** 2 + 5 / math.pi * x[0] - 6
    return valley**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x[0]) + 10


HARTMANN_A = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
HARTMANN_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann6(x: Vector) -> float:
    weights = np.array([1.0, 1.2, 3.0, 3.2])
    return -float(weights @ np.exp(-(HARTMANN_A * (x[:6] - HARTMANN_P) ** 2).sum(axis=1)))


def rosenbrock(x: Vector) -> float:
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


def levy(x: Vector) -> float:
    w = 1 + (x - 1) / 4
    middle = ((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:-1] + 1) ** 2)).sum()
    last = (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)
    return float(math.sin(math.pi * w[0]) ** 2 + middle + last)


def ackley(x: Vector) -> float:
    depth = -20 * math.exp(-0.2 * math.sqrt(float((x**2).mean())))
    return depth - math.exp(float(np.cos(2 * math.pi * x).mean())) + 20 + math.e


def styblinski(x: Vector) -> float:
    return float((x**4 - 16 * x**2 + 5 * x).sum() / 2)


def michalewicz(x: Vector) -> float:
    i = np.arange(1, len(x) + 1)
    return -float((np.sin(x) * np.sin(i * x**2 / math.pi) ** 20).sum())


def griewank(x: Vector) -> float:
    i = np.sqrt(np.arange(1, len(x) + 1))
    return float((x**2).sum() / 4000 - np.prod(np.cos(x / i)) + 1)


def rastrigin(x: Vector) -> float:
    return float((x**2 - 10 * np.cos(2 * math.pi * x) + 10).sum())


SHEKEL_A = np.array(
    [[4, 1, 8, 6, 3, 2, 5, 8, 6, 7], [4, 1, 8, 6, 7, 9, 3, 1, 2, 3.6]] * 2,
    dtype=float,
)
SHEKEL_C = np.array([1, 2, 2, 4, 4, 6, 3, 7, 5, 5]) / 10


def shekel(x: Vector) -> float:
    return -float((1 / (((x[:, None] - SHEKEL_A) ** 2).sum(axis=0) + SHEKEL_C)).sum())


def goldstein(x: Vector) -> float:
    """The logarithm of the Goldstein-Price function."""
    a, b = x
    one = 1 + (a + b + 1) ** 2 * (19 - 14 * a + 3 * a**2 - 14 * b + 6 * a * b + 3 * b**2)
    two = 30 + (2 * a - 3 * b) ** 2 * (18 - 32 * a + 12 * a**2 + 48 * b - 36 * a * b + 27 * b**2)
    return math.log(one * two)


def camel(x: Vector) -> float:
    a, b = x
    return (4 - 2.1 * a**2 + a**4 / 3) * a**2 + a * b + (4 * b**2 - 4) * b**2


def mixed(
    name: str, function: Callable[[Vector], float], end: float, optimum: float, floats: int, seed: int
) -> Problem:
    """`function` of `floats` floats, two integers and two categories of five unordered choices, all within +-`end`.

    A category's choices stand for five places, the optimum's among them, in an order drawn with `seed`.
    """
    places = np.random.default_rng(seed).permutation([-0.8 * end, -0.3 * end, optimum, 0.45 * end, 0.9 * end])
    letters = ["a", "b", "c", "d", "e"]
    kinds: dict[str, BaseDistribution] = {f"x{i}": FloatDistribution(-end, end) for i in range(floats)}
    kinds |= {f"n{i}": IntDistribution(-int(end), int(end)) for i in range(2)}
    kinds |= {f"c{i}": CategoricalDistribution(letters) for i in range(2)}

    def value(params: Params) -> float:
        numbers = [params[each] for each in kinds if each[0] != "c"]
        return function(np.array([*numbers, *(places[letters.index(params[f"c{i}"])] for i in range(2))]))

    return Problem(name, space_of(kinds), single(value), 0.0, unit=1.0)


def chain(name: str, length: int, choices: int, seed: int) -> Problem:
    """`length` categories, where each and its pair with the next one have a random cost: only interactions help."""
    rng = np.random.default_rng(seed)
    alone, pairs = rng.normal(size=(length, choices)), rng.normal(size=(length - 1, choices, choices))
    least = alone[0]
    for i in range(1, length):
        least = (least[:, None] + pairs[i - 1]).min(axis=0) + alone[i]
    letters = [chr(ord("a") + i) for i in range(choices)]

    def value(params: Params) -> float:
        at = [letters.index(params[f"c{i}"]) for i in range(length)]
        return float(alone[np.arange(length), at].sum() + pairs[np.arange(length - 1), at[:-1], at[1:]].sum())

    kinds: dict[str, BaseDistribution] = {f"c{i}": CategoricalDistribution(letters) for i in range(length)}
    return Problem(name, space_of(kinds), single(value), float(least.min()), unit=1.0)


def noisy(make: Callable[[], Problem], noise: Noise) -> Callable[[], Problem]:
    """The problem with `noise` on what the sampler is told; its regret is that of the true value."""
    return lambda: replace(make(), noise=noise)


UNIT6 = [(0.0, 1.0)] * 6
HARTMANN6, STYBLINSKI = -3.322368011415512, -39.16616570377142


def _branin() -> Problem:
    return plain("Branin", branin, [(-5, 10), (0, 15)], 0.39788735772973816)


def _hartmann(d: int = 6) -> Problem:
    """Hartmann's function of 6 of `d` parameters; the others are without effect."""
    return plain(f"Hartmann6 of {d}", hartmann6, [(0.0, 1.0)] * d, HARTMANN6)


def _ackley(d: int, away: bool = False) -> Problem:
    ranges = [(-32.768, 32.768)] * d
    return plain(f"Ackley{d}", moved(ackley, ranges) if away else ackley, ranges)


def _rosenbrock(d: int, low: float, high: float) -> Problem:
    return plain(f"Rosenbrock{d}", rosenbrock, [(low, high)] * d)


def _levy_mixed() -> Problem:
    return mixed("Levy8 mixed", levy, 10.0, 1.0, floats=4, seed=3)


def _moved(name: str, function: Callable[[Vector], float], d: int, end: float) -> Problem:
    ranges = [(-end, end)] * d
    return plain(f"{name}{d}", moved(function, ranges), ranges)


PROBLEMS = {
    "branin": Listed(_branin, False),
    "hartmann6": Listed(_hartmann, False),
    "rosenbrock5": Listed(lambda: _rosenbrock(5, -5, 10), False),
    "levy8-mixed": Listed(_levy_mixed, False),
    "ackley10": Listed(lambda: _ackley(10), False),
    "branin-noisy": Listed(noisy(_branin, gaussian(2.0)), False),
    "hartmann6-noisy": Listed(noisy(_hartmann, gaussian(0.2)), False),
    "levy20": Listed(lambda: plain("Levy20", levy, [(-10, 10)] * 20), False),
    "ackley50-moved": Listed(lambda: _ackley(50, away=True), False),
    "hartmann6-of-100": Listed(lambda: _hartmann(100), False),
    "chain8": Listed(lambda: chain("chain of 8", 8, 5, seed=5), False),
    "ackley10-moved": Listed(lambda: _ackley(10, away=True), True),
    "styblinski6": Listed(lambda: plain("Styblinski6", styblinski, [(-5, 5)] * 6, 6 * STYBLINSKI), True),
    "michalewicz5": Listed(lambda: plain("Michalewicz5", michalewicz, [(0, math.pi)] * 5, -4.687658179), True),
    "griewank6": Listed(lambda: plain("Griewank6", griewank, [(-600, 600)] * 6), True),
    "rosenbrock8-narrow": Listed(lambda: _rosenbrock(8, -2.048, 2.048), True),
    "rastrigin4-moved": Listed(lambda: _moved("Rastrigin", rastrigin, 4, 5.12), True),
    "shekel4": Listed(lambda: plain("Shekel4", shekel, [(0, 10)] * 4, -10.536443153), True),
    "goldstein": Listed(lambda: plain("log Goldstein-Price", goldstein, [(-2, 2)] * 2, math.log(3)), True),
    "camel": Listed(lambda: plain("camel", camel, [(-3, 3), (-2, 2)], -1.0316284534898774), True),
    "ackley9-mixed": Listed(lambda: mixed("Ackley9 mixed", ackley, 32.0, 0.0, floats=5, seed=4), True),
    "levy8-mixed-noisy": Listed(noisy(_levy_mixed, gaussian(2.0)), True),
    "ackley10-noisy": Listed(noisy(lambda: _ackley(10, away=True), heavy_tailed(0.5)), True),
    "styblinski20": Listed(lambda: plain("Styblinski20", styblinski, [(-5, 5)] * 20, 20 * STYBLINSKI), True),
    "rosenbrock50": Listed(lambda: _rosenbrock(50, -2.048, 2.048), True),
    "griewank100-moved": Listed(lambda: _moved("Griewank", griewank, 100, 600.0), True),
    "chain12": Listed(lambda: chain("chain of 12", 12, 4, seed=6), True),
}
