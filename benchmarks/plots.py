"""The time of each plot and of the report of a study with 10,000 trials, and the report's size.

``python benchmarks/plots.py [--small] [--keep] [--n 10000]``

Each number is the CPU time of a process of its own, ``pilotune plot`` or ``pilotune report``, so imports and reading
the database are in it.
"""

from __future__ import annotations

import datetime
import resource
import subprocess
import sys
import tempfile
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
"""Most seconds."""


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


def seconds(*arguments: str) -> float:
    """How much CPU time the command takes: on a machine that does something else too, wall time says little."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "pilotune.pipeline.cli.main", *arguments], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    arguments = common.parser(__doc__)
    arguments.add_argument("--n", type=int, default=10_000, help="trials")
    options = arguments.parse_args()
    n = 500 if options.small else options.n
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        url = f"sqlite:///{folder}/study.db"
        fill(url, n)
        for kind in KINDS:
            if kind == "pareto":  # the study has one objective
                continue
            times = []
            for ending in ("png", "html"):
                out = f"{folder}/{kind}.{ending}"
                times.append(seconds("plot", studies.NAME, kind, "--storage", url, "-o", out))
            rows.append([kind, *times, Path(f"{folder}/{kind}.html").stat().st_size / 1e6])
        out = Path(folder) / "report.html"
        took = seconds("report", studies.NAME, "--storage", url, "-o", str(out))
        size = out.stat().st_size / 1e6
    plots = f"CPU seconds of `pilotune plot` with {n:,} trials; budget {BUDGET['plot']:g} s"
    report = f"CPU seconds of `pilotune report` with {n:,} trials; budget {BUDGET['report']:g} s and 3 MB"
    text = common.table(plots, ["plot", "PNG", "HTML", "HTML, MB"], rows)
    text += "\n" + common.table(report, ["seconds", "MB"], [[took, size]])
    common.finish("Plots and reports", text, options.keep)


if __name__ == "__main__":
    main()
