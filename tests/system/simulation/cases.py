"""Draws the case of a seed: the study, the machines, and everything that goes wrong."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from pilotune.pipeline.expressions import Constraint
from pilotune.pipeline.noise import REPEATS_ONCE, Repeats
from pilotune.pipeline.registry_args import Named
from pilotune.pipeline.space import Parameter, Space
from pilotune.providers.simulated.blocks import BlockPlan, PlannedShape
from pilotune.providers.simulated.faults import Faults
from pilotune.providers.site.spec import BlockCounts

from .pools import Pools, draw_pools
from .sizes import Sizes, draw_sizes

SPACE = Space(
    parameters=(
        Parameter("x", FloatDistribution(-1.0, 1.0), {}),
        Parameter("n", IntDistribution(1, 8), {}),
        Parameter("kind", CategoricalDistribution(("a", "b")), {}),
        Parameter("only_b", FloatDistribution(1e-3, 1.0, log=True), {"kind": ("b",)}),
    ),
    constants={"epochs": 9},
    constraints=(Constraint("x * n <= 6"),),
)
WISHES = {"x": FloatDistribution(-1.0, 1.0), "n": IntDistribution(1, 8)}
"""Parameters that an objective asks for when it defines the space as it runs."""

POINTS = ({"x": 0.5, "n": 2}, {"x": -0.25, "n": 7, "kind": "a"})
"""Configurations that the user enqueues."""

HYPERBAND = Named("hyperband", {"min_resource": 1, "max_resource": 5, "reduction_factor": 2})
PROMOTE = Named("hyperband", {**HYPERBAND.args, "mode": "promote"})
HALVING = Named("successive_halving", {"mode": "promote", "max_resource": 8, "reduction_factor": 2})
SAMPLERS = tuple(
    Named(name, {"n_startup_trials": 3} if name != "random" else {}) for name in ("random", "random", "gp", "tpe")
)
GENERATIONS = (
    Named("ageing", {"population": 2, "sample": 2, "barrier": True}),
    Named("genetic", {"population": 3, "sample": 2, "barrier": True}),
    Named("dhpo", {"population": 2, "offspring": 3, "barrier": True}),
    Named("evolution", {"population": 2, "repeats": False}),
)
"""Samplers whose trials may repeat others, and which, but for the last, let the campaign wait."""

POPULATIONS = (
    Named("pbt", {"population": 4, "interval": 1, "quantile": 0.25}),
    Named("pbt", {"population": 3, "interval": 2, "quantile": 0.4, "max_resource": 5}),
    Named("pb2", {"population": 4, "interval": 2, "quantile": 0.5, "perturb": ["x"]}),
)
"""Samplers whose members pause, and are replaced by copies."""
PRUNERS = (HYPERBAND, HYPERBAND, Named("median", {"n_startup_trials": 1}), None, PROMOTE, HALVING)


NODES = 3
"""Nodes of a simulated block."""

REPEATS = (Repeats(2, 2), Repeats(3, 3), Repeats(1, 3), Repeats(2, 4))


@dataclass(frozen=True)
class Trouble:
    """Faults of a driver, its clocks and its database.

    Attributes:
        kills: How often each seat's driver dies.
        points: Most steps of a driver before it dies; it may die between any two.
        naps: How often each seat's driver is suspended for a while.
        restart: Most seconds until a dead driver is started again.
        moves: It may be started again on another host.
        away: Probability that a statement fails, before or after it is executed.
        outages: How often the database is unreachable for a time.
        jumps: How often a clock is set.
        rubbish: Probability that an outcome on disk is unreadable or belongs to another attempt.
    """

    kills: int = 0
    points: int = 500
    naps: int = 0
    restart: float = 0.0
    moves: bool = False
    away: float = 0.0
    outages: int = 0
    jumps: int = 0
    rubbish: float = 0.0


@dataclass(frozen=True)
class Case:
    """The case of one seed.

    Attributes:
        workers: Workers in each driver's pool, or in each of its pools.
        trials: The study's budget.
        seats: Drivers at the same time.
        server: The database is a server, which several drivers may use; else it is a file.
        wishes: The objective defines its space as it runs.
        notes: The objective sets attributes, and asks about its study.
        enqueued: Configurations that the user enqueues.
        stop_at: The tick at which the user asks to stop, as ``stop_how`` says.
        every: Steps between checkpoints, with blocks.
        stretch: Mean seconds of a step.
        expected: The study file's expected seconds of a trial.
        still: Seconds between a driver's full reads of what other drivers did.
        quiet: Most seconds that a driver waits for an event.
        sizes: Trials take different shares of nodes; None: workers are all alike.
        artifacts: Each attempt keeps a file.
        keep: Of how many trials these files are kept; None: of all.
        hours: The study's budget in node-hours; None where hours are not counted.
        pools: The site has several pools; None: one.
    """

    seed: int
    workers: int
    trials: int
    faults: Faults
    trouble: Trouble = field(default_factory=Trouble)
    seats: int = 1
    server: bool = False
    wishes: bool = False
    notes: bool = False
    enqueued: int = 0
    retries: int = 0
    repeats: Repeats = REPEATS_ONCE
    sampler: Named = SAMPLERS[0]
    pruner: Named | None = HYPERBAND
    stop_at: int | None = None
    stop_how: str = "finish"
    plan: BlockPlan | None = None
    every: int = 0
    stretch: float = 1.0
    expected: float | None = None
    still: float = 10.0
    quiet: float = 1.0
    sizes: Sizes | None = None
    artifacts: bool = False
    keep: int | None = None
    hours: float | None = None
    pools: Pools | None = None

    @property
    def all_workers(self) -> int:
        """Workers in all pools of a driver."""
        return self.workers * (len(self.pools.names) if self.pools else 1)

    @property
    def directions(self) -> tuple[str, ...]:
        """Read by ``make_sampler``."""
        return ("minimize",)

    @property
    def space(self) -> Space | None:
        return None if self.wishes else SPACE

    @property
    def folder(self) -> Path:
        """Read by ``make_sampler``, where the user's own files would be."""
        return Path()

    def error(self, message: str, key: str = "") -> Exception:
        return ValueError(f"{key}: {message}")

    @classmethod
    def of(cls, seed: int) -> Case:
        """Workers that are there from the start, one driver or two, and every kind of fault."""
        draw = random.Random(seed)
        faults = Faults(
            lose=draw.choice([0.0, 0.0, 0.02, 0.1]),
            late=draw.choice([0.0, 0.5]),
            twice=draw.choice([0.0, 0.1, 0.5]),
            drop=draw.choice([0.0, 0.0, 0.1]),
            fail=draw.choice([0.0, 0.05]),
            shuffle=draw.random() < 0.7,
            notice=draw.choice([0.05, 1.0, 10.0]),
            delay=draw.choice([0.0, 1.0, 30.0]),
            linger=draw.choice([0.0, 5.0, 60.0, 400.0]),
            begin=draw.random() < 0.5,
        )
        server = draw.random() < 0.5
        case = cls(
            seed=seed,
            workers=draw.choice([1, 2, 4, 7]),
            trials=draw.choice([1, 2, 2, 5]),
            faults=faults,
            trouble=_trouble(draw),
            seats=2 if draw.random() < (0.6 if server else 0.1) else 1,
            server=server,
            wishes=draw.random() < 0.2,
            notes=seed % 3 == 0,
            enqueued=draw.choice([0, 0, 0, 1, 2]),
            retries=draw.choice([0, 0, 1]),
            sampler=draw.choice(SAMPLERS),
            pruner=draw.choice(PRUNERS),
            stop_at=draw.choice([None, None, None, None, 5]),
            stop_how=draw.choice(["finish", "yield", "now"]),
            stretch=draw.choice([0.3, 1.0, 1.0, 5.0]),
            still=draw.choice([1.0, 10.0, 30.0, 1e9]),
            quiet=draw.choice([1.0, 5.0]),
        )
        repeats = random.Random(f"repeats {seed}")
        if repeats.random() < 0.4:
            case = replace(case, repeats=repeats.choice(REPEATS))
        breeds = random.Random(f"generations {seed}")
        if breeds.random() < 0.3:
            case = replace(case, sampler=breeds.choice(GENERATIONS))
        elif breeds.random() < 0.15:
            members = breeds.choice(POPULATIONS)
            most = breeds.choice([members.args["population"] - 1, 6, 30, 30])  # too few for all members, or for copies
            case = replace(case, sampler=members, pruner=None, wishes=False, trials=most, repeats=REPEATS_ONCE)
        faults = replace(faults, deaf=draw.choice([0.0, 0.5]), mute=draw.choice([0.0, 0.0, 0.03, 0.1]))
        sizes = None if case.wishes else draw_sizes(seed)
        if sizes is not None:  # with more trials, so that some are overtaken
            more = random.Random(f"trials {seed}").choice([0, 0, 0, 25])
            trials = case.trials if case.sampler in POPULATIONS else case.trials + more
            case = replace(case, sizes=sizes, workers=sizes.most, trials=trials)
        files = random.Random(f"artifacts {seed}")
        if files.random() < 0.3:
            case = replace(case, artifacts=True, keep=files.choice([1, 2, 2, None]))
        case = replace(case, pools=None if case.wishes else draw_pools(seed))
        return replace(case, faults=faults)

    @classmethod
    def with_blocks(cls, seed: int) -> Case:
        """One driver at a time, on blocks that start, are released, and end at their walltime."""
        draw = random.Random(f"blocks {seed}")
        most = draw.choice([1, 2, 3])
        counts = BlockCounts(draw.choice([0, 1, most]), draw.choice([0, 0, 1]), most, draw.choice([5.0, 60.0]))
        plan = BlockPlan(
            workers=draw.choice([1, 2, 4]),
            counts=counts,
            walltime=draw.choice([60.0, 60.0, 200.0, 1000.0]),
            queue=draw.choice([1.0, 20.0, 100.0]),
            preempt=draw.choice([0.0, 0.3]),
            holds=draw.random() < 0.6,
            suspend=random.Random(f"suspensions {seed}").choice([0.0, 0.0, 0.5]),
        )
        stretch = draw.choice([0.5, 3.0, 10.0, 10.0])
        case = cls.of(seed)
        if case.sizes is None:
            plan = replace(plan, shapes=draw_shapes(seed))
        return replace(
            case,
            seats=1,
            wishes=False,
            notes=False,  # a checkpoint counts the steps of reports
            trials=draw.choice([5, 12, 20]) if case.sampler not in POPULATIONS else case.trials,
            workers=most * case.sizes.most if case.sizes else plan.most_workers,
            plan=plan,
            every=draw.choice([0, 1, 3]),
            stretch=stretch,
            expected=draw.choice([None, None, 8.0 * stretch]),
            stop_at=draw.choice([None, None, None, None, 40]),
        )

    @classmethod
    def with_long_ends(cls, seed: int) -> Case:
        """Long trials on large blocks, which the last ones may leave for small ones."""
        draw, case = random.Random(f"long ends {seed}"), cls.with_blocks(seed)
        assert case.plan is not None
        small = PlannedShape(draw.choice([1, 3]), 1, 2000.0, draw.choice([1.0, 20.0, 100.0]))
        large = PlannedShape(6, 32, 4000.0, 1.0)
        counts = BlockCounts(1, 0, draw.choice([3, 6]), 60.0)
        plan = replace(case.plan, counts=counts, shapes=draw.choice([(small, large), (large, small)]))
        if case.sampler in (*GENERATIONS, *POPULATIONS) or case.pruner in (PROMOTE, HALVING):
            case = replace(case, sampler=SAMPLERS[0], pruner=None)
        expected = draw.choice([None, 600.0, 600.0])
        case = replace(case, plan=plan, sizes=None, workers=plan.most_workers, expected=expected, stop_at=None)
        return replace(case, trials=12, stretch=60.0, quiet=10.0, every=1, repeats=REPEATS_ONCE)

    @classmethod
    def with_hours(cls, seed: int) -> Case:
        """One driver or two on blocks, as many as a budget in node-hours pays; drivers die, and others go on."""
        draw, case = random.Random(f"hours {seed}"), cls.with_blocks(seed)
        assert case.plan is not None
        sizes = [shape.nodes * shape.walltime for shape in case.plan.shapes] or [NODES * case.plan.walltime]
        block = max(sizes) / 3600.0
        hours = block * draw.choice([0.5, 1.0, 1.7, 2.5, 4.0, 8.0])
        trouble = replace(case.trouble, naps=0, kills=max(case.trouble.kills, draw.choice([0, 1, 2])))
        return replace(case, hours=hours, seats=draw.choice([1, 2]), server=True, trouble=trouble)


