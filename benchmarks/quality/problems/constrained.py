"""Soft constraints: a trial's result says by how much it breaks each. Engineering designs and functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from .base import Listed, Outcome, Params, Problem, space_of
from .functions import ackley

Design = Callable[..., tuple[float, Sequence[float]]]


def design(name: str, function: Design, kinds: dict[str, BaseDistribution], optimum: float, unit: float) -> Problem:
    """`function` of the parameters in order gives the value and the constraints."""

    def evaluate(params: Params) -> Outcome:
        value, broken = function(*(params[each] for each in kinds))
        return Outcome((float(value),), constraints=tuple(float(amount) for amount in broken))

    return Problem(name, space_of(kinds), evaluate, optimum, unit=unit)


def floats(**ends: tuple[float, float]) -> dict[str, BaseDistribution]:
    return {name: FloatDistribution(low, high) for name, (low, high) in ends.items()}


def gramacy(a: float, b: float) -> tuple[float, Sequence[float]]:
    """Gramacy's toy: a linear value, a wavy boundary."""
    wave = 1.5 - a - 2 * b - 0.5 * math.sin(2 * math.pi * (a**2 - 2 * b))
    return a + b, (wave, a**2 + b**2 - 1.5)


def ackley_ball(*x: float) -> tuple[float, Sequence[float]]:
    """Ackley within a ball of radius 5 and below a plane, as in SCBO's experiments: a sliver of the cube."""
    at = np.array(x)
    return ackley(at), (float(at.sum()), float(np.linalg.norm(at)) - 5)


def welded_beam(h: float, length: float, t: float, b: float) -> tuple[float, Sequence[float]]:
    load, reach, modulus, shear = 6000.0, 14.0, 30e6, 12e6
    cost = 1.10471 * h**2 * length + 0.04811 * t * b * (14.0 + length)
    moment = load * (reach + length / 2)
    r = math.sqrt(length**2 / 4 + ((h + t) / 2) ** 2)
    polar = 2 * math.sqrt(2) * h * length * (length**2 / 12 + ((h + t) / 2) ** 2)
    first, second = load / (math.sqrt(2) * h * length), moment * r / polar
    stress = math.sqrt(first**2 + first * second * length / r + second**2)
    bending, sag = 6 * load * reach / (b * t**2), 4 * load * reach**3 / (modulus * t**3 * b)
    buckling = 4.013 * modulus * math.sqrt(t**2 * b**6 / 36) / reach**2
    buckling *= 1 - t / (2 * reach) * math.sqrt(modulus / (4 * shear))
    broken = ((stress - 13600) / 13600, (bending - 30000) / 30000, h - b, 0.125 - h, sag - 0.25, 1 - buckling / load)
    return cost, broken


def pressure_vessel(shell: int, head: int, r: float, length: float) -> tuple[float, Sequence[float]]:
    """Thicknesses are in sixteenths of an inch."""
    s, h = shell / 16, head / 16
    cost = 0.6224 * s * r * length + 1.7781 * h * r**2 + 3.1661 * s**2 * length + 19.84 * s**2 * r
    volume = math.pi * r**2 * length + 4 / 3 * math.pi * r**3
    return cost, (0.0193 * r - s, 0.00954 * r - h, 1 - volume / 1296000, length / 240 - 1)


def speed_reducer(
    b: float, m: float, z: int, l1: float, l2: float, d1: float, d2: float
) -> tuple[float, Sequence[float]]:
    weight = 0.7854 * b * m**2 * (3.3333 * z**2 + 14.9334 * z - 43.0934) - 1.508 * b * (d1**2 + d2**2)
    weight += 7.4777 * (d1**3 + d2**3) + 0.7854 * (l1 * d1**2 + l2 * d2**2)
    broken = (
        27 / (b * m**2 * z) - 1,
        397.5 / (b * m**2 * z**2) - 1,
        1.93 * l1**3 / (m * z * d1**4) - 1,
        1.93 * l2**3 / (m * z * d2**4) - 1,
        math.sqrt((745 * l1 / (m * z)) ** 2 + 16.9e6) / (110 * d1**3) - 1,
        math.sqrt((745 * l2 / (m * z)) ** 2 + 157.5e6) / (85 * d2**3) - 1,
        m * z / 40 - 1,
        5 * m / b - 1,
        b / (12 * m) - 1,
        (1.5 * d1 + 1.9) / l1 - 1,
        (1.1 * d2 + 1.9) / l2 - 1,
    )
    return weight, broken


def spring(d: float, diameter: float, coils: float) -> tuple[float, Sequence[float]]:
    broken = (
        1 - diameter**3 * coils / (71785 * d**4),
        (4 * diameter**2 - d * diameter) / (12566 * (diameter * d**3 - d**4)) + 1 / (5108 * d**2) - 1,
        1 - 140.45 * d / (diameter**2 * coils),
        (d + diameter) / 1.5 - 1,
    )
    return (coils + 2) * diameter * d**2, broken


BEAM = floats(h=(0.1, 2.0), length=(0.1, 10.0), t=(0.1, 10.0), b=(0.1, 2.0))
VESSEL: dict[str, BaseDistribution] = {"shell": IntDistribution(1, 99), "head": IntDistribution(1, 99)}
VESSEL |= floats(r=(10.0, 200.0), length=(10.0, 200.0))
REDUCER = floats(b=(2.6, 3.6), m=(0.7, 0.8)) | {"z": IntDistribution(17, 28)}
REDUCER |= floats(l1=(7.3, 8.3), l2=(7.3, 8.3), d1=(2.9, 3.9), d2=(5.0, 5.5))
SPRING = floats(d=(0.05, 1.0), diameter=(0.25, 1.3), coils=(2.0, 15.0))
BALL = floats(**{f"x{i}": (-5.0, 10.0) for i in range(10)})

PROBLEMS = {
    "gramacy": Listed(lambda: design("Gramacy", gramacy, floats(a=(0, 1), b=(0, 1)), 0.5997880520, 1.0), False),
    "ackley10-ball": Listed(lambda: design("Ackley10 in a ball", ackley_ball, BALL, 0.0, 1.0), False),
    "welded-beam": Listed(lambda: design("welded beam", welded_beam, BEAM, 1.7248523, 1.0), True),
    "pressure-vessel": Listed(lambda: design("pressure vessel", pressure_vessel, VESSEL, 6059.714335, 1000.0), True),
    "speed-reducer": Listed(lambda: design("speed reducer", speed_reducer, REDUCER, 2994.471066, 100.0), True),
    "spring": Listed(lambda: design("spring", spring, SPRING, 0.0126652327, 0.01), True),
}
