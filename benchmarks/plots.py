"""The time of each plot and of the report of a study with 10,000 trials, and the report's size.

``python benchmarks/plots.py [--small] [--keep] [--n 10000] [--kinds history slice]``

Each number is of a process of its own, ``pilotune plot``, ``pilotune report``, or a script that loads the study with
Optuna and calls its function for the same plot, so imports and reading the database are in it. Wall time says something
only on a machine that does nothing else; the CPU time beside it holds elsewhere too.
"""

from __future__ import annotations

import datetime
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import common
import optuna
import studies
from optuna.trial import FrozenTrial, TrialState

from pilotune.pipeline.analysis.plots import KINDS
from pilotune.pipeline.attributes import BEGAN, BLOCKS, DETAILS, HOST, LEASE, SECONDS_RUNNING, SECONDS_WAITING
from pilotune.pipeline.record import RecordStorage

WORKERS, BLOCK = 64, 16
"""Workers, and how many of them a block has."""

BUDGET = {"plot": 3.0, "report": 10.0}
"""Most seconds of wall time."""

PATIENCE = 120.0
"""Most seconds of wall time for a plot of Optuna's."""

PEERS = {
    "history": "plot_optimization_history",
    "curves": "plot_intermediate_values",
    "importance": "plot_param_importances",
    "slice": "plot_slice",
    "parallel": "plot_parallel_coordinate",
    "contour": "plot_contour",
    "timeline": "plot_timeline",
}
"""Kind of plot -> Optuna's function. Of its contour only the four parameters that Pilotune shows too."""

OPTUNA = """
import sys, optuna
url, name, function, out = sys.argv[1:]
study = optuna.load_study(study_name=name, storage=url)
more = {"params": ["c0", "n0", "x0", "x2"]} if function == "plot_contour" else {}
if out.endswith(".html"):
    getattr(optuna.visualization, function)(study, **more).write_html(out)
else:
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    import optuna.visualization.matplotlib as drawn
    getattr(drawn, function)(study, **more)
    pyplot.savefig(out, dpi=150)
"""


def trials(n: int) -> Iterator[FrozenTrial]:
    """Trials as a campaign on ``WORKERS`` workers leaves them: a third complete, the others pruned, some failed."""
    free, start = [1.8e9] * WORKERS, 1.8e9
    for trial in studies.templates(n, 0, reports="whole"):
        worker = min(range(WORKERS), key=free.__getitem__)
        seconds = 30.0 + 40.0 * trial.params["n0"]
        if trial.number % 3:  # pruned at a rung
            steps = sorted(trial.intermediate_values)[: 1 + trial.number % 4]
            trial.state, trial.values = TrialState.PRUNED, None
            trial.intermediate_values = {step: trial.intermediate_values[step] for step in steps}
            seconds *= steps[-1] / 81
        if trial.number % 97 == 5:
            trial.state, trial.values, trial.intermediate_values = TrialState.FAIL, None, {}
        began = free[worker] + 0.2
        free[worker] = began + seconds
        place = {"pool": "cpu", "block": str(worker // BLOCK), "worker": f"n{worker // BLOCK:03}/{worker % BLOCK}"}
        trial.datetime_start = datetime.datetime.fromtimestamp(max(start, began - 5.0))
        trial.datetime_complete = datetime.datetime.fromtimestamp(began + seconds)
        trial.user_attrs = {
            BEGAN: began,
            SECONDS_RUNNING: seconds,
            SECONDS_WAITING: 5.0,
            HOST: f"n{worker // BLOCK:03}",
            "pilotune:attempts": 1,
            "pilotune:exit": trial.state.name.lower(),
            "pilotune:reason": "",
        }
        trial.system_attrs = {DETAILS: place, "pilotune:campaign": "c1", "pilotune:attempt": 1}
        yield trial


def fill(url: str, n: int) -> None:
    """Make the study."""
    storage = RecordStorage(url, autocommit=False)
    study_id = storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], studies.NAME)
    end = 0.0
    for trial in trials(n):
        storage.create_new_trial(study_id, template_trial=trial)
        end = max(end, trial.user_attrs[BEGAN] + trial.user_attrs[SECONDS_RUNNING])
    found = [
        ["cpu", str(i), f"{700 + i}", 1.8e9 - 600, 1.8e9 - 60 * i, end, BLOCK, 1, "the campaign ended"]
        for i in range(WORKERS // BLOCK)
    ]
    storage.set_study_system_attr(study_id, BLOCKS + "c1:0", found)
    lease = {"host": "login", "place": "", "pid": 1, "pid_start": 1, "run": "", "started": 1.8e9, "heartbeat": end}
    storage.set_study_system_attr(study_id, LEASE + "c1", {**lease, "state": "ended"})
    storage.commit()
    storage.close()


def seconds(*command: str, most: float | None = None) -> tuple[float, float] | None:
    """Wall time and CPU time of a process of Python with these arguments; None where it takes longer than ``most``."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    try:
        subprocess.run([sys.executable, *command], check=True, timeout=most, stderr=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return None
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def pilotune(*arguments: str) -> tuple[float, float]:
    """Wall time and CPU time of a command of Pilotune's."""
    found = seconds("-m", "pilotune.pipeline.cli.main", *arguments)
    assert found is not None
    return found


def row_of(kind: str, url: str, folder: str) -> list[object]:
    """A kind of plot as a row of the table: Pilotune's times and the page's size, and Optuna's times."""
    found: list[object] = [kind]
    for ending in ("png", "html"):
        found += pilotune("plot", studies.NAME, kind, "--storage", url, "-o", f"{folder}/{kind}.{ending}")
    found.append(Path(f"{folder}/{kind}.html").stat().st_size / 1e6)
    for ending in ("png", "html"):
        function = PEERS.get(kind)
        times = function and seconds(
            "-c", OPTUNA, url, studies.NAME, function, f"{folder}/peer.{ending}", most=PATIENCE
        )
        found += [None, None] if function is None else times or [f"> {PATIENCE:g}", None]
    return found


def main() -> None:
    arguments = common.parser(__doc__)
    arguments.add_argument("--n", type=int, default=10_000, help="trials")
    kinds = [kind for kind in KINDS if kind != "pareto"]  # the study has one objective
    arguments.add_argument("--kinds", nargs="+", choices=kinds, default=kinds, help="only these plots")
    options = arguments.parse_args()
    n = 500 if options.small else options.n
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        url = f"sqlite:///{folder}/study.db"
        fill(url, n)
        rows = [row_of(kind, url, folder) for kind in options.kinds]
        out = Path(folder) / "report.html"
        report = [*pilotune("report", studies.NAME, "--storage", url, "-o", str(out)), out.stat().st_size / 1e6]
    head = ["plot", "PNG, wall", "CPU", "HTML, wall", "CPU", "MB"]
    head += ["Optuna PNG, wall", "CPU", "Optuna HTML, wall", "CPU"]
    title = f"Seconds of `pilotune plot` with {n:,} trials, and of Optuna's function; budget {BUDGET['plot']:g} s wall"
    text = common.table(title, head, rows)
    title = f"Seconds of `pilotune report` with {n:,} trials; budget {BUDGET['report']:g} s wall and 3 MB"
    text += "\n" + common.table(title, ["wall", "CPU", "MB"], [report])
    common.finish("Plots and reports", text, options.keep)


if __name__ == "__main__":
    main()
