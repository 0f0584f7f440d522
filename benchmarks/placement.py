"""How placement by learned costs compares with first-come, SHADHO's rule and known costs.

``python benchmarks/placement.py [--small] [--keep] [--trials 4000] [--seeds 10]``

150 simulated workers in three pools run trials of a fixed mix on a virtual clock: 50 % small, 30 % medium and 20 %
large models, with lognormal noise of 0.3. All policies get the same trials in the same order, with the same noise.

- first-come: the oldest trial.
- shadho: SHADHO's rule, to which larger models have more free parameters.
- learned: the policy of campaigns. It sees parameters and durations only, and begins with no data.
- known costs: the same policy, told what every trial takes in each pool before noise.
- known later: the same, told when the first trial has ended. A policy that begins with no data cannot do much better.
- bound: the linear program's rate from the first second to the last, without the wait for the last trials.

The hardware: pools that differ in speed by the same factor for all models; a GPU that helps larger models; a GPU that
helps medium models only, the rest being slow for all. A fourth case has no kinds: the cost is a product of layers and
units, and so is what the GPU gains.

Makespan is the time until the last trial has ended, in seconds; "all begun" is when the last trial begins, which leaves
out the wait at the end. A ratio is first-come's time over the policy's, by seed. Intervals are 95 %.
"""

from __future__ import annotations

import heapq
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

import common
import numpy as np
from scipy.stats import t as student

from pilotune.pipeline.placement import Costs, Placement, PoolRoom
from pilotune.pipeline.placement.kinds import clusters, nearest
from pilotune.pipeline.placement.shares import solve

NOISE = 0.3
FINE = 24
"""So many kinds the bound tells apart."""
KNOWN = "known costs"
LATER = "known later"
POLICIES = ("fifo", "shadho", "learned", KNOWN)
NAMES = {"fifo": "first-come"}
MIX = {"small": 0.5, "medium": 0.3, "large": 0.2}
Params = Mapping[str, object]


@dataclass(frozen=True)
class Case:
    """A kind of hardware: workers by pool, and the seconds of a trial by pool."""

    name: str
    workers: Mapping[str, int]
    seconds: Callable[[Params], Sequence[float]]


def by_model(**seconds: Sequence[float]) -> Callable[[Params], Sequence[float]]:
    """Seconds by the model and the pool."""
    return lambda params: seconds[str(params["model"])]


def by_size(params: Params) -> Sequence[float]:
    """Seconds that grow with layers and units, as does what the GPU gains."""
    size = float(params.get("layers", 1)) * float(params.get("units", 8)) ** 0.7  # type: ignore[arg-type]
    return (size, size / 2, size / min(20.0, 0.5 * size**0.6))


CASES = (
    Case(
        "speed 1 : 2 : 4 for all",
        {"old": 50, "new": 50, "gpu": 50},
        by_model(small=(10, 5, 2.5), medium=(50, 25, 12.5), large=(150, 75, 37.5)),
    ),
    Case(
        "GPU helps larger ones",
        {"old": 70, "new": 70, "gpu": 10},
        by_model(small=(10, 8, 8), medium=(50, 40, 5), large=(150, 120, 7.5)),
    ),
    Case(
        "GPU helps medium ones",
        {"old": 60, "new": 70, "gpu": 20},
        by_model(small=(10, 8, 10), medium=(80, 64, 4), large=(90, 72, 90)),
    ),
    Case("costs by layers and units", {"old": 70, "new": 70, "gpu": 10}, by_size),
)


def parameters(draw: random.Random) -> dict[str, object]:
    """A configuration: ten parameters at most, of which larger models have more."""
    model = draw.choices(list(MIX), list(MIX.values()))[0]
    found: dict[str, object] = {
        "model": model,
        "lr": 10 ** draw.uniform(-5, -1),
        "batch": 2 ** draw.randint(4, 9),
        "optimizer": draw.choice(["sgd", "adam", "lamb"]),
        "augment": draw.random() < 0.5,
    }
    if model != "small":
        found |= {"layers": draw.randint(1, 8), "units": 2 ** draw.randint(4, 9), "dropout": draw.uniform(0, 0.5)}
    if model == "large":
        found |= {"heads": 2 ** draw.randint(0, 4), "warmup": draw.randint(0, 1000)}
    return found


def drawn(trials: int, seed: int) -> list[tuple[dict[str, object], float]]:
    """Configurations, each with the factor that its seconds have in any pool."""
    draw = random.Random(seed)
    return [(parameters(draw), math.exp(draw.gauss(0, NOISE))) for _ in range(trials)]


class KnownCosts(Costs):
    """Costs that are known before any trial has run, or as soon as one has ended (``later``)."""

    def __init__(self, case: Case, sample: Sequence[Params], later: bool = False) -> None:
        super().__init__(list(case.workers))
        self._case, self._sample = case, sample
        self._told = True
        known = np.repeat(self.log_seconds(sample), len(self.pools), axis=0)
        self._attempts = known, np.tile(np.arange(len(self.pools)), len(sample))
        self._told = not later

    def note(self, *_: object, **__: object) -> None:
        self._told = True

    @property
    def version(self) -> int:
        return int(self._told)

    @property
    def count(self) -> int:
        return 1_000_000

    def log_seconds(self, many: Sequence[Params]) -> np.ndarray | None:
        return np.log([self._case.seconds(params) for params in many]) if self._told else None

    @property
    def ended(self) -> list[tuple[Params, str]]:
        return [(params, pool) for params in self._sample for pool in self.pools]

    def attempts(self) -> tuple[np.ndarray, np.ndarray]:
        return self._attempts


