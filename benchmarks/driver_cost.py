"""The driver's cost of a trial (ask, store, tell; ten mixed parameters), with n finished and r running trials.

``python benchmarks/driver_cost.py [--small] [--keep] [--n 1000 10000] [--r 0 512] [--postgres URL]``

Pilotune's rows are whole ticks of a real driver in which 16 trials end and 16 are asked for, divided by 16. Optuna's
are ``study.ask``, the ten suggestions and ``study.tell``. Both are medians; CPU is that of the driver's process (a
database server's time is not included), and ratios are of CPU time, except for PostgreSQL: of wall time. The first
measurements on each study, which read it, do not count; but the longest call of the sampler is that of all.
"""

from __future__ import annotations

import cProfile
import pstats
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import common
import optuna
import studies
from drivers import Desk, driver_on
from optuna.trial import FrozenTrial, TrialState

from pilotune.pipeline.campaign.limits import ASKS_PER_STEP

CELLS = [
    (100, 0),
    (1_000, 0),
    (1_000, 512),
    (10_000, 0),
    (10_000, 512),
    (10_000, 2_048),
    (100_000, 0),
    (100_000, 2_048),
]
SMALL = [(100, 0), (1_000, 0), (1_000, 512)]
BUDGETS = {(10_000, 2_048): 5.0, (100_000, 2_048): 15.0}
"""By (n, r), most milliseconds of the driver's time for a trial."""

GP_BUDGET, GP_MOST = 10.0, 10_000
"""With the sampler gp, most milliseconds of the driver's time for a trial, and most finished trials."""

MOST = {"memory": 100_000, "journal": 10_000, "SQLite": 10_000, "PostgreSQL": 10_000}
"""Most finished trials for which a storage is measured: with more, making or loading the study takes minutes. Pilotune
on SQLite is always measured."""


@dataclass
class Clock:
    """Measures CPU and wall time repeatedly.

    Attributes:
        cap: Seconds of wall time after which no further measurement begins.
        least, most: Numbers of measurements.
        cpu, wall: The measurements, in seconds.
    """

    cap: float
    least: int
    most: int
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    @property
    def enough(self) -> bool:
        return len(self.cpu) >= self.least and (sum(self.wall) >= self.cap or len(self.cpu) >= self.most)

    def once(self, prepare: Callable[[], Any], what: Callable[[Any], object], *, counts: bool = True) -> None:
        """Time `what`, called with the result of `prepare`, which is not timed."""
        given = prepare()
        cpu, wall = time.process_time(), time.perf_counter()
        what(given)
        if counts:
            self.cpu.append(time.process_time() - cpu)
            self.wall.append(time.perf_counter() - wall)

    def repeat(self, prepare: Callable[[], Any], what: Callable[[Any], object], warm_up: int = 1) -> None:
        """Call `what` `warm_up` times untimed, then timed until there are enough measurements."""
        for _ in range(warm_up):
            self.once(prepare, what, counts=False)
        while not self.enough:
            self.once(prepare, what)

    def medians(self, by: int = 1) -> tuple[float, float]:
        """Median milliseconds of CPU and of wall time, divided by `by`."""
        return tuple(1e3 * statistics.median(times) / by for times in (self.cpu, self.wall))  # type: ignore[return-value]


class Longest:
    """The longest of a sampler's calls, the first ones with the study included.

    Attributes:
        cpu: Its CPU seconds.
    """

    def __init__(self, sampler: Any):
        self.cpu = 0.0
        for name in ("prepare", "infer_relative_search_space", "sample_relative", "after_trial"):
            if hasattr(sampler, name):
                setattr(sampler, name, self._timed(getattr(sampler, name)))

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any) -> Any:
            began = time.thread_time()
            try:
                return call(*args)
            finally:
                self.cpu = max(self.cpu, time.thread_time() - began)

        return timed


