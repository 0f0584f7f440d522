"""Runs the real campaign, pump and record on the simulated pool, one seed a run, and checks what must always hold.

``python -m tests.simulation --seeds 0:100000`` from the repository root searches further than the tests do; with
``--blocks`` the workers are those of blocks with walltimes.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from pilotune.errors import RecordAway
from pilotune.pipeline.campaign.attempts import Flight
from pilotune.pipeline.campaign.campaign import Campaign
from pilotune.pipeline.campaign.events import Asked, Finish, Scale
from pilotune.pipeline.campaign.pump import Pump
from pilotune.pipeline.campaign.rules import Rules, ahead
from pilotune.pipeline.campaign.study import CampaignStudy
from pilotune.pipeline.campaign.watchdog import waiting
from pilotune.pipeline.record import Orphan, RecordStorage
from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.trial.protocol import AttemptSpec, Outcome
from pilotune.providers.simulated import Disk, Faults, SimulatedPool, Step
from pilotune.providers.simulated_blocks import BlockPlan
from pilotune.providers.site.spec import BlockCounts

SPACE = Space(
    parameters=(
        Parameter("x", FloatDistribution(-1.0, 1.0), {}),
        Parameter("n", IntDistribution(1, 8), {}),
        Parameter("kind", CategoricalDistribution(("a", "b")), {}),
        Parameter("only_b", FloatDistribution(1e-3, 1.0, log=True), {"kind": ("b",)}),
    ),
    constants={"epochs": 9},
    constraints=(),
)


class DriverKilled(Exception):
    """The simulated kill -9 of a driver."""


@dataclass(frozen=True)
class Case:
    """One seed's draw of everything."""

    seed: int
    workers: int
    trials: int
    faults: Faults
    kills: int  # how often the driver dies
    away: float  # chance that a commit fails
    stop_at: int | None  # the tick at which the user says finish
    plan: BlockPlan | None = None
    every: int = 0  # steps between checkpoints, with blocks
    stretch: float = 1.0  # mean seconds of a step
    expected: float | None = None  # what the user says that a trial runs

    @classmethod
    def of(cls, seed: int) -> Case:
        draw = random.Random(seed)
        faults = Faults(
            lose=draw.choice([0.0, 0.0, 0.02, 0.1]),
            late=draw.choice([0.0, 0.5]),
            twice=draw.choice([0.0, 0.1, 0.5]),
            fail=draw.choice([0.0, 0.05]),
            shuffle=draw.random() < 0.7,
            notice=draw.choice([0.05, 1.0, 10.0]),
        )
        return cls(
            seed=seed,
            workers=draw.choice([1, 2, 4, 7]),
            trials=draw.choice([1, 5, 12]),
            faults=faults,
            kills=draw.choice([0, 0, 1, 3]),
            away=draw.choice([0.0, 0.0, 0.1]),
            stop_at=draw.choice([None, None, None, 5]),
        )

    @classmethod
    def with_blocks(cls, seed: int) -> Case:
        """The same, on blocks that come and go and end at their walltime."""
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
        )
        stretch = draw.choice([0.5, 3.0, 10.0, 10.0])
        return replace(
            cls.of(seed),
            trials=draw.choice([5, 12, 30]),
            workers=most * plan.workers,
            plan=plan,
            every=draw.choice([0, 1, 3]),
            stretch=stretch,
            expected=draw.choice([None, None, 8.0 * stretch]),
            stop_at=draw.choice([None, None, None, None, 40]),
        )


def template(folder: Path) -> Path:
    """An empty database with Optuna's schema and the study, made once: the schema takes longer than a seed."""
    path = folder / "template.db"
    storage = RecordStorage(f"sqlite:///{path}", autocommit=False)
    optuna.create_study(storage=storage, study_name="simulated", direction="minimize")
    storage.commit()
    storage.close()
    return path


