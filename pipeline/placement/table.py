"""What is learned of costs and shares, as a table for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
        shares: By pool, the part of its time that the kind should get, from 0 to 1.
        seen: By pool, how many attempts of the kind ended there.
    """

    name: str
    part: float
    seconds: Mapping[str, float]
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


def plan_table(planner: Planner, rooms: Mapping[str, PoolRoom]) -> PlanTable:
    """The table as of now."""
    plan = planner.plan(rooms)
    if plan is None:
        return PlanTable(tuple(rooms), (), None, ())
    names = names_of(plan.trials, plan.labels.tolist(), len(plan.seconds))
    gain = None if plan.shares is None else plan.shares.gain
    return PlanTable(plan.pools, _rows(plan, names), gain, _closed(planner, plan, names, rooms))


def _rows(plan: Plan, names: list[str]) -> tuple[PlanKind, ...]:
    shares = 0.0 * plan.seconds if plan.shares is None else plan.shares.shares

    def of(row: list[float]) -> dict[str, float]:
        return dict(zip(plan.pools, row, strict=True))

    return tuple(
        PlanKind(
            name,
            float(plan.mix[kind]),
            of(plan.seconds[kind].tolist()),
            of(shares[kind].tolist()),
            dict(zip(plan.pools, plan.seen[kind].tolist(), strict=True)),
        )
        for kind, name in enumerate(names)
    )


def _closed(planner: Planner, plan: Plan, names: list[str], rooms: Mapping[str, PoolRoom]) -> tuple[ClosedPool, ...]:
    found: list[ClosedPool] = []
    for kind, name in enumerate(names):
        members = [candidate for candidate, label in zip(planner.recent, plan.labels, strict=True) if label == kind]
        for place, pool in enumerate(plan.pools):
            if not plan.may[kind, place]:
                found.append(ClosedPool(name, pool, planner.why_not(members, pool, rooms)))
    return tuple(found)
