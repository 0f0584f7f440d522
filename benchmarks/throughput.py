"""Trials a second, worker utilization and speed-up on this machine: Pilotune beside Optuna, DeepHyper and Ray Tune.

``python benchmarks/throughput.py [--small] [--keep] [--trials 304] [--sampler tpe] [--only utilization]``

With 8 workers, an objective that does nothing and one that sleeps 50 ms; and with 1 and 4 workers one of half a second.
A row is measured from the end of its first tenth of trials to the end of the last one, so that start-up does not count;
the whole time of the command is printed to stderr. Peers that are not installed are left out. The row "a forked process
for each, alone" runs no study: it says what the system allows where each trial has a process of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import common
import studies
from throughput_peers import FORKED, PEERS, run_peer

PILOTUNE = Path(sys.executable).with_name("pilotune")
WORKERS = 8
"""The number of workers for which the budgets hold."""

PARTS = ("no-op", "utilization", "speed-up")

BUDGETS = {
    ("no-op", "Pilotune"): 150.0,
    ("no-op", "Pilotune, isolate: false"): 300.0,
    ("utilization", "Pilotune"): 0.90,
    ("utilization", "Pilotune, isolate: false"): 0.95,
}
SPEED_UP = 3.95
"""Pilotune's budgets."""


@dataclass(frozen=True)
class Row:
    who: str
    workers: int
    pause: float
    ends: tuple[float, ...]

    @property
    def trials(self) -> int:
        """The trials that count: whole waves only, since all workers may end at the same time."""
        return len(self.ends) // self.workers * self.workers - self._skipped

    @property
    def _skipped(self) -> int:
        return max(1, len(self.ends) // (10 * self.workers)) * self.workers

    @property
    def seconds(self) -> float:
        return self.ends[self._skipped + self.trials - 1] - self.ends[self._skipped - 1]

    @property
    def rate(self) -> float:
        return self.trials / self.seconds

    @property
    def utilization(self) -> float:
        return self.rate * self.pause / self.workers


@dataclass(frozen=True)
class Task:
    """What a row runs.

    Attributes:
        pause: Seconds that the objective sleeps.
    """

    trials: int
    workers: int
    pause: float
    sampler: str


def ends_in(storage: object) -> tuple[float, ...]:
    """When the study's trials ended (Unix seconds), ascending."""
    import optuna

    trials = optuna.load_study(study_name=studies.NAME, storage=storage).get_trials(deepcopy=False)
    return tuple(sorted(trial.datetime_complete.timestamp() for trial in trials if trial.datetime_complete))


def pilotune(task: Task, isolate: bool = True) -> tuple[float, ...]:
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        folder = Path(name)
        study, trial = folder / "study.yaml", f"{{isolate: {str(isolate).lower()}}}"
        function = f"{common.HERE / 'objective.py'}:run"
        study.write_text(studies.study_text(function, sampler=task.sampler, trial=trial, trials=task.trials))
        (folder / "site.yaml").write_text(
            f"name: here\nscheduler: local\npools: {{local: {{workers_per_node: {task.workers}}}}}\n"
        )
        url = f"sqlite:///{folder}/study.db"
        environment = {"BENCH_PAUSE": str(task.pause), "PILOTUNE_RUNS": str(folder / "runs"),
                       "XDG_STATE_HOME": str(folder / "state")}  # fmt: skip
        subprocess.run(
            [PILOTUNE, "run", study, "--storage", url, "--site", folder / "site.yaml", "--quiet"],
            env={**os.environ, **environment},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return ends_in(url)


def make_sampler(name: str) -> object:
    import optuna

    return {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}[name](seed=0)


def optuna_threads(task: Task) -> tuple[float, ...]:
    import objective
    import optuna

    objective.PAUSE = task.pause
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(study_name=studies.NAME, storage=storage, sampler=make_sampler(task.sampler))
    study.optimize(objective.objective, n_trials=task.trials, n_jobs=task.workers)
    return ends_in(storage)


def _optuna_process(url: str, task: Task) -> None:
    import objective
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    objective.PAUSE = task.pause
    study = optuna.load_study(study_name=studies.NAME, storage=url, sampler=make_sampler(task.sampler))
    study.optimize(objective.objective, callbacks=[optuna.study.MaxTrialsCallback(task.trials)])


def optuna_processes(task: Task) -> tuple[float, ...]:
    import optuna

    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        url = f"sqlite:///{folder}/study.db"
        optuna.create_study(study_name=studies.NAME, storage=url)
        context = multiprocessing.get_context("spawn")
        processes = [context.Process(target=_optuna_process, args=(url, task)) for _ in range(task.workers)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        return ends_in(url)


def peer(name: str, task: Task) -> tuple[float, ...]:
    return tuple(run_peer(name, task.workers, task.trials, task.pause))


def row_of(who: str, task: Task, run: Callable[[Task], tuple[float, ...]]) -> Row:
    began = time.time()
    row = Row(who, task.workers, task.pause, run(task))
    print(f"  {who}: {time.time() - began:.1f} s from command to prompt", file=sys.stderr)
    return row


def rows_of(task: Task, few: int, peers: list[str]) -> list[Row]:
    """The rows of all tools; the slow peers run only ``few`` trials."""
    fewer = dataclasses.replace(task, trials=few)
    rows = [
        row_of("Pilotune", task, pilotune),
        row_of("Pilotune, isolate: false", task, partial(pilotune, isolate=False)),
        row_of(FORKED, task, partial(peer, FORKED)),
        row_of(f"Optuna, {task.workers} threads, in memory", task, optuna_threads),
        row_of(f"Optuna, {task.workers} processes, SQLite", fewer, optuna_processes),
    ]
    for name in peers:  # Ray Tune starts only one or two trials a second
        fits = dataclasses.replace(fewer, trials=min(few, 48)) if PEERS[name] == "ray" else fewer
        rows.append(row_of(name, fits, partial(peer, name)))
    return rows


def verdict(part: str, row: Row) -> str | None:
    """Whether Pilotune keeps its budget; None where the row has none."""
    budget = BUDGETS.get((part, row.who))
    if budget is None or row.workers != WORKERS:
        return None
    reached = row.utilization if part == "utilization" else row.rate
    return f"{budget:g}: {'kept' if reached >= budget else 'missed'}"


def measured(part: str, task: Task, few: int, peers: list[str]) -> str:
    found = rows_of(task, few, peers)
    rows: list[list] = []
    for row in found:
        shown = row.utilization if part == "utilization" else None
        times = f"{found[0].rate / row.rate:,.2f}x"
        rows.append([row.who, row.trials, row.rate, shown, times, verdict(part, row)])
    what = f"{task.pause * 1e3:.0f} ms objective" if task.pause else "no-op objective"
    head = ["who", "trials", "trials/s", "utilization", "Pilotune is", "budget"]
    return common.table(f"{what}, {task.workers} workers, {task.sampler}", head, rows)


def speed_up(pause: float, trials: int, sampler: str, peers: list[str]) -> str:
    """The throughput with 4 workers over that with 1."""
    runs: dict[str, Callable[[Task], tuple[float, ...]]] = {"Pilotune": pilotune, "Optuna, threads": optuna_threads}
    runs |= {name: partial(peer, name) for name in peers}
    rows = []
    for who, run in runs.items():
        one, four = (row_of(who, Task(trials * count, count, pause, sampler), run) for count in (1, 4))
        gain = four.rate / one.rate
        budget = f"{SPEED_UP}: {'kept' if gain >= SPEED_UP else 'missed'}" if who == "Pilotune" else None
        rows.append([who, one.rate, four.rate, gain, budget])
    head = ["who", "trials/s with 1", "with 4", "speed-up", "budget"]
    return common.table(f"Speed-up at 4 workers, {pause:g} s objective", head, rows)


def parser() -> argparse.ArgumentParser:
    made = common.parser(__doc__)
    made.add_argument("--trials", type=int, default=304, help="per row; a third for slow peers [304]")
    made.add_argument("--workers", type=int, default=WORKERS, help="of all parts but the speed-up [8]")
    made.add_argument("--sampler", default="tpe", choices=["tpe", "random"])
    made.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    made.add_argument("--no-peers", action="store_true", help="without DeepHyper and Ray Tune")
    return made


def main() -> None:
    options = parser().parse_args()
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    peers = [] if options.no_peers else [name for name, package in PEERS.items() if not common.missing(package)]
    texts = []
    if not options.no_peers:
        texts += [f"{sentence}\n" for package in sorted({*PEERS.values()}) if (sentence := common.missing(package))]
    trials, few = (64, 32) if options.small else (options.trials, max(4 * options.workers, options.trials // 3))
    if options.small:
        peers = [name for name in peers if "CBO" not in name]
    for part, pause in (("no-op", 0.0), ("utilization", 0.05)):
        if part in options.only:
            texts.append(measured(part, Task(trials, options.workers, pause, options.sampler), few, peers))
    if "speed-up" in options.only:
        pause, waves = (0.2, 6) if options.small else (0.5, 20)
        some = [name for name in peers if "threads" in name]
        texts.append(speed_up(pause, waves, options.sampler, some))
    common.finish("Throughput", "\n".join(texts), options.keep)


if __name__ == "__main__":
    main()
