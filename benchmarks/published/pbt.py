"""Population-based training of a network on digits, against random search and Hyperband at equal epochs.

``python benchmarks/published/pbt.py [--seeds 5] [--methods NAME ...] [--table] [--keep]``

Each run is a campaign on two local workers. All methods train 16 x 12 epochs, Hyperband as many trials as these allow.
A method sees the accuracy on the validation split; the test split is asked once, for its choice. Each seed has splits
of its own, the same for all methods. The paper (arXiv:1711.09846) has no experiment of this size to compare with.

Results are kept in a file as they come; the next call goes on. ``--table`` prints the table and runs nothing.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import optuna
from optuna.trial import TrialState

from benchmarks import common
from benchmarks.published import kept
from benchmarks.published.search import gain, interval, wins

HERE = Path(__file__).resolve().parent
EPOCHS, MEMBERS = 12, 16
HYPERBAND = ("pruner={name: hyperband, max_resource: 12}", "budget.trials=1000")
METHODS: dict[str, tuple[str, ...]] = {
    "random": ("sampler=random", f"budget.trials={MEMBERS}"),
    "auto": ("sampler=auto", f"budget.trials={MEMBERS}"),
    "random, hyperband": ("sampler=random", *HYPERBAND),
    "auto, hyperband": ("sampler=auto", *HYPERBAND),
    "pbt": (),
    "pb2": ("sampler={name: pb2, population: 16, interval: 2, max_resource: 12}",),
}
"""By method, what it changes in the study file."""


def run(method: str, seed: int) -> dict[str, Any]:
    """A campaign; returns the accuracies of the method's choice, and what it took."""
    with tempfile.TemporaryDirectory() as folder:
        settings = [*METHODS[method], f"sampler.seed={seed}", f"space.split={seed}", f"name=pbt-{seed}"]
        words = [word for setting in settings for word in ("--set", setting)]
        began = time.monotonic()
        process = subprocess.Popen(
            [Path(sys.executable).with_name("pilotune"), "run", HERE / "pbt.yaml", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PILOTUNE_RUNS": folder, "XDG_STATE_HOME": folder, "OMP_NUM_THREADS": "1"},
        )
        database, stopped = Path(folder, f"pbt-{seed}", "study.db"), False
        while process.poll() is None:
            time.sleep(0.5)
            if "hyperband" in method and not stopped and epochs_of(database) >= EPOCHS * MEMBERS:
                stopped = True
                process.terminate()  # no further trial begins
        seconds = time.monotonic() - began
        trials = optuna.load_study(study_name=f"pbt-{seed}", storage=f"sqlite:///{database}").trials
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    best = max(complete, key=lambda trial: (trial.value, -trial.number))
    epochs = sum(len(trial.intermediate_values) for trial in trials)
    return {
        "method": method, "seed": seed, "validation": best.value, "test": best.user_attrs["test"], "epochs": epochs,
        "trials": len(trials), "seconds": round(seconds, 1), "step": best.system_attrs.get("pilotune:step"),
    }  # fmt: skip


def epochs_of(database: Path) -> int:
    """The epochs that were trained so far; 0 before the study exists. Optuna itself would make its tables."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            (count,) = connection.execute("SELECT COUNT(*) FROM trial_intermediate_values").fetchone()
    except sqlite3.OperationalError:
        return 0
    return int(count)


def table_of(results: list[dict[str, Any]]) -> str:
    """A row for each method."""
    rows: list[list[object]] = []
    random = {each["seed"]: each["test"] for each in results if each["method"] == "random"}
    for method in METHODS:
        found = [each for each in results if each["method"] == method]
        if not found:
            continue
        test = {each["seed"]: each["test"] for each in found}
        mean = {key: sum(each[key] for each in found) / len(found) for key in ("epochs", "trials", "seconds")}
        against = [None, None] if method == "random" else [gain(test, random), wins(test, random)]
        rows.append(
            [method, len(found), interval([each["validation"] for each in found]), interval(list(test.values())),
             *against, round(mean["epochs"]), round(mean["trials"]), round(mean["seconds"])]
        )  # fmt: skip
    head = ["method", "seeds", "validation accuracy", "its test accuracy", "test above random", "wins / ties / losses"]
    title = "A network on digits, 192 epochs: means in % and 95 % intervals"
    return common.table(title, [*head, "epochs", "trials", "seconds"], rows)


def main() -> None:
    parser = kept.parser(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    results = kept.JsonLines(options.cache / "pbt.jsonl")
    known = {(each["method"], each["seed"]) for each in results.rows}
    methods = ["random", "pbt"] if options.small else options.methods
    for seed in () if options.table else range(1 if options.small else options.seeds):
        for method in methods:
            if (method, seed) not in known:
                results.add(run(method, seed))
                print(f"  {results.rows[-1]}", flush=True)
    common.finish("Published experiments: population-based training", table_of(results.rows), options.keep)


if __name__ == "__main__":
    main()
