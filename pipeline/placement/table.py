"""What is learned of costs and shares, as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .features import Params
from .kinds import names_of
from .planner import Plan, Planner
from .waiting import PoolRoom


@dataclass(frozen=True)
class PlanKind:
    """A row of the table.

    Attributes:
        name: Conditions on parameters in words, or ``all``.
        part: Of the trials, how many are of this kind, from 0 to 1.
        seconds: By pool, the predicted mean.
        interval: By pool, the seconds between which two trials in three of the kind probably lie.
        memory: By pool, the bytes that probably suffice for 95 of 100 trials; None where too little is known.
        shares: By pool, the part of its time that the kind should get, from 0 to 1.
        seen: By pool, how many attempts of the kind ended there.
    """

    name: str
    part: float
    seconds: Mapping[str, float]
    interval: Mapping[str, tuple[float, float]]
    memory: Mapping[str, float | None]
    shares: Mapping[str, float]
    seen: Mapping[str, int]


@dataclass(frozen=True)
class ClosedPool:
    """A pool in which a kind does not run, and why."""

    kind: str
    pool: str
    reason: str


@dataclass(frozen=True)
class PlanTable:
    """The table.

    Attributes:
        pools: The columns.
        kinds: The rows; none while nothing is known.
        gain: Trials a second over those of first-come, by the linear program; None while nothing is known.
        closed: What runs where no more.
    """

    pools: tuple[str, ...]
    kinds: tuple[PlanKind, ...]
    gain: float | None
    closed: tuple[ClosedPool, ...]


def plan_table(
    planner: Planner, rooms: Mapping[str, PoolRoom], ended: Sequence[tuple[Params, str]] | None = None
) -> PlanTable:
    """The table as of now.

    Args:
        planner: Knows the costs and the trials.
        rooms: The pools.
        ended: All attempts that ended, each a trial's parameters and its pool; None: those that the last fit was made
            of, of which there are no more than ``learner.MOST_ROWS``.
    """
    plan = planner.plan(rooms)
    if plan is None:
        return PlanTable(tuple(rooms), (), None, ())
    names = names_of(plan.trials, plan.labels.tolist(), len(plan.seconds))
    gain = None if plan.shares is None else plan.shares.gain
    seen = plan.seen if ended is None else planner.count(plan, ended)
    return PlanTable(plan.pools, _rows(planner, plan, names, seen), gain, _closed(planner, plan, names, rooms))


def _rows(planner: Planner, plan: Plan, names: list[str], seen: np.ndarray) -> tuple[PlanKind, ...]:
    shares = 0.0 * plan.seconds if plan.shares is None else plan.shares.shares
    columns = [planner.costs.pools.index(name) for name in plan.pools]
    found = []
    for kind, name in enumerate(names):
        members = [params for params, label in zip(plan.trials, plan.labels, strict=True) if label == kind]
        intervals = _intervals(planner, members)[columns]
        memory = planner.costs.log_memory(members)
        bytes_ = [None] * len(columns) if memory is None else np.exp(memory[:, columns]).mean(axis=0).tolist()
        found.append(
            PlanKind(
                name=name,
                part=float(plan.mix[kind]),
                seconds=dict(zip(plan.pools, plan.seconds[kind].tolist(), strict=True)),
                interval={pool: (low, high) for pool, (low, high) in zip(plan.pools, intervals.tolist(), strict=True)},
                memory=dict(zip(plan.pools, bytes_, strict=True)),
                shares=dict(zip(plan.pools, shares[kind].tolist(), strict=True)),
                seen=dict(zip(plan.pools, seen[kind].tolist(), strict=True)),
            )
        )
    return tuple(found)


def _intervals(planner: Planner, members: list[Params]) -> np.ndarray:
    """The ends of the interval of seconds in each pool in which two of three trials like ``members`` lie, by pool."""
    means = planner.costs.log_seconds(members)
    assert means is not None
    middle = means.mean(axis=0)
    spread = np.sqrt((planner.costs.log_spread(members) ** 2).mean(axis=0) + means.var(axis=0))
    found: np.ndarray = np.exp(np.column_stack([middle - spread, middle + spread]))
    return found


def _closed(planner: Planner, plan: Plan, names: list[str], rooms: Mapping[str, PoolRoom]) -> tuple[ClosedPool, ...]:
    found: list[ClosedPool] = []
    for kind, name in enumerate(names):
        members = [candidate for candidate, label in zip(planner.recent, plan.labels, strict=True) if label == kind]
        for place, pool in enumerate(plan.pools):
            if not plan.may[kind, place]:
                found.append(ClosedPool(name, pool, planner.why_not(members, pool, rooms)))
    return tuple(found)
