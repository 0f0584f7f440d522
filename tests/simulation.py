"""Runs the real campaign, pump and record on the simulated pool, one seed a run, and checks what must always hold.

``python -m tests.simulation --seeds 0:100000`` from the repository root searches further than the tests do.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from pilotune.errors import RecordAway
from pilotune.pipeline.campaign.attempts import Flight
from pilotune.pipeline.campaign.campaign import Campaign
from pilotune.pipeline.campaign.events import Asked, Finish
from pilotune.pipeline.campaign.pump import Pump
from pilotune.pipeline.campaign.rules import Rules, ahead
from pilotune.pipeline.campaign.study import CampaignStudy
from pilotune.pipeline.record import Orphan, RecordStorage
from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.trial.protocol import AttemptSpec, Outcome
from pilotune.providers.simulated import Faults, SimulatedPool, Step

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
        self.told: Counter[int] = Counter()
        self.kills = case.kills

    def objective(self, spec: AttemptSpec) -> Iterator[Step]:
        draw = random.Random(spec.seed)
        for step in range(draw.randint(0, 9)):
            yield draw.expovariate(1.0), draw.random() / (step + 1)
        yield draw.expovariate(1.0), None

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
        pool = SimulatedPool(case.workers, self.objective, seed=case.seed + driver, faults=case.faults)
        pool.clock = 1e6 * (driver + 1)
        desk = _Desk(study, storage, SPACE, f"c{driver}", self.told)
        campaign = Campaign(
            desk,
            Rules(trials=case.trials, failures=1_000),
            lambda flight: _spec(flight, case.seed),
            f"c{driver}",
            pool.now(),
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
        )
        pump.run_ = self
        pump.last = driver == case.kills
        try:
            return pump.run()
        finally:
            self.outcomes += pool.outcomes
            self.reports += pool.reports

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
    """Counts how often each trial is told."""

    def __init__(self, study: optuna.Study, storage: RecordStorage, space: Space, campaign: str, told: Counter[int]):
        super().__init__(study, storage, space, campaign)
        self.tells: list[optuna.Trial] = []

    def tell(self, trial: optuna.Trial, state: TrialState, values: list[float] | None = None) -> None:  # type: ignore[override]
        assert self.storage.get_trial(trial._trial_id).state == TrialState.RUNNING, "told twice"
        super().tell(trial, state, values)


class _CheckedPump(Pump):
    """Checks the bounds after each tick, and injects deaths of the driver and absences of the database."""

    run_: Run
    last: bool
    ticks = 0

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
        assert self.ticks < 1_000, "it never ends"

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


def _spec(flight: Flight, seed: int) -> AttemptSpec:
    return AttemptSpec(
        token=flight.token,
        study="simulated",
        number=flight.number,
        attempt=flight.attempt,
        params=flight.params,
        defines_space=False,
        directory="",
        seed=seed * 1000 + flight.number,
        n_values=1,
    )


def check(seed: int, template_path: Path, folder: Path) -> Finish:
    """Run one seed and check its end. Raises AssertionError where something that must hold does not."""
    database = folder / f"{seed}.db"
    shutil.copy(template_path, database)
    case = Case.of(seed)
    run = Run(case, database)
    finish = run.go()
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
    for path in folder.glob(f"{seed}.db*"):
        path.unlink()
    return finish


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
    first, _, last = parser.parse_args().seeds.partition(":")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    failures = 0
    with TemporaryDirectory() as name:
        folder = Path(name)
        path = template(folder)
        for seed in range(int(first), int(last or int(first) + 1)):
            try:
                check(seed, path, folder)
            except Exception as error:
                failures += 1
                print(f"seed {seed}: {type(error).__name__}: {error} ({Case.of(seed)})")
    print(f"{failures} failed")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
