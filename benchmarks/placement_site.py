"""The real campaign on three simulated pools, where blocks end, trials fail, memory is short or a pool goes away.

Campaign, record on SQLite, loop, placement and cost learner are those of ``pilotune run``; the pools are simulated on a
virtual clock, on which the driver's own time does not pass. Hardware, trials and their seconds are those of
:mod:`placement`, with a tenth of the workers and ten times the seconds, so that a few hundred trials last for
several blocks.
"""

from __future__ import annotations

import math
import os
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from placement import KNOWN, NOISE, Case, KnownCosts, drawn

from pilotune.pipeline.campaign.campaign import Campaign
from pilotune.pipeline.campaign.campaign_study import CampaignStudy
from pilotune.pipeline.campaign.cost_learner import CostLearner
from pilotune.pipeline.campaign.events import StopRequested
from pilotune.pipeline.campaign.flight import Flight
from pilotune.pipeline.campaign.limits import CampaignLimits
from pilotune.pipeline.campaign.placed_pool import PlacedPool
from pilotune.pipeline.driver.loop import CampaignLoop
from pilotune.pipeline.placement import Costs, Placement
from pilotune.pipeline.record import Orphan, RecordStorage
from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.trial.protocol import AttemptSpec, Outcome, OutcomeKind
from pilotune.pipeline.trial.report_log import ReportLog, as_ranges
from pilotune.providers.simulated.attempt import Attempt, Step
from pilotune.providers.simulated.blocks import BlockPlan
from pilotune.providers.simulated.clock import VirtualTime
from pilotune.providers.simulated.faults import Disk, Faults, Witness
from pilotune.providers.simulated.hosts import Nodes
from pilotune.providers.simulated.pool import SimulatedPool
from pilotune.providers.simulated.several import SimulatedPools
from pilotune.providers.site.spec import BlockCounts

SLOWER, FEWER = 10.0, 10
"""Ten times the seconds and a tenth of the workers of ``placement.py``."""

STEPS = 3
"""Reports of a trial, each with a checkpoint."""

RETRIES = 10
"""So many attempts after the first: a trial that ends for good before it is complete would make a policy look fast."""

GIGABYTE = 1e9
NEEDS = {"small": 2.0, "medium": 6.0, "large": 20.0}
"""Gigabytes of a trial at its peak, the median; the noise is a third of that of the seconds."""

KILLED_AFTER = 0.4
"""A trial without enough memory is killed after this part of a step."""

IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where the database is, so that no commit waits for a disk."""

LONGEST_WAIT = 60.0
"""Seconds that the loop waits for an event."""

LARGER = ("medium", "large")
SPACE = Space(
    parameters=(
        Parameter("model", CategoricalDistribution(["small", *LARGER])),
        Parameter("lr", FloatDistribution(1e-5, 1e-1, log=True)),
        Parameter("batch", IntDistribution(16, 512)),
        Parameter("optimizer", CategoricalDistribution(["sgd", "adam", "lamb"])),
        Parameter("augment", CategoricalDistribution([True, False])),
        Parameter("layers", IntDistribution(1, 8), {"model": LARGER}),
        Parameter("units", IntDistribution(16, 512), {"model": LARGER}),
        Parameter("dropout", FloatDistribution(0.0, 0.5), {"model": LARGER}),
        Parameter("heads", IntDistribution(1, 16), {"model": ("large",)}),
        Parameter("warmup", IntDistribution(0, 1000), {"model": ("large",)}),
    ),
    constants={},
    constraints=(),
)
"""What :func:`placement.parameters` draws from."""


@dataclass(frozen=True)
class Trouble:
    """What goes wrong.

    Attributes:
        name: In tables.
        walltime: Of blocks, in seconds.
        queue: Mean seconds until a block starts.
        fail: Probability that an attempt fails at a step.
        memory: Gigabytes of a worker, by pool; where a pool is not named it is never short.
        vanishes: The pool that goes away; empty: none does.
    """

    name: str
    walltime: float = 1e7
    queue: float = 1.0
    fail: float = 0.0
    memory: Mapping[str, float] = field(default_factory=dict)
    vanishes: str = ""


TROUBLES = (
    Trouble("none"),
    Trouble("walltimes", walltime=1200.0, queue=120.0),
    Trouble("failures", fail=0.01),
    Trouble("memory", memory={"old": 12.0, "new": 64.0, "gpu": 64.0}),
    Trouble("vanishing", vanishes="gpu"),
)


def loss(params: Mapping[str, object]) -> float:
    """The value of a configuration: 0 is the optimum, which only large models come near to."""
    found = {"small": 0.3, "medium": 0.15, "large": 0.0}[str(params["model"])]
    found += 0.05 * (math.log10(float(params["lr"])) + 3.0) ** 2  # type: ignore[arg-type]
    found += {"sgd": 0.05, "adam": 0.0, "lamb": 0.02}[str(params["optimizer"])]
    return found + (0.0 if params["augment"] else 0.02)


class Trials:
    """The trials of a campaign: the same configurations, seconds and memory for all policies.

    Args:
        case: The hardware.
        trials: Their number.
        seed: Of the configurations and of the noise.
    """

    def __init__(self, case: Case, trials: int, seed: int) -> None:
        self.case, self.drawn = case, drawn(trials, seed)
        self.params = [params for params, _ in self.drawn]
        draw = random.Random(f"memory {seed}")
        self._memory = [GIGABYTE * NEEDS[str(p["model"])] * math.exp(draw.gauss(0, NOISE / 3)) for p in self.params]

    def seconds(self, number: int, pool: str) -> float:
        """Of a whole trial."""
        params, noise = self.drawn[number]
        return SLOWER * noise * self.case.seconds(params)[list(self.case.workers).index(pool)]

    def memory(self, number: int) -> float:
        """Bytes at the peak."""
        return self._memory[number]


class KnownNeeds(KnownCosts):
    """Costs that are known before any trial has run, those in memory as well."""

    def log_seconds(self, many: Sequence[Mapping[str, object]]) -> np.ndarray:
        return super().log_seconds(many) + math.log(SLOWER)

    def log_spread(self, many: Sequence[Mapping[str, object]]) -> np.ndarray:
        return np.full((len(many), len(self.pools)), NOISE)

    def log_memory(self, many: Sequence[Mapping[str, object]]) -> np.ndarray:
        most = [math.log(GIGABYTE * NEEDS[str(params["model"])]) + NOISE / 3 * 1.645 for params in many]
        return np.repeat(np.array(most)[:, None], len(self.pools), axis=1)


class Given(optuna.samplers.BaseSampler):
    """Suggests the trials in their order."""

    def __init__(self, trials: Trials) -> None:
        self._params = trials.params

    def infer_relative_search_space(self, study: object, trial: object) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(self, study: object, trial: object, search_space: object) -> dict[str, object]:
        return {}

    def sample_independent(
        self, study: object, trial: optuna.trial.FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> object:
        return self._params[trial.number][param_name]


class Host(Nodes):
    """A pool's only host, so that what is killed there for its memory is tried again in another pool."""

    def __init__(self, name: str) -> None:
        super().__init__(1)
        object.__setattr__(self, "_name", name)

    @property
    def names(self) -> list[str]:
        return [self._name]  # type: ignore[attr-defined]


class Machine(SimulatedPool):
    """A simulated pool that knows how much memory its attempts take, and kills those that take more than there is."""

    def __init__(self, name: str, trials: Trials, trouble: Trouble, workers: int, seed: int, **shared: object) -> None:
        plan = BlockPlan(1, BlockCounts(workers, 0, workers), trouble.walltime, trouble.queue)
        self.name, self.trials = name, trials
        self._limit = GIGABYTE * trouble.memory.get(name, math.inf)
        faults, draw = Faults(fail=trouble.fail), random.Random(f"{name} {seed}").getrandbits(32)
        super().__init__(0, self.steps, seed=draw, faults=faults, plan=plan, nodes=Host(name), **shared)  # type: ignore[arg-type]

    def steps(self, spec: AttemptSpec) -> Iterator[Step]:
        for _ in range(STEPS):
            yield self.trials.seconds(spec.number, self.name) / STEPS, loss(spec.params)
        yield 0.0, None

    def held(self) -> float:
        """Hours for which the blocks held their workers, summed over workers."""
        assert self.blocks is not None
        return sum(block.held.before for block in self.blocks.blocks) / 3600

    def _next_step(self, attempt: Attempt) -> None:
        if self.trials.memory(attempt.spec.number) > self._limit:
            after = KILLED_AFTER * self.trials.seconds(attempt.spec.number, self.name) / STEPS
            self._end_soon(attempt, "failed", after)
        else:
            super()._next_step(attempt)

    def _write(self, attempt: Attempt, kind: OutcomeKind) -> Outcome:
        outcome, needed = super()._write(attempt, kind), self.trials.memory(attempt.spec.number)
        if needed > self._limit:
            return replace(outcome, failure="memory", reason="it was killed for its memory", memory=int(self._limit))
        return replace(outcome, memory=int(needed))


