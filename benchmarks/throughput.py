"""Trials a second and worker utilization with 8 workers on this machine: Pilotune beside Optuna, in one run.

``python benchmarks/throughput.py [--trials 300] [--sampler tpe]`` prints a table. A row counts from
the end of the first tenth of its trials to the end of the last, as its own database says, so that nobody's start-up
counts; the time from command to prompt is printed apart.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PILOTUNE = Path(sys.executable).with_name("pilotune")
WORKERS = 8
SPACE = """
  x0: {float: [-1.0, 1.0]}
  x1: {float: [-1.0, 1.0]}
  x2: {float: [-1.0, 1.0]}
  x3: {float: [-1.0, 1.0]}
  x4: {float: [-1.0, 1.0]}
  x5: {float: [-1.0, 1.0]}
  n0: {int: [1, 16]}
  n1: {int: [1, 16]}
  l0: {float: [1.0e-4, 1.0], log: true}
  c0: {choice: [a, b, c]}
"""


@dataclass(frozen=True)
class Row:
    who: str
    trials: int
    seconds: float
    pause: float

    @property
    def rate(self) -> float:
        return self.trials / self.seconds

    @property
    def utilization(self) -> float:
        return self.trials * self.pause / (WORKERS * self.seconds)


def measured(who: str, storage: object, name: str, pause: float) -> Row:
    """What the study's own times say."""
    import optuna

    trials = optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)
    ends = sorted(trial.datetime_complete for trial in trials if trial.datetime_complete)
    first = len(ends) // 10
    return Row(who, len(ends) - 1 - first, (ends[-1] - ends[first]).total_seconds(), pause)


def pilotune(trials: int, pause: float, sampler: str, isolate: bool) -> Row:
    folder = Path(tempfile.mkdtemp(prefix="bench"))
    study = folder / "study.yaml"
    study.write_text(
        f"name: bench\nobjective: {HERE / 'objective.py'}:run\ndirection: minimize\nspace:{SPACE}"
        f"sampler: {{name: {sampler}, seed: 0}}\nbudget: {{trials: {trials}}}\n"
        f"trial: {{isolate: {str(isolate).lower()}}}\n"
    )
    (folder / "eight.yaml").write_text(
        f"name: eight\nscheduler: local\npools: {{local: {{workers_per_node: {WORKERS}}}}}\n"
    )
    url = f"sqlite:///{folder}/study.db"
    began = time.time()
    subprocess.run(
        [PILOTUNE, "run", study, "--storage", url, "--site", folder / "eight.yaml", "--quiet"],
        env={**os.environ, "BENCH_PAUSE": str(pause), "PILOTUNE_RUNS": str(folder / "runs")},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    row = measured("pilotune" if isolate else "pilotune, isolate: false", url, "bench", pause)
    print(f"  {row.who}: {time.time() - began:.1f} s from command to prompt", file=sys.stderr)
    return row


def make_sampler(name: str) -> object:
    import optuna

    return {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}[name](seed=0)


def optuna_threads(trials: int, pause: float, sampler: str) -> Row:
    import optuna

    os.environ["BENCH_PAUSE"] = str(pause)
    import objective

    objective.PAUSE = pause
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(study_name="bench", storage=storage, sampler=make_sampler(sampler))
    study.optimize(objective.objective, n_trials=trials, n_jobs=WORKERS)
    return measured("optuna n_jobs=8, in memory", storage, "bench", pause)


def _optuna_process(url: str, trials: int, pause: float, sampler: str) -> None:
    import objective
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    objective.PAUSE = pause
    study = optuna.load_study(study_name="bench", storage=url, sampler=make_sampler(sampler))
    callback = optuna.study.MaxTrialsCallback(trials)
    study.optimize(objective.objective, callbacks=[callback])


def optuna_processes(trials: int, pause: float, sampler: str) -> Row:
    import optuna

    url = f"sqlite:///{tempfile.mkdtemp(prefix='bench')}/study.db"
    optuna.create_study(study_name="bench", storage=url)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_optuna_process, args=(url, trials, pause, sampler)) for _ in range(WORKERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return measured("optuna, 8 processes, SQLite", url, "bench", pause)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=300, help="per row [300]")
    parser.add_argument("--sampler", default="tpe", choices=["tpe", "random"])
    options = parser.parse_args()
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sys.path.insert(0, str(HERE))
    versions = f"Python {platform.python_version()}, Optuna {optuna.__version__}"
    print(f"{platform.machine()}, {os.cpu_count()} cores, {versions}")
    print(f"{WORKERS} workers, {options.trials} trials a row, {options.sampler}, 10 mixed parameters")
    for pause in (0.0, 0.05):
        few = max(100, options.trials // 2)  # the slow peer
        rows = [
            pilotune(options.trials, pause, options.sampler, True),
            pilotune(options.trials, pause, options.sampler, False),
            optuna_threads(options.trials, pause, options.sampler),
            optuna_processes(few, pause, options.sampler),
        ]
        slowest = min(row.rate for row in rows)
        print(f"\n{'50 ms' if pause else 'no-op'} objective{'':<18}{'trials':>8}{'seconds':>9}{'trials/s':>10}", end="")
        print(f"{'utilization':>13}{'ratio':>8}" if pause else f"{'ratio':>8}")
        for row in rows:
            print(f"{row.who:<33}{row.trials:>8}{row.seconds:>9.1f}{row.rate:>10.1f}", end="")
            print(f"{row.utilization:>13.2f}" if pause else "", end="")
            print(f"{row.rate / slowest:>8.1f}")


if __name__ == "__main__":
    main()
