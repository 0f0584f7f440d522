"""How much of each pool's time each kind of trials should get, so that most trials end in a given time.

A linear program: the rate of trials is as high as it can be while the mix of kinds stays as it is, and no pool gives
more time than it has. Where pools differ by the same factor for all kinds, nothing is gained over first-come; what is
gained comes from pools that are good at some kinds (comparative advantage). Of solutions that are about equally good,
the one is taken that spends the smallest part of the pools' time on long trials, a small pool counting as much as a
large one. Long trials then run where they take least, which leaves less to wait for at the end; and a pool of few
workers is seldom busy with long trials only, while what it alone is good at waits, and others take that rather than
stay idle.

Approximate: it knows mean durations only, and describes a campaign that goes on for ever. Its first-come gives every
free worker the next trial that may run there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SLACK = 0.08
"""The rate may be lower by this part, for less time in long trials. Learned costs are less sure than that for long."""


@dataclass(frozen=True)
class Shares:
    """A solution.

    Attributes:
        shares: The part of a pool's time that a kind should get, by kind and pool; the parts of a pool are one in all,
            or none where it should get nothing.
        prices: What one more trial of a kind would be worth, by kind.
        rents: What a worker's second is worth, by pool, in the same unit.
        rate: Trials a second.
        gain: The rate over that of first-come.
    """

    shares: np.ndarray
    prices: np.ndarray
    rents: np.ndarray
    rate: float
    gain: float


def solve(seconds: np.ndarray, workers: np.ndarray, mix: np.ndarray, may: np.ndarray) -> Shares | None:
    """Solve the linear program; None where it has no solution.

    Args:
        seconds: Mean seconds, by kind and pool.
        workers: By pool.
        mix: The part of trials that are of a kind; one in all.
        may: Whether a kind may run in a pool, by kind and pool. A kind that may run nowhere is left out.

    Example:
        >>> seconds = np.array([[10.0, 10.0], [100.0, 5.0]])
        >>> found = solve(seconds, np.array([10.0, 1.0]), np.array([0.5, 0.5]), np.ones((2, 2), dtype=bool))
        >>> found.shares.round(2).tolist()
        [[0.33, 0.0], [0.67, 1.0]]
        >>> round(found.gain, 1)
        1.7
    """
    mix = np.where(may.any(axis=1), mix, 0.0)
    if not mix.sum() or not workers.sum():
        return None
    mix = mix / mix.sum()
    unit = float(np.exp(np.log(seconds[may]).mean()))  # about one, as the solver's tolerances are absolute
    seconds = seconds / unit
    found = _solved(seconds, workers, mix, may)
    if found is None:
        return None
    times, prices, rents, rate = found
    used = times.sum(axis=0)
    shares = times / np.where(used > 1e-9, used, 1.0)
    shares[shares < 1e-6] = 0.0
    rents = rents / np.maximum(workers, 1e-9)
    first = _first_come(seconds, workers, mix, may)
    return Shares(shares, prices, rents / unit, rate / unit, rate / first if first else 1.0)


def _solved(
    seconds: np.ndarray, workers: np.ndarray, mix: np.ndarray, may: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float] | None:
    """The parts of the pools' time, the prices, the rents of whole pools, and the rate."""
    from scipy.optimize import linprog

    kinds, pools = seconds.shape
    size = kinds * pools + 1  # the last variable is the rate
    upper = np.zeros((kinds + pools, size))
    for kind in range(kinds):
        upper[kind, kind * pools : (kind + 1) * pools] = -workers / seconds[kind]
        upper[kind, -1] = mix[kind]
    for pool in range(pools):
        upper[kinds + pool, pool : size - 1 : pools] = 1.0
    limits = np.concatenate([np.zeros(kinds), np.ones(pools)])
    bounds = [(0.0, 1.0 if allowed else 0.0) for allowed in may.ravel().tolist()]
    goal = np.zeros(size)
    goal[-1] = -1.0
    first = linprog(goal, A_ub=upper, b_ub=limits, bounds=[*bounds, (0.0, None)], method="highs")
    if first.status != 0:
        return None
    goal = np.append(seconds.ravel(), 0.0)
    rate = -float(first.fun)
    second = linprog(goal, A_ub=upper, b_ub=limits, bounds=[*bounds, (rate * (1 - SLACK), None)], method="highs")
    times = (second if second.status == 0 else first).x[:-1].reshape(kinds, pools)
    duals = -np.asarray(first.ineqlin.marginals)
    return times, duals[:kinds], duals[kinds:], rate


def _first_come(seconds: np.ndarray, workers: np.ndarray, mix: np.ndarray, may: np.ndarray) -> float:
    """The rate where every free worker takes the next trial that may run there."""
    here = mix[:, None] * may
    part = here.sum(axis=0)
    mean = (here * seconds).sum(axis=0) / np.where(part > 0, part, 1.0)
    rates = np.where(part > 0, workers / np.where(mean > 0, mean, 1.0), 0.0)
    return float(rates.sum())
