"""Test functions, which cost nothing: to try out a site, a sampler or a pruner. Need the standard library only.

In a study file::

    objective: pilotune.objectives.functions:branin
    direction: minimize
    space:
      x: {float: [-5, 10]}
      y: {float: [0, 15]}
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping
from typing import Any

from ..pipeline.trial import Trial
from .settings import check


def sphere(trial: Trial) -> float:
    """The sum of squares of all numeric parameters. To be minimized; 0 where all are 0."""
    return sum(value * value for value in _numbers(trial.params))


def rastrigin(trial: Trial) -> float:
    """Rastrigin's function of all numeric parameters, usually within -5.12..5.12. To be minimized; 0 where all are 0.

    It has many local minima, one near every point of whole numbers (Rastrigin 1974).
    """
    return sum(10 + value * value - 10 * math.cos(2 * math.pi * value) for value in _numbers(trial.params))


def branin(x: float, y: float) -> float:
    """Branin's function for x in -5..10 and y in 0..15. To be minimized (Dixon and Szegö 1978).

    The minimum is 0.397887, at (-pi, 12.275), (pi, 2.275) and (9.42478, 2.475).

    Example:
        >>> round(branin(math.pi, 2.275), 6)
        0.397887
    """
    valley = y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6
    return valley * valley + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def schaffer(x: float) -> tuple[float, float]:
    """x² and (x - 2)²: two directions, both to be minimized. The Pareto front is x in 0..2 (Schaffer 1985)."""
    return x * x, (x - 2) * (x - 2)


def learning_curve(trial: Trial) -> float:
    """A simulated training run: reports an error after each epoch, and continues from its checkpoint. To be minimized.

    The error falls as a power of the epoch towards a limit, the lowest (0.05) at ``lr`` = 0.01 and ``width`` = 128.
    A configuration far from there diverges.

    Parameters, all optional: ``lr`` (default 0.01), ``width`` (128), ``epochs`` (27), ``noise`` (standard deviation of
    each report, 0.005), ``seconds`` (duration of each epoch, 0).
    """
    params: dict[str, Any] = {"lr": 0.01, "width": 128, "epochs": 27, "noise": 0.005, "seconds": 0.0, **trial.params}
    check(params, {})
    distance = math.log10(params["lr"] / 0.01) ** 2 + 0.1 * math.log2(params["width"] / 128) ** 2
    saved = trial.checkpoint_dir / "epoch.txt"
    done = int(saved.read_text()) if saved.exists() else 0
    error = 1.0
    for epoch in range(done + 1, params["epochs"] + 1):
        time.sleep(params["seconds"])
        rng = random.Random(f"{trial.rng_seed} {epoch}")  # so that a repeated epoch has the same noise
        error = _error(epoch, distance) + rng.gauss(0, params["noise"])
        saved.write_text(str(epoch))
        trial.report(error, step=epoch)
    return error


def _error(epoch: int, distance: float) -> float:
    if distance > 4:
        return 0.9 + 0.1 * min(distance - 4, 1.0)
    floor = 0.05 + 0.15 * distance
    return floor + (0.9 - floor) * math.pow(epoch, -0.7)


def _numbers(params: Mapping[str, Any]) -> list[float]:
    """The numeric values; other choices are left out."""
    return [value for value in params.values() if isinstance(value, int | float) and not isinstance(value, bool)]
