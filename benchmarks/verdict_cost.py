"""The driver's cost of a report with its verdict, with n finished and r running trials: Hyperband, median, percentile.

``python benchmarks/verdict_cost.py [--small] [--keep] [--n 10000] [--r 64 2048]``

Pilotune's rows are ticks of a real driver with 16 reports each, divided by 16, its commit included; Optuna's are
``Trial.report`` and ``Trial.should_prune``. Medians of CPU time. Hyperband compares a trial with its bracket at rungs
only; the other pruners compare at every step. The first measurement does not count.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import common
import optuna
import sqlalchemy as sa
import studies
from driver_cost import Clock
from drivers import Desk, driver_on
from optuna.trial import FrozenTrial, TrialState

from pilotune.pipeline.fidelity import bracket_of, hyperband_brackets

CELLS = [(100, 64), (1_000, 64), (1_000, 512), (10_000, 64), (10_000, 512), (10_000, 2_048)]
SMALL = [(100, 64), (1_000, 64)]
REPORTS = 16
"""Reports a tick."""

BUDGET = 0.5
"""Most milliseconds for a report with Hyperband's verdict at 10,000 finished trials."""

BRACKETS = hyperband_brackets(studies.HYPERBAND)
PRUNERS = {
    "hyperband": ("{name: hyperband, min_resource: 1, max_resource: 81, reduction_factor: 3}",
                  lambda: optuna.pruners.HyperbandPruner(**studies.HYPERBAND)),
    "median": ("{name: median}", optuna.pruners.MedianPruner),
    "percentile": ("{name: percentile, percentile: 25.0}", lambda: optuna.pruners.PercentilePruner(25.0)),
}  # fmt: skip


@dataclass
class Costs:
    """Milliseconds of CPU time a report, and commits a tick (Pilotune) or a report (Optuna)."""

    at_rung: float
    off_rung: float
    commits: float


@contextlib.contextmanager
def counted_commits() -> Iterator[list[int]]:
    """Count the commits of all databases while in this context, in the only item of the list."""
    count = [0]

    def committed(connection: sa.Connection) -> None:
        count[0] += 1

    def executed(conn: object, cursor: object, statement: str, *rest: object) -> None:
        count[0] += statement == "COMMIT"

    sa.event.listen(sa.Engine, "commit", committed)
    sa.event.listen(sa.Engine, "before_cursor_execute", executed)
    try:
        yield count
    finally:
        sa.event.remove(sa.Engine, "commit", committed)
        sa.event.remove(sa.Engine, "before_cursor_execute", executed)


class Steps:
    """The steps at which running trials report next: the rung after the last, then the step behind it.

    Attributes:
        row: Numbers of the trials that have rungs before them, in the order in which they report.
    """

    def __init__(self, trials: list[FrozenTrial]):
        self.row: deque[int] = deque()
        self._ahead: dict[int, deque[int]] = {}
        for trial in trials:
            rungs = BRACKETS[bracket_of(studies.NAME, trial.number, BRACKETS)].rungs
            ahead = deque(step for step in rungs if step > max(trial.intermediate_values, default=0))
            if ahead:
                self._ahead[trial.number] = ahead
                self.row.append(trial.number)

    def next(self) -> tuple[int, int]:
        """The next trial and the rung that it reaches now."""
        number = self.row.popleft()
        step = self._ahead[number].popleft()
        if self._ahead[number]:
            self.row.append(number)
        return number, step


def history(pruner: str, n: int, r: int) -> Iterator[FrozenTrial]:
    """As the pruner would have left it."""
    return studies.templates(n, r, reports="pruned" if pruner == "hyperband" else "whole")


def value_at(number: int, step: int) -> float:
    return 1.0 + (number * 7919 % 1000) / 500 + 1.0 / step


def both(
    clocks: tuple[Clock, Clock], steps: Steps, reports: int, report: Callable[[list[tuple[int, int]]], None]
) -> None:
    """Take times of `report` for so many trials at a rung, then for the same behind it; once without the clock."""
    at, off = clocks
    reached: list[tuple[int, int]] = []

    def rungs() -> list[tuple[int, int]]:
        reached[:] = [steps.next() for _ in range(reports)]
        return reached.copy()

    warm_up = 1
    while warm_up or not at.enough:
        if len(steps.row) < reports:
            return
        at.once(rungs, report, counts=not warm_up)
        off.once(lambda: [(number, step + 1) for number, step in reached], report, counts=not warm_up)
        warm_up = 0


