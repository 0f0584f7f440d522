"""CPU time for one trial, by process: where the milliseconds go between the driver and a trial's own process.

``python benchmarks/process_cost.py [--small] [--keep] [--trials 600] [--workers 8] [--sampler random]``

Runs a study whose objective does nothing, with and without isolation, and reads the CPU times of all its processes
twice: after a quarter of the trials and shortly before the end. A trial's own process ends too soon to be read; the
kernel adds its time to that of the fork server.
"""

from __future__ import annotations

import collections
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common
import psutil
import studies

PILOTUNE = Path(sys.executable).with_name("pilotune")
OBJECTIVE = """
import os
def run(trial):
    with open(os.environ["BENCH_ENDED"], "a") as file:
        file.write(".")
    return trial.params["x0"]
"""
ROLES = ("driver", "interchange", "agent", "worker pool", "nursery", "worker", "fork server", "trial")


def role_of(process: psutil.Process, driver: int) -> str:
    """What a process of a campaign is, by its name and command line."""
    name = process.name()
    if name in ROLES:
        return name
    if name.startswith("worker "):
        return "worker"
    words = " ".join(process.cmdline())
    if process.pid == driver:
        return "driver"
    return "interchange" if ".interchange" in words else "agent" if ".agent" in words else "shell"


def times(driver: int) -> collections.Counter[str]:
    """Seconds of CPU time of a campaign's processes so far, by role."""
    found: collections.Counter[str] = collections.Counter()
    top = psutil.Process(driver)
    for process in [top, *top.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            role, spent = role_of(process, driver), process.cpu_times()
            found[role] += spent.user + spent.system
            if role == "fork server":
                found["trial"] += spent.children_user + spent.children_system
    return found


def cost(trials: int, workers: int, isolate: bool, sampler: str) -> tuple[float, dict[str, float]]:
    """Trials a second, and milliseconds of CPU time for one trial by role."""
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        folder = Path(name)
        ended = folder / "ended"
        (folder / "objective.py").write_text(OBJECTIVE)
        trial = f"{{isolate: {str(isolate).lower()}}}"
        (folder / "study.yaml").write_text(
            studies.study_text("objective.py:run", sampler=sampler, trial=trial, trials=trials)
        )
        environment = {**os.environ, "BENCH_ENDED": str(ended), "PILOTUNE_RUNS": str(folder / "runs"),
                       "XDG_STATE_HOME": str(folder / "state")}  # fmt: skip
        command = [PILOTUNE, "run", folder / "study.yaml", "--storage", f"sqlite:///{folder}/study.db", "--site",
                   "local", "--quiet", "--set", f"pools.local.workers_per_node={workers}"]  # fmt: skip
        marks = []
        with subprocess.Popen(list(map(str, command)), env=environment, stdout=subprocess.DEVNULL) as driver:
            for share in (0.25, 0.9):
                while driver.poll() is None and (not ended.exists() or ended.stat().st_size < share * trials):
                    time.sleep(0.02)
                marks.append((time.time(), ended.stat().st_size, times(driver.pid)))
    (began, first, before), (until, last, after) = marks
    done = max(1, last - first)
    return done / (until - began), {role: 1e3 * (after[role] - before[role]) / done for role in ROLES}


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--trials", type=int, default=600)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--sampler", default="random", choices=["random", "tpe"])
    options = parser.parse_args()
    trials = 80 if options.small else options.trials
    rows: list[list] = []
    for isolate in (True, False):
        rate, spent = cost(trials, options.workers, isolate, options.sampler)
        rows.append([f"isolate: {str(isolate).lower()}", rate, sum(spent.values()), *spent.values()])
    title = f"CPU ms for one trial of a no-op objective, {options.workers} workers, {options.sampler}, by process"
    common.finish("Cost by process", common.table(title, ["what", "trials/s", "all", *ROLES], rows), options.keep)


if __name__ == "__main__":
    main()