class Services:
    """The process around the campaign, in which nothing happens but that it notes when trials end."""

    def __init__(self, disk: Disk, time: VirtualTime) -> None:
        self.disk, self.time = disk, time
        self.campaign: Campaign | None = None
        self.ended: dict[int, float] = {}

    def make_spec(self, flight: Flight) -> AttemptSpec:
        assert self.campaign is not None
        kept = self.disk.saved.get(flight.number, 0)
        return AttemptSpec(
            token=flight.token,
            study="s",
            number=flight.number,
            attempt=flight.attempt,
            params=dict(flight.params),
            defines_space=False,
            directory="",
            seed=flight.number,
            n_values=1,
            since=flight.since,
            reported=as_ranges(self.campaign.study.reported(flight.trial)) if flight.attempt > 1 else [],
            expected=self.campaign.outcomes.durations.left(flight.stage_seconds if kept else 0.0),
            avoid=sorted(flight.avoid),
        )

    def on_ended(self, numbers: Sequence[int]) -> None:
        self.ended |= dict.fromkeys(numbers, self.time.now)

    def stop_requests(self) -> Sequence[StopRequested]:
        return []

    def take_over_orphans(self) -> tuple[Sequence[Orphan], Sequence[Outcome]]:
        return [], []

    def why_unfit(self, flight: Flight) -> str:
        return ""

    def written_outcome(self, flight: Flight) -> Outcome | None:
        return None

    def report_log(self, flight: Flight) -> ReportLog | None:
        return None

    def renew_lease(self) -> None: ...

    def report_status(self, problem: str) -> None: ...


@dataclass(frozen=True)
class Run:
    """What a campaign came to.

    Attributes:
        makespan: Seconds until the last trial had ended.
        held: Hours for which blocks held workers, summed over workers.
        complete: Trials that are complete.
        attempts: Attempts that a worker began.
        ends: Of each complete trial when it ended, its number and its value; in the order of their ends.
    """

    makespan: float
    held: float
    complete: int
    attempts: int
    ends: list[tuple[float, int, float]]


def policy_of(name: str, trials: Trials) -> tuple[Costs, Placement]:
    """A policy, and what it learns from; ``KNOWN`` is told everything before."""
    known = name == KNOWN
    costs = KnownNeeds(trials.case, trials.params[:200]) if known else Costs(list(trials.case.workers))
    return costs, Placement("learned" if known else name, costs)


def campaign(trials: Trials, trouble: Trouble, policy: str, seed: int, vanishes_at: float) -> Run:
    """Run a campaign to its end.

    Args:
        trials: What it runs, and on which hardware.
        trouble: What goes wrong.
        policy: How trials are placed.
        seed: Of queues and failures.
        vanishes_at: When the pool goes away that ``trouble`` names.
    """
    time, disk = VirtualTime(), Disk(every=1)
    log, services = Witness(), Services(disk, time)
    machines = {
        name: Machine(name, trials, trouble, workers // FEWER, seed, time=time, disk=disk, witness=log)
        for name, workers in trials.case.workers.items()
    }
    site = SimulatedPools(machines)
    if trouble.vanishes:
        time.at(vanishes_at, lambda: site.vanish(trouble.vanishes))
    costs, placement = policy_of(policy, trials)
    memory = {name: GIGABYTE * limit for name, limit in trouble.memory.items()}
    number = len(trials.params)
    limits = CampaignLimits(
        trials=number, failures=10**6, retries=RETRIES, retry_errors=True, max_losses=100, second_opinions=False
    )
    with tempfile.TemporaryDirectory(prefix="bench", dir=IN_MEMORY) as folder:
        storage = RecordStorage(f"sqlite:///{folder}/study.db", autocommit=False)
        optuna.create_study(storage=storage, study_name="s")
        storage.commit()
        study = optuna.load_study(
            storage=storage, study_name="s", sampler=Given(trials), pruner=optuna.pruners.NopPruner()
        )
        services.campaign = Campaign(CampaignStudy(study, storage, SPACE, "c"), limits, services, "c", time.now)
        pool = PlacedPool(site, placement, CostLearner(costs), memory)
        loop = CampaignLoop(services.campaign, pool, storage, services, number, longest_wait=LONGEST_WAIT)
        loop.run()
        pool.close()
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        storage.close()
    ends = sorted((services.ended[trial.number], trial.number, float(trial.value or 0.0)) for trial in complete)
    held = sum(machine.held() for machine in machines.values())
    return Run(max(services.ended.values()), held, len(complete), len(log.begun), ends)