def pilotune(pruner: str, n: int, r: int, cap: float) -> Costs:
    with tempfile.TemporaryDirectory(prefix="bench") as folder, counted_commits() as commits:
        url = f"sqlite:///{folder}/study.db"
        studies.fill_database(url, history(pruner, n, r))
        with driver_on(Path(folder), url, sampler="random", pruner=PRUNERS[pruner][0]) as driver:
            desk = Desk(driver)
            tokens = {int(token.split(".")[0]): token for token in desk.running}
            ticks = 0

            def report(places: list[tuple[int, int]]) -> None:
                nonlocal ticks
                ticks += 1
                desk.tick([desk.report(tokens[number], step, value_at(number, step)) for number, step in places])

            clocks = Clock(cap, 2, 40), Clock(cap, 2, 40)
            steps = Steps(driver.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))
            before = commits[0]
            both(clocks, steps, REPORTS, report)
            done = (commits[0] - before) / ticks
            return Costs(clocks[0].medians(REPORTS)[0], clocks[1].medians(REPORTS)[0], done)


def peer(pruner: str, kind: str, n: int, r: int, cap: float) -> Costs:
    with (
        studies.peer_storage(kind, lambda: history(pruner, n, r)) as storage,
        counted_commits() as commits,
    ):
        sampler = optuna.samplers.RandomSampler(seed=0)
        study = optuna.load_study(
            study_name=studies.NAME, storage=storage, sampler=sampler, pruner=PRUNERS[pruner][1]()
        )
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        trials = {trial.number: optuna.Trial(study, trial._trial_id) for trial in running}
        said = 0

        def report(places: list[tuple[int, int]]) -> None:
            nonlocal said
            said += 1
            ((number, step),) = places
            trials[number].report(value_at(number, step), step)
            trials[number].should_prune()

        clocks = Clock(cap, 3, 200), Clock(cap, 3, 200)
        steps, before = Steps(running), commits[0]
        both(clocks, steps, 1, report)
        return Costs(clocks[0].medians()[0], clocks[1].medians()[0], (commits[0] - before) / said)


def measure(cells: list[tuple[str, int, int]], cap: float) -> str:
    rows: list[list] = []
    for pruner, n, r in cells:
        ours = pilotune(pruner, n, r, cap)
        measured = {"Pilotune, SQLite": ours}
        measured |= {f"Optuna, {kind}": peer(pruner, kind, n, r, cap) for kind in ("memory", "SQLite")}
        for who, costs in measured.items():
            verdict = None
            if costs is ours and pruner == "hyperband" and n == 10_000:
                verdict = f"{BUDGET} ms: {'kept' if costs.at_rung <= BUDGET else 'missed'}"
            commits = f"{costs.commits:.1f} a {'tick' if costs is ours else 'report'}"
            times = f"{costs.at_rung / ours.at_rung:,.1f}x"
            rows.append([pruner, n, r, who, costs.at_rung, costs.off_rung, times, commits, verdict])
    head = ["pruner", "n", "r", "who", "at a rung, ms", "off it, ms", "times Pilotune", "commits", "budget"]
    return common.table("A report with its verdict: the driver's CPU time", head, rows)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--n", type=int, nargs="+", help="finished trials")
    parser.add_argument("--r", type=int, nargs="+", help="running trials")
    parser.add_argument("--pruner", nargs="+", choices=sorted(PRUNERS), help="[all]")
    parser.add_argument("--cap", type=float, default=2.0, help="seconds for each row, once its study is there [2]")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sizes = SMALL if options.small else CELLS
    if options.n or options.r:
        sizes = [(n, r) for n in options.n or [10_000] for r in options.r or [64]]
    cells = [("hyperband", n, r) for n, r in sizes] + [(name, *sizes[-1]) for name in ("median", "percentile")]
    if options.pruner:
        cells = [(name, n, r) for name in options.pruner for n, r in sizes]
    common.finish("Verdict cost", measure(cells, 0.5 if options.small else options.cap), options.keep)


if __name__ == "__main__":
    main()