class Run:
    """One seed, over as many drivers as it takes."""

    def __init__(self, case: Case, database: Path):
        self.case, self.database = case, database
        self.random = random.Random(case.seed + 1)
        self.outcomes: list[Outcome] = []
        self.reports: list[tuple[int, int, float]] = []
        self.begun: set[tuple[int, int]] = set()
        self.disk = Disk(case.every) if case.plan else None
        self.saw: Counter[str] = Counter()  # how often what is looked for came about

    def objective(self, spec: AttemptSpec) -> Iterator[Step]:
        draw, case = random.Random(spec.seed), self.case
        longest = case.plan.walltime / 4 if case.plan else 1e9  # a step that fits into no block is never done

        def seconds() -> float:
            return min(case.stretch * draw.expovariate(1.0), longest)

        for step in range(draw.randint(0, 9)):
            yield seconds(), draw.random() / (step + 1)
        yield seconds(), None

    def go(self) -> Finish:
        """Run drivers until one comes to an end by itself."""
        for driver in range(self.case.kills + 1):
            try:
                return self._drive(driver)
            except DriverKilled:
                continue
        raise AssertionError("unreachable: the last driver is never killed")

    def _drive(self, driver: int) -> Finish:
        storage = RecordStorage(f"sqlite:///{self.database}", autocommit=False)
        try:
            return self._campaign(storage, driver)
        finally:
            storage.close()

    def _campaign(self, storage: RecordStorage, driver: int) -> Finish:
        case = self.case
        study = optuna.load_study(
            study_name="simulated",
            storage=storage,
            sampler=optuna.samplers.RandomSampler(seed=case.seed + driver),
            pruner=optuna.pruners.HyperbandPruner(min_resource=1, max_resource=9, reduction_factor=3),
        )
        began = 1e6 * (driver + 1)
        pool = SimulatedPool(
            case.workers,
            self.objective,
            seed=case.seed + driver,
            faults=case.faults,
            plan=case.plan,
            disk=self.disk,
            clock=began,
        )
        campaign = Campaign(
            _Desk(study, storage, SPACE, f"c{driver}"),
            Rules(trials=case.trials, failures=1_000, expected=case.expected),
            lambda flight: self._spec(flight, campaign),
            f"c{driver}",
            began,
        )
        orphans = self._orphans(study)
        pump = _CheckedPump(
            campaign,
            pool,
            storage,
            orphans=lambda: (orphans, self.outcomes),
            orphan_period=1e9,
            limit=case.trials,
            sync_period=1e9,
            still_period=1e9,
        )
        pump.run_ = self
        pump.last = driver == case.kills
        try:
            return pump.run()
        finally:
            pool.close()
            self._collect(pool)

    def _collect(self, pool: SimulatedPool) -> None:
        self.outcomes += pool.outcomes
        self.reports += pool.reports
        self.begun |= pool.begun
        self.saw["declined"] += pool.declined
        self.saw["yielded"] += sum(outcome.kind == "yielded" for outcome in pool.outcomes)
        if pool.blocks:
            assert self.case.plan
            assert pool.blocks.most <= self.case.plan.counts.max, "more blocks than the site allows"
            self.saw["blocks"] += len(pool.blocks.blocks)
            self.saw.update(str(block.end) for block in pool.blocks.blocks)

    def _spec(self, flight: Flight, campaign: Campaign) -> AttemptSpec:
        kept = self.disk is not None and self.disk.saved.get(flight.number, 0)
        return AttemptSpec(
            token=flight.token,
            study="simulated",
            number=flight.number,
            attempt=flight.attempt,
            params=flight.params,
            defines_space=False,
            directory="",
            seed=self.case.seed * 1000 + flight.number,
            n_values=1,
            expected=campaign.ends.durations.left(flight.ran if kept else 0.0),
        )

    def _orphans(self, study: optuna.Study) -> list[Orphan]:
        return [
            Orphan(
                number=trial.number,
                attempt=trial.system_attrs["pilotune:attempt"],
                campaign=trial.system_attrs["pilotune:campaign"],
                directory="",
                params={**trial.params, **SPACE.constants},
            )
            for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        ]


class _Desk(CampaignStudy):
    """Sees to it that each trial is told once."""

    def tell(self, trial: optuna.Trial, state: TrialState, values: list[float] | None = None) -> None:  # type: ignore[override]
        assert self.storage.get_trial(trial._trial_id).state == TrialState.RUNNING, "told twice"
        super().tell(trial, state, values)


