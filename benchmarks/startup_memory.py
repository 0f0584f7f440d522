"""Start-up times, the time to resume a study, and the driver's memory.

``python benchmarks/startup_memory.py [--small] [--keep] [--only start resume memory]``

Medians of wall time, each measured in its own process. "First line" is the time from the command to the first line of
the first trial's objective; for the other tools, to the end of that trial, which does nothing. Files are those that all
processes of a study of as many trials as workers open (needs strace). Memory is that of the process after it has read
the study and asked for a few trials, and its peak; of an idle worker, what it shares with no other process (USS).
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import shutil
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
PARTS = ("start", "workers", "resume", "memory")
BUDGETS = {"pilotune --help": 0.15, "import pilotune": 0.1, "first line": 2.5, "resume": 3.0}
"""Most seconds."""

WORKER_COUNTS = (2, 8, 32)
WORKER_BUDGETS = {2: (2.5, 4_500), 32: (4.0, None)}
"""Most seconds to the first line, and most files."""

FILES_OF_A_WORKER, MEMORY_OF_A_WORKER = 40, 15.0
"""Most files that each further worker opens, and most MB of an idle worker."""

MEMORY = 500.0
"""Most MB of a driver with 100,000 trials."""

FIRST_LINE = """
import os, time
def run(trial):
    with open(os.environ["BENCH_FIRST"], "a") as file:
        file.write(f"{time.time()}\\n")
    time.sleep(float(os.environ.get("BENCH_PAUSE", "0")))
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
    took = median(repeats, lambda: first_line(workers=2))
    rows.append(["pilotune run, 2 local workers, to the first line", took, None, verdict("first line", took)])
    for name in ("DeepHyper random, processes", "Ray Tune, TPE of Optuna"):
        if not common.missing(PEERS[name]):
            took = median(max(1, repeats // 2), partial(peer_starts, name))
            rows.append([f"{name}, to its first trial", took, None, None])
    return common.table("Start-up", ["what", "seconds", "of CPU", "budget"], rows)


def first_line(n: int = 0, workers: int = 0, trials: int = 1) -> float:
    """Seconds from the command to the first line of the next trial, in a study with `n` finished ones.

    Args:
        n: Finished trials.
        workers: Local workers; 0 for one a core.
        trials: Trials to run.
    """
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        command, environment = campaign(Path(name), n, workers, trials)
        began = time.time()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        return float(Path(name, "first").read_text().split()[0]) - began


def campaign(folder: Path, n: int, workers: int, trials: int) -> tuple[list[str], dict[str, str]]:
    """The command of a campaign in `folder`, and its environment; see `first_line`."""
    url = f"sqlite:///{folder}/study.db"
    if n:
        studies.fill_database(url, studies.templates(n, 0))
    (folder / "objective.py").write_text(FIRST_LINE)
    (folder / "study.yaml").write_text(studies.study_text("objective.py:run", trials=n + trials))
    environment = {**os.environ, "BENCH_FIRST": str(folder / "first"), "PILOTUNE_RUNS": str(folder / "runs"),
                   "XDG_STATE_HOME": str(folder / "state")}  # fmt: skip
    command = [BIN / "pilotune", "run", folder / "study.yaml", "--storage", url, "--site", "local", "--quiet"]
    if workers:
        command += ["--set", f"pools.local.workers_per_node={workers}"]
    return [str(word) for word in command], environment


def peer_starts(name: str, workers: int = 2) -> float:
    began = time.time()
    return run_peer(name, workers, workers, 0.0)[0] - began


# -- workers ----------------------------------------------------------------------------------------------------------


def workers(repeats: int, most: int) -> str:
    """Seconds to the first line and opened files by the number of workers, beside other tools."""
    rows: list[list] = []
    files: dict[int, int | None] = {}
    for count in [each for each in WORKER_COUNTS if each <= most]:
        took = median(repeats, lambda count=count: first_line(workers=count, trials=count))
        with tempfile.TemporaryDirectory(prefix="bench") as name:
            command, environment = campaign(Path(name), 0, count, count)
            files[count] = opened(command, environment)
        rows.append([f"Pilotune, {count} workers", took, files[count], *_worker_verdicts(count, took, files)])
    for who, run in _peer_commands().items():
        took = median(max(1, repeats // 2), run[0])
        rows.append([f"{who}, 2 workers", took, opened(run[1], WITH_PROGRAMS), None, None])
    table = common.table("Start by workers", ["what", "seconds", "files", "seconds: budget", "files: budget"], rows)
    own = idle_worker()
    kept = f"{MEMORY_OF_A_WORKER:g} MB: {'kept' if own <= MEMORY_OF_A_WORKER else 'missed'}"
    return (
        table + "\n" + common.table("Idle workers", ["what", "MB", "budget"], [["of its own, each (USS)", own, kept]])
    )


def _worker_verdicts(count: int, took: float, files: dict[int, int | None]) -> list[str | None]:
    seconds, most = WORKER_BUDGETS.get(count, (None, None))
    first = None if seconds is None else f"{seconds:g} s: {'kept' if took <= seconds else 'missed'}"
    here, fewest = files[count], min(files)
    if here is None or files[fewest] is None:
        return [first, None]
    if count == fewest:
        return [first, None if most is None else f"{most:,}: {'kept' if here <= most else 'missed'}"]
    each = (here - (files[fewest] or 0)) / (count - fewest)
    return [first, f"{each:.0f} a worker of {FILES_OF_A_WORKER}: {'kept' if each <= FILES_OF_A_WORKER else 'missed'}"]


def opened(command: list[str], environment: dict[str, str]) -> int | None:
    """How many files a command and all that it starts open; None without strace."""
    if not shutil.which("strace"):
        return None
    with tempfile.NamedTemporaryFile(prefix="bench") as log:
        traced = ["strace", "-f", "-qq", "-e", "trace=openat", "-o", log.name, *command]
        subprocess.run(traced, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return sum(b"openat(" in line for line in log)


PARSL_ALONE = """
import sys, time
import parsl
from parsl.executors import HighThroughputExecutor

def trial(x):
    import time
    return time.time()

count = int(sys.argv[1])
executor = HighThroughputExecutor(address="127.0.0.1", max_workers_per_node=count, cores_per_worker=1e-6)
with parsl.load(parsl.Config(executors=[executor], run_dir=sys.argv[2], strategy_period=0.1)):
    app = parsl.python_app(trial)
    print(min(future.result() for future in [app(number) for number in range(count)]))
"""
"""As many tasks as workers on Parsl's own executor, without Pilotune."""


WITH_PROGRAMS = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
"""An environment in which Parsl finds its programs."""


def _peer_commands() -> dict[str, tuple[Callable[[], float], list[str]]]:
    """By tool: what measures the seconds to its first trial with two workers, and the command that starts it."""
    peers = Path(__file__).with_name("throughput_peers.py")
    parsl = [sys.executable, "-c", PARSL_ALONE, "2", tempfile.mkdtemp(prefix="bench")]

    def parsl_starts() -> float:
        began = time.time()
        done = subprocess.run(parsl, check=True, capture_output=True, text=True, env=WITH_PROGRAMS)
        return float(done.stdout.split()[-1]) - began

    found: dict[str, tuple[Callable[[], float], list[str]]] = {"Parsl alone": (parsl_starts, parsl)}
    for name in ("DeepHyper random, processes", "Ray Tune, TPE of Optuna"):
        if not common.missing(PEERS[name]):
            found[name] = (partial(peer_starts, name), [sys.executable, str(peers), name, "2", "2", "0.0"])
    return found


def idle_worker() -> float:
    """MB that an idle worker with its fork server shares with no other process (USS), the mean of seven."""
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        command, environment = campaign(Path(name), 0, 8, 1)
        first = Path(name, "first")
        with subprocess.Popen(command, env={**environment, "BENCH_PAUSE": "5"}, stdout=subprocess.DEVNULL) as driver:
            while not first.exists() and driver.poll() is None:
                time.sleep(0.1)
            workers = [each for each in psutil.Process(driver.pid).children(recursive=True)
                       if each.name().startswith("worker ") and each.name() != "worker pool"]  # fmt: skip
            below = [[worker, *worker.children(recursive=True)] for worker in workers]
            idle = [each for each in below if len(each) == min(map(len, below))]  # the busy one has a trial's process
            return sum(each.memory_full_info().uss for family in idle for each in family) / 1e6 / len(idle)


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
        "workers": lambda: workers(repeats, 2 if options.small else max(WORKER_COUNTS)),
        "resume": lambda: resume(min(n, 10_000), repeats),
        "memory": lambda: memory(n, r),
    }
    text = "\n".join(parts[name]() for name in PARTS if name in options.only)
    return common.finish("Start-up and memory", text, options.keep)


if __name__ == "__main__":
    main()
