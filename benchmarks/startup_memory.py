"""Start-up times, the time to resume a study, and the driver's memory.

``python benchmarks/startup_memory.py [--small] [--keep] [--only start resume memory]``

Medians of wall time, each measured in its own process. "First line" is the time from the command to the first line of
the first trial's objective; for DeepHyper and Ray Tune, to the end of that trial, which does nothing. Memory is that of
the process after it has read the study and asked for a few trials, and its peak.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import common
import psutil
import studies
from throughput_peers import PEERS, run_peer

BIN = Path(sys.executable).parent
PARTS = ("start", "resume", "memory")
BUDGETS = {"pilotune --help": 0.3, "import pilotune": 0.15, "first line": 4.0, "resume": 3.0}
"""Most seconds."""

MEMORY = 500.0
"""Most MB of a driver with 100,000 trials."""

FIRST_LINE = """
import os, time
def run(trial):
    with open(os.environ["BENCH_FIRST"], "a") as file:
        file.write(f"{time.time()}\\n")
    return trial.params["x0"]
"""


def seconds(command: list[object]) -> tuple[float, float]:
    """Seconds of wall time, and of CPU time of the command and its children."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def medians(repeats: int, command: list[object]) -> tuple[float, float]:
    """Median seconds of wall and of CPU time."""
    wall, cpu = zip(*(seconds(command) for _ in range(repeats)), strict=True)
    return statistics.median(wall), statistics.median(cpu)


def median(repeats: int, measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(repeats))


def verdict(name: str, took: float) -> str | None:
    budget = BUDGETS.get(name)
    return None if budget is None else f"{budget:g} s: {'kept' if took <= budget else 'missed'}"


# -- start ------------------------------------------------------------------------------------------------------------