def pilotune(
    n: int, r: int, cap: float, url: str = "", profile: bool = False, sampler: str = "tpe"
) -> tuple[float, float, float]:
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        where = url or f"sqlite:///{folder}/study.db"
        studies.forget(where)
        studies.fill_database(where, studies.templates(n, r))
        with driver_on(Path(folder), where, sampler=sampler) as driver:
            longest = Longest(driver.study.sampler)
            desk, clock = Desk(driver, workers=ASKS_PER_STEP), Clock(cap, 3, 20)
            profiler = cProfile.Profile(time.process_time)
            tick = partial(profiler.runcall, desk.tick) if profile else desk.tick
            for _ in range(2):  # in the second tick, trials end that the first one asked for
                desk.tick(desk.turn_over())
            clock.repeat(desk.turn_over, tick, warm_up=0)
            if profile:
                pstats.Stats(profiler).sort_stats("tottime").print_stats(25)
            return *clock.medians(ASKS_PER_STEP), 1e3 * longest.cpu


def peer(kind: str, n: int, r: int, cap: float, url: str = "") -> tuple[float, float]:
    def fill() -> Iterator[FrozenTrial]:
        return studies.templates(n, r)

    with studies.peer_storage(kind, fill, url) as storage:
        sampler = optuna.samplers.TPESampler(seed=0)
        study = optuna.load_study(study_name=studies.NAME, storage=storage, sampler=sampler)
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        waiting = deque(trial.number for trial in running)

        def ask_and_tell(_: None) -> None:
            trial = study.ask()
            value = studies.value_of(studies.suggest(trial))
            waiting.append(trial.number)
            study.tell(waiting.popleft(), value)

        clock = Clock(cap, 2, 50)
        clock.repeat(lambda: None, ask_and_tell)
        return clock.medians()


def measure(cells: list[tuple[int, int]], cap: float, postgres: str) -> str:
    rows: list[list] = []
    for n, r in cells:
        server = postgres if n <= MOST["PostgreSQL"] else ""
        homes = {"SQLite": "", **({"PostgreSQL": server} if server else {})}
        ours = {home: pilotune(n, r, cap, url) for home, url in homes.items()}
        for home, (cpu, wall, longest) in ours.items():
            budget = BUDGETS.get((n, r))
            verdict = None if budget is None else f"{budget:g} ms: {'kept' if cpu <= budget else 'missed'}"
            rows.append([n, r, f"Pilotune, {home}", cpu, wall, longest, "1x", verdict])
        if n <= GP_MOST:
            cpu, wall, longest = pilotune(n, r, cap, sampler="gp")
            verdict = f"{GP_BUDGET:g} ms: {'kept' if cpu <= GP_BUDGET else 'missed'}"
            rows.append([n, r, "Pilotune, SQLite, gp", cpu, wall, longest, f"{cpu / ours['SQLite'][0]:,.1f}x", verdict])
        for kind in ("memory", "journal", "SQLite", *(["PostgreSQL"] if server else [])):
            if n <= MOST[kind]:
                cpu, wall = peer(kind, n, r, cap, homes.get(kind, ""))
                times = wall / ours[kind][1] if kind == "PostgreSQL" else cpu / ours["SQLite"][0]
                rows.append([n, r, f"Optuna, {kind}", cpu, wall, None, f"{times:,.1f}x", None])
    head = ["n", "r", "who", "CPU ms", "wall ms", "longest call, CPU ms", "times Pilotune", "budget"]
    return common.table(
        "The driver's cost of a trial: ask, record, tell, with TPE where nothing else is said", head, rows
    )


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--n", type=int, nargs="+", help="finished trials")
    parser.add_argument("--r", type=int, nargs="+", help="running trials")
    parser.add_argument("--cap", type=float, default=2.0, help="seconds for each row, once its study is there [2]")
    parser.add_argument("--postgres", default="", help="a database's URL, or `start`: a server from the tests")
    parser.add_argument("--sampler", default="tpe", help="Pilotune's sampler with --profile [tpe]")
    parser.add_argument("--profile", action="store_true", help="of Pilotune's ticks only, one profile for each n and r")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    cells = SMALL if options.small else CELLS
    if options.n or options.r:
        cells = [(n, r) for n in options.n or [10_000] for r in options.r or [0]]
    if options.profile:
        for n, r in cells:
            cpu, *_ = pilotune(n, r, options.cap, profile=True, sampler=options.sampler)
            print(f"n={n}, r={r}: {cpu:.2f} ms of CPU under the profiler")
        return
    with studies.postgres_at(options.postgres) as url:
        text = measure(cells, min(options.cap, 1.0) if options.small else options.cap, url)
    common.finish("Driver cost", text, options.keep)


if __name__ == "__main__":
    main()
