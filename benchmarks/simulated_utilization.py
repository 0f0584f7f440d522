"""Worker utilization on a simulated machine with 128 to 16,384 workers, with the driver's own time on its clock.

``python benchmarks/simulated_utilization.py [--small] [--keep] [--workers 8192] [--seconds 120]``

The driver is real (campaign, record on SQLite, loop, TPE); its workers are simulated on a virtual clock, and their
trials' durations are lognormal. The CPU time that the driver uses between two turns passes on that clock, too, and so
does a millisecond for each submission, which is what Parsl takes for a task. Beside it runs the same loop with Optuna's
own sampler and storage. At the beginning 10,000 trials are finished and all workers run trials, whose remaining
durations are drawn as in a campaign that has run for long. The first ask, which reads the study, is not charged, and
the first tenth of the time after it does not count. A worker that waits for an answer counts as idle.

Where the driver is busy all the time, workers go idle one after another until only as many run as it can supply. Such a
row, marked ->, gives the utilization that this converges to, computed from the rate at which trials start.
"""

from __future__ import annotations

import math
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import common
import optuna
import studies
from drivers import BEGAN, adopt_running, driver_on, loop_of
from optuna.trial import TrialState

from pilotune.pipeline.campaign.events import Action, Ended, Event, Reply, Submit
from pilotune.pipeline.campaign.limits import ASKS_PER_STEP
from pilotune.pipeline.trial.protocol import AttemptSpec, Report, Verdict
from pilotune.providers.simulated.clock import VirtualTime
from pilotune.providers.simulated.pool import SimulatedPool, Step

SIGMA = 0.6
"""Standard deviation of the logarithm of a trial's duration."""

SUBMISSION = 1e-3
"""Seconds of the driver's time that Parsl takes for a task."""

WORKERS, LENGTHS = (128, 512, 2_048, 8_192, 16_384), (60.0, 120.0, 600.0)
PEER_LENGTH, SQLITE_WORKERS = 120.0, (128, 2_048)
BUDGETS = {(8_192, 120.0): 0.99}
SATURATED = 0.98
"""The fraction of the time that a driver computes from which on it counts as busy all the time."""


@dataclass(frozen=True)
class Case:
    """One simulation.

    Attributes:
        workers: Their number.
        length: Median duration of a trial, in seconds.
        n: Finished trials at the beginning.
        per_worker: Stop after this many trials started for each worker.
        cap: Stop after this many seconds of CPU time.
        sampler: Pilotune's.
    """

    workers: int
    length: float
    n: int
    per_worker: float
    cap: float
    sampler: str = "tpe"

    @property
    def mean(self) -> float:
        return self.length * math.exp(SIGMA**2 / 2)


class Trials:
    """What the workers run: a report after the trial's duration, then its end.

    Attributes:
        computed: For each trial the times between which a worker computed.
        begun: The numbers of the trials that were running when the simulation began.
    """

    def __init__(self, case: Case, now: Callable[[], float], begun: set[int]):
        self.case, self.now, self.begun = case, now, begun
        self.random = random.Random(0)
        self.computed: list[tuple[float, float]] = []

    def __call__(self, spec: AttemptSpec) -> Iterator[Step]:
        mean = math.log(self.case.length)
        if spec.number in self.begun:  # among running trials long ones are over-represented
            seconds = self.random.lognormvariate(mean + SIGMA**2, SIGMA) * self.random.random()
        else:
            seconds = self.random.lognormvariate(mean, SIGMA)
        self.computed.append((self.now(), self.now() + seconds))
        yield seconds, studies.value_of(spec.params)
        yield 0.0, None

    def seconds(self, first: float, last: float) -> float:
        """Seconds that workers computed between two times, summed over workers."""
        return sum(max(0.0, min(end, last) - max(start, first)) for start, end in self.computed)


class ChargedPool(SimulatedPool):
    """A simulated pool on whose clock the driver's own CPU time passes.

    Attributes:
        charged: Seconds that the driver has computed.
        submitted: When trials were submitted.
    """

    def __init__(self, case: Case, begun: set[int]):
        clock = VirtualTime(BEGAN)
        self.trials = Trials(case, lambda: clock.now, begun)
        super().__init__(case.workers, self.trials, time=clock)
        self.charged, self.submitted = 0.0, list[float]()
        self._charging, self._since = False, None

    def wait(self, timeout: float) -> list[Event]:
        self._take_time()
        events = super().wait(timeout)
        self._since = time.process_time() if self._charging else None
        return events

    def perform(self, actions: Sequence[Action]) -> None:
        fresh = sum(isinstance(action, Submit) for action in actions)
        self._take_time(fresh * SUBMISSION)
        super().perform(actions)
        self.submitted += [self.now()] * fresh
        self._since = time.process_time() if self._charging else None

    def begin(self) -> None:
        """Charge the driver from now on."""
        self.charged, self.submitted, self._charging = 0.0, [], True

    def _take_time(self, more: float = 0.0) -> None:
        if self._since is not None:
            seconds = time.process_time() - self._since + more
            self._since = None
            self.charged += seconds
            self.time.advance(seconds)