class _CheckedPump(Pump):
    """Checks the bounds after each tick, and injects deaths of the driver and absences of the database."""

    run_: Run
    last: bool
    ticks = 0
    checked: Scale | None = None

    def tick(self, events: list) -> None:  # type: ignore[override, type-arg]
        case, self.ticks = self.run_.case, self.ticks + 1
        if self.ticks == case.stop_at:
            events = [*events, Asked("finish")]
        self._perhaps_die()
        super().tick(events)
        campaign = self.campaign
        most = case.workers + ahead(case.workers, campaign.latency, 1e-3)
        assert campaign.in_flight <= max(most, len(self._adopted)), "too much in flight"
        assert campaign.study.asked <= case.trials, "over budget"
        assert self.pool.most_running <= case.workers
        assert campaign.busy_seconds <= campaign.worker_seconds + 1e-6, "busier than there are workers"
        assert self.ticks < (20_000 if case.plan else 1_000), "it never ends"
        self._check_demand()
        waiting(campaign)

    def _check_demand(self) -> None:
        campaign, demand = self.campaign, self.campaign.demand
        if demand is None or demand is self.checked:
            return
        self.checked = demand
        ended = sum(count for state, count in campaign.study.counts.items() if state.is_finished())
        assert demand.workers <= self.run_.case.trials - ended, "more workers wanted than trials are left"
        assert demand.workers >= campaign.in_flight, "what is in flight is in demand"
        assert not campaign.ending or demand.workers == campaign.in_flight, "an end needs no more workers"

    @property
    def _adopted(self) -> list[str]:
        return [token for token in self.campaign.flights if not token.endswith(self.campaign.campaign)]

    def _perhaps_die(self) -> None:
        if not self.last and self.run_.random.random() < 0.05:
            raise DriverKilled

    def _commit(self):  # type: ignore[no-untyped-def]
        self._perhaps_die()
        commit = self.storage.commit

        def shaky(limit: int | None) -> object:
            if self.run_.random.random() < self.run_.case.away:
                if self.run_.random.random() < 0.5:
                    commit(limit)
                raise RecordAway("it did not answer")
            return commit(limit)

        self.storage.commit = shaky  # type: ignore[method-assign, assignment]
        try:
            refused = super()._commit()
        finally:
            self.storage.commit = commit  # type: ignore[method-assign]
        self._perhaps_die()
        return refused


def check(case: Case, template_path: Path, folder: Path) -> Run:
    """Run one seed and check its end. Raises AssertionError where something that must hold does not."""
    database = folder / f"{case.seed}.db"
    shutil.copy(template_path, database)
    run = Run(case, database)
    finish = run.go()
    run.saw[f"code {finish.code}"] += 1
    storage = RecordStorage(f"sqlite:///{database}", autocommit=False)
    trials = optuna.load_study(study_name="simulated", storage=storage).get_trials(deepcopy=False)
    storage.close()
    assert [trial.number for trial in trials] == list(range(len(trials))), "numbers have holes"
    assert len(trials) <= case.trials, "over budget"
    if finish.code == 130:
        assert all(trial.state.is_finished() or trial.state == TrialState.RUNNING for trial in trials)
    else:
        assert len(trials) == case.trials, f"{len(trials)} of {case.trials} trials"
        assert all(trial.state.is_finished() for trial in trials), "a trial was lost"
    _history_is_real(trials, run)
    if not case.kills:
        _attempts_are_counted(trials, run)
    for path in folder.glob(f"{case.seed}.db*"):
        path.unlink()
    return run


def _attempts_are_counted(trials: list[optuna.trial.FrozenTrial], run: Run) -> None:
    """Each attempt of a trial has a number of its own and was begun; one that was declined is not counted."""
    for trial in trials:
        if trial.state.is_finished():
            numbers = sorted(attempt for number, attempt in run.begun if number == trial.number)
            assert numbers == list(range(1, trial.user_attrs["pilotune:attempts"] + 1)), "attempts have holes"
            assert trial.user_attrs["pilotune:exit"] != "yielded", "a trial that gets on was given up"


def _history_is_real(trials: list[optuna.trial.FrozenTrial], run: Run) -> None:
    """What the database says of a trial is what its attempts did."""
    returned = {(outcome.number, *(outcome.values or ())) for outcome in run.outcomes if outcome.kind == "complete"}
    said = set(run.reports)
    for trial in trials:
        if trial.state == TrialState.COMPLETE:
            assert (trial.number, *trial.values) in returned, "a value nobody returned"
        for step, value in trial.intermediate_values.items():
            assert (trial.number, step, value) in said, "a report nobody sent"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0:1000", help="FIRST:LAST, or one seed to replay")
    parser.add_argument("--blocks", action="store_true", help="on blocks with walltimes")
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition(":")
    of = Case.with_blocks if arguments.blocks else Case.of
    saw: Counter[str] = Counter()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    failures = 0
    with TemporaryDirectory() as name:
        folder = Path(name)
        path = template(folder)
        for seed in range(int(first), int(last or int(first) + 1)):
            try:
                saw += check(of(seed), path, folder).saw
            except Exception as error:
                failures += 1
                print(f"seed {seed}: {type(error).__name__}: {error} ({of(seed)})", flush=True)
    print(", ".join(f"{count} {what}" for what, count in sorted(saw.items())))
    print(f"{failures} failed")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
