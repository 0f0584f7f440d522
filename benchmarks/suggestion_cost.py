"""The CPU time of a suggestion by each sampler, with n trials in the record and 16 running, ten mixed parameters.

``python benchmarks/suggestion_cost.py [--small] [--keep] [--n 1000 10000] [--samplers NAME ...] [--cap 30]``

A real driver works on a study with n finished trials. Whenever a trial ends, another one is asked for: what the sampler
takes for both, and for nothing else, is a suggestion's cost. Writing to the database is not included: driver_cost.py
measures that. What the sampler does until its first suggestion, such as importing libraries and reading the study, is
told apart. Then 128 suggestions pass, so that evolution and others have trials of their own in the study, before a
hundred are measured. pbt and pb2 make copies of members that have reported four intervals each.
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import common
import optuna
import studies
from drivers import Desk, driver_on
from optuna.trial import FrozenTrial

from pilotune.pipeline.attributes import PARENT, STEP
from pilotune.pipeline.driver.driver import Driver
from pilotune.pipeline.fidelity import Origin
from pilotune.pipeline.one_thread import one_thread

RUNNING = 16
WARM_UP, LEAST, MEASURED = 128, 3, 100
SIZES, SMALL = (1_000, 10_000), (100,)
MEMBERS, INTERVALS = 16, 4
"""Of populations: members that train side by side, and intervals after which each is replaced by a copy."""


@dataclass(frozen=True)
class Case:
    """A sampler to measure.

    Attributes:
        sampler: As the study file names it, with its arguments.
        pruner: Of the study, as YAML.
        reports: Which reports the trials have, see ``studies.templates``.
        copies: Whether what is suggested are copies of members of a population.
    """

    sampler: str
    pruner: str = ""
    reports: str = ""
    copies: bool = False


NOTE = f"""\
First: all that the sampler does until its first suggestion, such as importing libraries and reading the study; gp and
forest do most of it in parts, while the workers of a campaign start. Median and largest: of {MEASURED} suggestions,
each after the result of another trial. cmaes and nsgaii learn only from trials that they suggested themselves: from
{WARM_UP} before the first that is measured."""

HYPERBAND = "{name: hyperband, min_resource: 1, max_resource: 81, reduction_factor: 3}"
CASES = {
    "random": Case("random"),
    "qmc": Case("qmc"),
    "tpe": Case("tpe"),
    "bohb": Case("bohb", HYPERBAND, "pruned"),
    "gp": Case("gp"),
    "forest": Case("forest"),
    "forest, gp_hedge": Case("forest, acquire: gp_hedge, lie: max"),
    "ageing": Case("ageing"),
    "genetic": Case("genetic"),
    "dhpo": Case("dhpo"),
    "evolution": Case("evolution"),
    "cmaes": Case("cmaes"),
    "nsgaii": Case("nsgaii"),
    "pbt": Case("pbt, interval: 1", copies=True),
    "pb2": Case("pb2, interval: 1", copies=True),
}

METHODS = ("prepare", "waits", "exhausted", "left", "repeated", "before_trial", "infer_relative_search_space",
           "sample_relative", "sample_independent", "after_trial")  # fmt: skip
"""What a campaign calls of a sampler."""


class SamplerClock:
    """Measures all that a sampler does, between one suggestion and the next.

    Args:
        sampler: Its methods are replaced by timed ones. Calls of one by another count once.
        clock: Gives CPU seconds.

    Attributes:
        spent: CPU seconds since :meth:`lap`.
    """

    def __init__(self, sampler: Any, clock: Callable[[], float] = time.thread_time) -> None:
        self.spent, self._clock, self._inside = 0.0, clock, False
        for name in METHODS:
            if hasattr(sampler, name):
                setattr(sampler, name, self._timed(getattr(sampler, name)))

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **named: Any) -> Any:
            if self._inside:
                return call(*args, **named)
            self._inside, began = True, self._clock()
            try:
                return call(*args, **named)
            finally:
                self._inside = False
                self.spent += self._clock() - began

        return timed

    def lap(self) -> float:
        """The CPU seconds since the last call."""
        spent, self.spent = self.spent, 0.0
        return spent


@dataclass
class Cost:
    """What the suggestions of a sampler cost, in CPU seconds.

    Attributes:
        first: All until the first suggestion.
        each: The measured ones.
    """

    first: float
    each: list[float] = field(default_factory=list)

    def row(self) -> list[object]:
        """Milliseconds: the first, the median and the largest."""
        return [1e3 * self.first, 1e3 * statistics.median(self.each), 1e3 * max(self.each)]


def members(n: int, r: int) -> Iterator[FrozenTrial]:
    """Trials of a population: each starts from one of the generation before it, and reports ``INTERVALS`` values."""
    for trial in studies.templates(n, r):
        generation = trial.number // MEMBERS
        start = generation * INTERVALS
        if generation:
            trial.system_attrs = {PARENT: trial.number - MEMBERS, STEP: start}
        done = INTERVALS if trial.state.is_finished() else 0
        value = studies.value_of(trial.params)
        trial.intermediate_values = {start + k: value + 1 / (start + k) for k in range(1, done + 1)}
        yield trial


def suggestions(driver: Driver, clock: SamplerClock, case: Case, n: int) -> Iterator[float]:
    """CPU seconds of one suggestion after the other; the first one includes all that was before it."""
    if case.copies:
        parent = n - MEMBERS  # it has ended, and may be copied
        origin = Origin(parent, (parent // MEMBERS + 1) * INTERVALS, "")
        while True:
            with one_thread():  # as in the loop of a campaign
                driver.campaign.study.ask(origin)
            driver.storage.commit()
            yield clock.lap()
    while not driver.campaign.study.prepare():
        pass
    desk = Desk(driver, RUNNING)
    desk.tick(desk.turn_over(1))
    yield clock.lap()
    for _ in range(WARM_UP // RUNNING):
        desk.tick(desk.turn_over(RUNNING))
    clock.lap()
    while True:
        desk.tick(desk.turn_over(1))
        yield clock.lap()


def cost_of(case: Case, n: int, cap: float) -> Cost:
    """Measure one sampler on a study of ``n`` trials, for ``cap`` seconds at most once the study is there."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        url = f"sqlite:///{folder}/study.db"
        trials = members(n, RUNNING) if case.copies else studies.templates(n, RUNNING, reports=case.reports)
        studies.fill_database(url, trials)
        with driver_on(Path(folder), url, sampler=case.sampler, pruner=case.pruner) as driver:
            deadline = time.monotonic() + cap
            found = suggestions(driver, SamplerClock(driver.study.sampler), case, n)
            cost = Cost(next(found))
            for spent in islice(found, MEASURED):
                cost.each.append(spent)
                if len(cost.each) >= LEAST and time.monotonic() > deadline:
                    break
            return cost


