"""What repetitions gain on noisy functions: the true value of the chosen best, with equal numbers of runs.

``python benchmarks/noisy_objectives.py [--small] [--keep] [--seeds 30] [--runs 90] [--samplers random gp]``

The campaign is real, with its record in SQLite and one simulated worker. Each function gets normal noise, whose
standard deviation is a share of the function's own over its space. A campaign ends when all runs are used up; with
repetitions it has fewer trials. Regret is how much worse the true value of the chosen trial is than the optimum, in
units of the function's standard deviation: chosen by the best mean, as Optuna does, and by the best pessimistic bound,
as ``pilotune best`` does. The difference is to the trial that is chosen where each is run once, on the same seeds.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import common
import numpy as np
import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from quality.problems.functions import branin, hartmann6

from pilotune.pipeline.campaign.campaign import Campaign
from pilotune.pipeline.campaign.campaign_study import CampaignStudy
from pilotune.pipeline.campaign.cautious_incumbent import CautiousIncumbent
from pilotune.pipeline.campaign.events import StopRequested
from pilotune.pipeline.campaign.flight import Flight, seed_of
from pilotune.pipeline.campaign.limits import CampaignLimits
from pilotune.pipeline.noise import Repeats
from pilotune.pipeline.record import RecordStorage
from pilotune.pipeline.registry_args import Named
from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.suggest import make_sampler
from pilotune.pipeline.trial.protocol import AttemptSpec
from pilotune.providers.simulated.pool import SimulatedPool, Step

WAYS = {
    "once": Repeats(1, 1),
    "3 times": Repeats(3, 3),
    "1 to 5 times": Repeats(1, 5),
    "2 to 5 times": Repeats(2, 5),
}
NOISES = (0.1, 0.5, 2.0)
"""Standard deviations of the noise, in those of the function."""


@dataclass(frozen=True)
class Function:
    """A function to minimize; ``deviation`` is its standard deviation over its space."""

    name: str
    value: Callable[[np.ndarray], float]
    ranges: tuple[tuple[float, float], ...]
    optimum: float

    @property
    def space(self) -> Space:
        parameters = tuple(Parameter(f"x{i}", FloatDistribution(*ends), {}) for i, ends in enumerate(self.ranges))
        return Space(parameters=parameters, constants={}, constraints=())

    @property
    def deviation(self) -> float:
        lows, highs = np.array(self.ranges).T
        points = np.random.default_rng(0).uniform(lows, highs, (2_000, len(lows)))
        return float(np.std([self.value(point) for point in points]))

    def at(self, params: dict[str, float]) -> float:
        return float(self.value(np.array([params[f"x{i}"] for i in range(len(self.ranges))])))


FUNCTIONS = (
    Function("branin", branin, ((-5.0, 10.0), (0.0, 15.0)), 0.397887),
    Function("hartmann6", hartmann6, ((0.0, 1.0),) * 6, -3.32237),
)


class Noisy(SimpleNamespace):
    """The services of a campaign whose workers are simulated; ``submitted`` counts runs."""

    def make_spec(self, flight: Flight) -> AttemptSpec:
        self.submitted += 1
        seed = seed_of(self.seed, "noisy", flight.number, flight.repeat)
        return AttemptSpec(flight.token, "noisy", flight.number, flight.attempt, flight.params, False, "", seed, 1,
                           repeat=flight.repeat, since=flight.since)  # fmt: skip

    def why_unfit(self, flight: Flight) -> str:
        return ""

    def last_saved(self, flight: Flight) -> None:
        return None

    def written_outcome(self, flight: Flight) -> None:
        return None

    def report_log(self, flight: Flight) -> None:
        return None


def chosen(function: Function, noise: float, sampler: str, repeats: Repeats, seed: int, runs: int) -> list[float]:
    """The true values of the trials that are chosen by mean and by bound, and the number of complete trials."""

    def objective(spec: AttemptSpec) -> Iterator[Step]:
        yield 60.0, function.at(spec.params) + random.Random(spec.seed).gauss(0.0, noise)
        yield 0.0, None

    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        storage = RecordStorage(f"sqlite:///{Path(folder)}/study.db", autocommit=False)
        storage.database.run("PRAGMA synchronous=OFF")
        optuna.create_study(storage=storage, study_name="noisy")
        file = SimpleNamespace(sampler=Named(sampler), directions=("minimize",), space=function.space, folder=Path())
        sampled = {"sampler": make_sampler(file, seed=seed), "pruner": optuna.pruners.NopPruner()}
        study = optuna.load_study(study_name="noisy", storage=storage, **sampled)
        services = Noisy(submitted=0, seed=seed)
        pool, limits = SimulatedPool(1, objective), CampaignLimits(repeats=repeats, seed=seed, asks_ahead=False)
        campaign = Campaign(CampaignStudy(study, storage, function.space, "c"), limits, services, "c", pool.now())
        while campaign.finished is None:
            events = pool.wait(60.0)
            if services.submitted >= runs and not campaign.running and not campaign.ending:
                events.append(StopRequested("finish"))
            if services.submitted > runs:
                events.append(StopRequested("now"))
            campaign.step(pool.now(), events)
            storage.commit()
            pool.perform(campaign.release())
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        best = CautiousIncumbent().refresh(study)
        by_bound = study.best_trial if best is None else study.trials[best.number]
        storage.close()
        return [function.at(study.best_params), function.at(by_bound.params), len(complete)]


def interval(values: np.ndarray) -> str:
    """The mean with a 95 % interval, by the bootstrap."""
    drawn = np.random.default_rng(0).choice(values, (2_000, len(values))).mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return f"{values.mean():.3f} ({low:.3f} to {high:.3f})"


def rows_of(function: Function, share: float, sampler: str, seeds: int, runs: int) -> list[list]:
    unit, rows = function.deviation, []
    plain = np.zeros(seeds)
    for name, repeats in WAYS.items():
        found = [chosen(function, share * unit, sampler, repeats, seed, runs) for seed in range(seeds)]
        by_mean, by_bound, trials = np.array(found).T
        by_mean, by_bound = (by_mean - function.optimum) / unit, (by_bound - function.optimum) / unit
        plain = by_mean if name == "once" else plain
        rows.append([function.name, share, sampler, name, float(trials.mean()), interval(by_mean), interval(by_bound),
                     None if name == "once" else interval(by_bound - plain)])  # fmt: skip
        print(f"  {function.name}, noise {share}, {sampler}, {name}", file=sys.stderr)
    return rows


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--runs", type=int, default=90)
    parser.add_argument("--samplers", nargs="+", default=["random", "gp"])
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if options.small:
        options.seeds, options.runs = 2, 12
    rows = [
        row
        for function in FUNCTIONS
        for share in NOISES
        for sampler in options.samplers
        for row in rows_of(function, share, sampler, options.seeds, options.runs)
    ]
    title = f"{options.runs} runs, {options.seeds} seeds: regret of the chosen trial, means and 95 % intervals"
    head = ["function", "noise", "sampler", "run", "trials", "by mean", "by bound", "by bound - once"]
    common.finish("Noisy objectives", common.table(title, head, rows), options.keep)


if __name__ == "__main__":
    main()