@dataclass(frozen=True)
class Figures:
    """The result of one run, in seconds; ``cost``: CPU milliseconds of a trial."""

    makespan: float
    begun: float
    cost: float


def run(case: Case, policy: str, trials: int, seed: int) -> Figures:
    """One campaign of a policy."""
    todo = drawn(trials, seed)
    sizes = {name: float(place) for place, name in enumerate(case.workers)}
    known = policy in (KNOWN, LATER)
    sample = [params for params, _ in todo[:200]]
    costs = KnownCosts(case, sample, policy == LATER) if known else Costs(list(case.workers))
    placement = Placement("learned" if known else policy, costs)
    placement.pools({name: PoolRoom(many, size=sizes[name]) for name, many in case.workers.items()})
    free = [name for name, many in case.workers.items() for _ in range(many)]
    random.Random(seed).shuffle(free)
    now, begun, put, spent = 0.0, 0.0, 0, time.process_time()
    ends: list[tuple[float, int, str, float]] = []
    while True:
        while put < trials and len(placement) < len(free) + placement.ahead:
            placement.put(put, todo[put][0], now)
            put += 1
        placement.coming(trials - put)
        left = []
        for pool in free:
            number = None if pool in left else placement.take(pool, now)
            if number is None:
                left.append(pool)
                continue
            params, noise = todo[number]
            seconds = case.seconds(params)[list(case.workers).index(pool)] * noise
            heapq.heappush(ends, (now + seconds, number, pool, seconds))
            begun = now
        free = left
        if not ends:
            return Figures(now, begun, (time.process_time() - spent) / trials * 1000)
        if len(placement) < placement.ahead and put < trials and free:
            continue
        now, number, pool, seconds = heapq.heappop(ends)
        placement.ended(number, now)
        costs.note(todo[number][0], pool, seconds)
        free.append(pool)


def program(
    case: Case, todo: Sequence[tuple[Params, float]], may: Callable[[Params, str], bool] = lambda params, pool: True
) -> tuple[float, np.ndarray]:
    """The linear program over known costs: trials a second, and what each trial is worth, on average one.

    ``may``: whether a trial may run in a pool.
    """
    vectors = np.log([case.seconds(params) for params, _ in todo])
    allowed = np.array([[may(params, pool) for pool in case.workers] for params, _ in todo])
    labels = nearest(vectors, clusters(vectors, FINE))
    kinds = [which for kind in range(FINE) if (which := labels == kind).any()]
    noise = np.array([noise for _, noise in todo])[:, None]
    seconds = np.array([(np.exp(vectors[which]) * noise[which]).mean(axis=0) for which in kinds])
    mix = np.array([which.mean() for which in kinds])
    here = np.array([allowed[which].all(axis=0) for which in kinds])
    found = solve(seconds, np.array([*case.workers.values()], float), mix, here)
    assert found is not None
    worth = (found.prices[:, None] * np.array(kinds)).sum(axis=0)
    return found.rate, worth / worth.mean()


def bound(case: Case, trials: int, seed: int) -> Figures:
    """The makespan if the linear program's rate held from the first second to the last."""
    seconds = trials / program(case, drawn(trials, seed))[0]
    return Figures(seconds, seconds, 0.0)


def interval(values: Sequence[float]) -> str:
    """The mean and half the width of its 95 % interval, by Student's t."""
    if len(values) < 2:
        return f"{mean(values):,.4g}"
    half = float(student.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return f"{mean(values):,.4g} ± {common.text_of(half)}"


def measure(trials: int, seeds: int) -> str:
    rows: list[list] = []
    for case in CASES:
        found = {policy: [run(case, policy, trials, seed) for seed in range(seeds)] for policy in (*POLICIES, LATER)}
        found["bound"] = [bound(case, trials, seed) for seed in range(seeds)]
        for policy, figures in found.items():
            pairs = list(zip(found["fifo"], figures, strict=True))
            rows.append(
                [
                    case.name,
                    NAMES.get(policy, policy),
                    interval([each.makespan for each in figures]),
                    interval([first.makespan / each.makespan for first, each in pairs]),
                    interval([first.begun / each.begun for first, each in pairs]),
                    *(
                        interval([best.makespan / each.makespan for best, each in zip(found[of], figures, strict=True)])
                        for of in (KNOWN, LATER)
                    ),
                    None if policy == "bound" else mean(each.cost for each in figures),
                ]
            )
    columns = "hardware, policy, makespan (s), ratio, ratio (all begun), of known costs, of known later, CPU ms a trial"
    head = columns.split(", ")
    return common.table(f"{trials:,} trials of a fixed mix on 150 workers; {seeds} seeds", head, rows)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--trials", type=int, default=4000, help="[4000]")
    parser.add_argument("--seeds", type=int, default=10, help="[10]")
    options = parser.parse_args()
    text = measure(200 if options.small else options.trials, 1 if options.small else options.seeds)
    common.finish("Placement", text, options.keep)


if __name__ == "__main__":
    main()