def start(repeats: int) -> str:
    programs = {"pilotune": "pilotune", "optuna": "optuna", "ray": "ray"}
    modules = {"pilotune": "pilotune", "optuna": "optuna", "parsl": "parsl", "deephyper.hpo": "deephyper",
               "ray.tune": "ray"}  # fmt: skip
    commands: dict[str, list[object]] = {"python -c pass": [sys.executable, "-c", "pass"]}
    for program, package in programs.items():
        if not common.missing(package) and (BIN / program).exists():
            commands[f"{program} --help"] = [BIN / program, "--help"]
    for module, package in modules.items():
        if not common.missing(package):
            commands[f"import {module}"] = [sys.executable, "-c", f"import {module}"]
    rows: list[list] = []
    for what, command in commands.items():
        wall, cpu = medians(repeats, command)
        rows.append([what, wall, cpu, verdict(what, wall)])
    took = median(repeats, first_line)
    rows.append(["pilotune run --site local, to the first line", took, None, verdict("first line", took)])
    for name in ("DeepHyper random, processes", "Ray Tune, TPE of Optuna"):
        if not common.missing(PEERS[name]):
            took = median(max(1, repeats // 2), partial(peer_starts, name))
            rows.append([f"{name}, to its first trial", took, None, None])
    return common.table("Start-up", ["what", "seconds", "of CPU", "budget"], rows)


def first_line(n: int = 0) -> float:
    """Seconds from the command to the first line of the next trial, in a study with `n` finished ones."""
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        folder = Path(name)
        url, first = f"sqlite:///{folder}/study.db", folder / "first"
        if n:
            studies.fill_database(url, studies.templates(n, 0))
        (folder / "objective.py").write_text(FIRST_LINE)
        (folder / "study.yaml").write_text(studies.study_text("objective.py:run", trials=n + 1))
        environment = {**os.environ, "BENCH_FIRST": str(first), "PILOTUNE_RUNS": str(folder / "runs"),
                       "XDG_STATE_HOME": str(folder / "state")}  # fmt: skip
        command = [BIN / "pilotune", "run", folder / "study.yaml", "--storage", url, "--site", "local", "--quiet"]
        began = time.time()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        return float(first.read_text().split()[0]) - began


def peer_starts(name: str) -> float:
    began = time.time()
    return run_peer(name, 2, 2, 0.0)[0] - began


# -- resume and memory ------------------------------------------------------------------------------------------------


def child(who: str, n: int, r: int, url: str) -> dict[str, float]:
    """In a new process, read the study, ask for a trial, then for a few more."""
    arguments = [sys.executable, __file__, "--child", who, "--n", n, "--r", r, "--url", url]
    done = subprocess.run([str(word) for word in arguments], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def be_child(who: str, n: int, r: int, url: str) -> None:
    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        first = {"Pilotune": pilotune_reads, "Optuna, SQLite": optuna_reads, "Optuna, memory": optuna_fills}[who]
        asks, took = first(stack, n, r, url, began)
        asks()
        gc.collect()
        process = psutil.Process()
        peak = float(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1e3
        print(json.dumps({"seconds": took, "held": process.memory_info().rss / 1e6, "peak": peak}))


def pilotune_reads(stack: contextlib.ExitStack, n: int, r: int, url: str, began: float) -> tuple[Callable, float]:
    from drivers import Desk, driver_on

    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench"))
    driver = stack.enter_context(driver_on(Path(folder), url))
    desk = Desk(driver, workers=r + 1)  # adopts the running trials, and asks for one
    took = time.perf_counter() - began
    return lambda: [desk.tick(desk.turn_over()) for _ in range(3)], took


def optuna_reads(stack: contextlib.ExitStack, n: int, r: int, url: str, began: float) -> tuple[Callable, float]:
    import optuna

    return _optuna_asks(optuna.storages.RDBStorage(url), began)


def optuna_fills(stack: contextlib.ExitStack, n: int, r: int, url: str, began: float) -> tuple[Callable, float]:
    import optuna

    storage = optuna.storages.InMemoryStorage()
    studies.add(storage, studies.templates(n, r))
    return _optuna_asks(storage, began)


def _optuna_asks(storage: object, began: float) -> tuple[Callable, float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=0)
    study = optuna.load_study(study_name=studies.NAME, storage=storage, sampler=sampler)
    studies.suggest(study.ask())
    took = time.perf_counter() - began
    return lambda: studies.suggest(study.ask()), took


def resume(n: int, repeats: int) -> str:
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        url = f"sqlite:///{folder}/study.db"
        studies.fill_database(url, studies.templates(n, 0))
        ours = median(repeats, lambda: child("Pilotune", n, 0, url)["seconds"])
        theirs = median(max(1, repeats // 2), lambda: child("Optuna, SQLite", n, 0, url)["seconds"])
    line = median(repeats, lambda: first_line(n))
    rows = [
        ["Pilotune, SQLite: the study read, the campaign ready, a trial asked for", ours, verdict("resume", ours)],
        ["Optuna, SQLite: the study read, a trial asked for", theirs, f"{theirs / ours:.1f}x Pilotune"],
        ["pilotune run of that study, command to the next trial's first line", line, None],
    ]
    return common.table(f"Resume of a study of {n:,} trials", ["what", "seconds", "budget"], rows)


def memory(n: int, r: int) -> str:
    rows: list[list] = []
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        url = f"sqlite:///{folder}/study.db"
        studies.fill_database(url, studies.templates(n, r))
        for who in ("Pilotune", "Optuna, memory", "Optuna, SQLite"):
            found = child(who, n, r, url)
            held, ours = found["held"], rows[0][1] if rows else found["held"]
            kept = f"{MEMORY:g} MB: {'kept' if held <= MEMORY else 'missed'}" if not rows and n == 100_000 else None
            rows.append([who, held, found["peak"], f"{held / ours:.2f}x", kept])
    head = ["who", "MB held", "at most", "times Pilotune", "budget"]
    return common.table(f"Memory at {n:,} finished and {r:,} running trials", head, rows)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--n", type=int, default=100_000, help="finished trials, for memory [100000]")
    parser.add_argument("--r", type=int, default=2_048, help="running trials, for memory [2048]")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", help="for the benchmark itself")
    parser.add_argument("--url", help="for the benchmark itself")
    options = parser.parse_args()
    if options.child:
        return be_child(options.child, options.n, options.r, options.url)
    repeats, n, r = (1, min(options.n, 1_000), 64) if options.small else (options.repeats, options.n, options.r)
    parts = {
        "start": lambda: start(repeats),
        "resume": lambda: resume(min(n, 10_000), repeats),
        "memory": lambda: memory(n, r),
    }
    text = "\n".join(parts[name]() for name in PARTS if name in options.only)
    return common.finish("Start-up and memory", text, options.keep)


if __name__ == "__main__":
    main()