def measure(names: list[str], sizes: list[int], cap: float) -> str:
    rows = []
    for name in names:
        if name.startswith("forest") and (sentence := missing_forest()):
            rows.append([name, *[None] * (3 * len(sizes)), sentence])
            continue
        costs = [in_a_process(CASES[name], n, cap) for n in sizes]
        few = min(len(cost.each) for cost in costs)
        note = None if few == MEASURED else f"{few} measured in {cap:g} s"
        rows.append([name, *(cell for cost in costs for cell in cost.row()), note])
    head = ["sampler", *(f"{word}{n:,}" for n in sizes for word in ("first, n = ", "median, ", "largest, ")), "note"]
    return common.table(f"CPU ms of a suggestion with its result, {RUNNING} running", head, rows)


def in_a_process(case: Case, n: int, cap: float) -> Cost:
    """The same in a new process, which has imported nothing for another sampler."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(cost_of, case, n, cap).result()


def missing_forest() -> str | None:
    """Why the forest is left out; None where its package is there."""
    return "scikit-learn is not installed" if common.missing("scikit-learn") else None


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--n", type=int, nargs="+", help="finished trials [1000 10000]")
    parser.add_argument("--samplers", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument(
        "--cap", type=float, default=30.0, help="seconds for each sampler and n, once its study is there"
    )
    options = parser.parse_args()
    sizes = options.n or list(SMALL if options.small else SIZES)
    text = measure(options.samplers, sizes, min(options.cap, 2.0) if options.small else options.cap)
    common.finish("Cost of a suggestion", f"{text}\n{NOTE}\n", options.keep)


if __name__ == "__main__":
    main()