def draw_shapes(seed: int) -> tuple[PlannedShape, ...]:
    """Shapes of blocks whose queue time depends on them; none in a part of the seeds."""
    draw = random.Random(f"shapes {seed}")
    if draw.random() < 0.6:
        return ()
    small = PlannedShape(draw.choice([1, 2]), 1, draw.choice([60.0, 200.0]), draw.choice([1.0, 20.0]))
    large = PlannedShape(draw.choice([3, 6]), 3, draw.choice([200.0, 1000.0]), draw.choice([1.0, 20.0, 400.0]))
    long = PlannedShape(small.workers, 1, 1000.0, draw.choice([20.0, 100.0]))
    return draw.choice([(small, large), (large, small), (small, large, long)])


def _trouble(draw: random.Random) -> Trouble:
    """Half of the seeds have few faults, so that they do not all fail in the same way."""
    chosen: dict[str, Any] = {
        "kills": draw.choice([1, 1, 2]),
        "points": draw.choice([30, 300, 3000]),
        "naps": draw.choice([1, 2, 4]),
        "restart": draw.choice([0.0, 2.0, 60.0, 300.0]),
        "moves": draw.random() < 0.5,
        "away": draw.choice([0.001, 0.005, 0.02]),
        "outages": draw.choice([1, 2]),
        "jumps": draw.choice([1, 3]),
        "rubbish": draw.choice([0.1, 0.5]),
    }
    chance = draw.choice([0.0, 0.3, 0.6])
    return Trouble(**{name: value for name, value in chosen.items() if draw.random() < chance})