def simulate(case: Case, pool: ChargedPool, turn: Callable[[], None]) -> list:
    """Run turns until enough trials have started or the time is over. Returns the cells of the row."""
    pool.submitted.clear()
    while not pool.submitted:  # the first ask reads the study
        turn()
    pool.begin()
    began, at = time.process_time(), pool.now()
    while len(pool.submitted) < case.per_worker * case.workers and time.process_time() - began < case.cap:
        turn()
    first, last = at + 0.1 * (pool.now() - at), pool.now()
    started = sum(when >= first for when in pool.submitted)
    busy = min(1.0, pool.charged / (last - at))
    utilization = pool.trials.seconds(first, last) / (case.workers * (last - first))
    shown = f"{utilization:.4f}"
    if busy >= SATURATED:
        utilization = min(1.0, started / (last - first) * case.mean / case.workers)
        shown = f"-> {utilization:.4f}"
    cost = 1e3 * pool.charged / max(1, len(pool.submitted))
    budget = BUDGETS.get((case.workers, case.length))
    verdict = None if budget is None else f"{budget}: {'kept' if utilization >= budget else 'missed'}"
    return [len(pool.submitted), cost, f"{busy:.3f}", shown, verdict]


def pilotune(case: Case) -> list:
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        url = f"sqlite:///{folder}/study.db"
        studies.fill_database(url, studies.templates(case.n, case.workers))
        with driver_on(Path(folder), url, sampler=case.sampler) as driver:
            campaign = driver.campaign
            flights = [campaign.flights[token] for token in adopt_running(driver)]
            driver.storage.commit()
            pool = ChargedPool(case, {flight.number for flight in flights})
            pool.perform([Submit(driver.make_spec(flight)) for flight in flights])
            loop = loop_of(driver, pool)
            clock = SimpleNamespace(time=pool.now)
            with mock.patch("pilotune.pipeline.driver.driver.time", clock):
                pool.pause(pool.latency)  # until all of them have started
                loop.turn()
                return simulate(case, pool, loop.turn)


def optuna_loop(case: Case, kind: str) -> list:
    """A minimal driver on Optuna: as many asks a turn as Pilotune's, and every event is written to the storage."""
    with studies.peer_storage(kind, lambda: studies.templates(case.n, case.workers)) as storage:
        study = optuna.load_study(study_name=studies.NAME, storage=storage, sampler=optuna.samplers.TPESampler(seed=0))
        running = {trial.number: trial for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}
        ids = {number: trial._trial_id for number, trial in running.items()}
        pool, room = ChargedPool(case, set(running)), 0

        def spec(number: int, params: dict) -> AttemptSpec:
            return AttemptSpec(f"{number}.1.c", studies.NAME, number, 1, params, False, "", 0, 1)

        def turn() -> None:
            nonlocal room
            actions: list[Action] = []
            for event in pool.wait(0.0 if room else 1.0):
                if isinstance(event, Report):
                    number = int(event.token.split(".")[0])
                    storage.set_trial_intermediate_value(ids[number], event.step, event.value)
                    actions.append(Reply(Verdict(event.token, event.request)))
                elif isinstance(event, Ended):
                    study.tell(event.outcome.number, event.outcome.values)
                    room += 1
            deadline = time.process_time() + case.cap / 3
            for _ in range(min(room, ASKS_PER_STEP)):
                trial = study.ask()
                params = studies.suggest(trial)
                ids[trial.number] = trial._trial_id
                actions.append(Submit(spec(trial.number, params)))
                room -= 1
                if time.process_time() > deadline:
                    break
            pool.perform(actions)

        pool.perform([Submit(spec(number, trial.params)) for number, trial in running.items()])
        pool.pause(pool.latency)
        turn()
        return simulate(case, pool, turn)


def measure(cases: list[Case]) -> str:
    lengths = {case.length for case in cases}
    length = PEER_LENGTH if PEER_LENGTH in lengths else min(lengths)  # that of Optuna's rows
    rows = []
    for case in cases:
        rows.append([case.workers, case.length, f"Pilotune, SQLite, {case.sampler}", *pilotune(case)])
        if case.length == length:
            kinds = ["memory", *(["SQLite"] if case.workers in SQLITE_WORKERS else [])]
            few = Case(case.workers, case.length, case.n, case.per_worker, case.cap / 4)
            rows += [
                [case.workers, case.length, f"Optuna, {kind}", *optuna_loop(few, kind)[:-1], None] for kind in kinds
            ]
    head = ["workers", "median s", "who", "trials", "ms a trial", "driver busy", "utilization", "budget"]
    return common.table("Simulated utilization, the driver's cost charged", head, rows)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS)
    parser.add_argument("--seconds", type=float, nargs="+", default=LENGTHS, help="median length of a trial")
    parser.add_argument("--n", type=int, default=10_000, help="finished trials at the start [10000]")
    parser.add_argument("--per-worker", type=float, default=1.0, help="trials for each worker [1]")
    parser.add_argument("--cap", type=float, default=16.0, help="seconds of CPU for a row; a quarter for Optuna's [16]")
    parser.add_argument("--sampler", default="tpe", help="Pilotune's sampler [tpe]")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    workers, lengths, n, cap = options.workers, options.seconds, options.n, options.cap
    if options.small:
        workers, lengths, n, cap = (128, 512), (60.0,), min(n, 1_000), min(cap, 4.0)
    cases = [
        Case(count, length, n, options.per_worker, cap, options.sampler) for count in workers for length in lengths
    ]
    common.finish("Simulated utilization", measure(cases), options.keep)


if __name__ == "__main__":
    main()
