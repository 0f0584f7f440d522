"""SHADHO's experiment: a support vector machine on MNIST, whose kernels have parameters of their own.

``python benchmarks/published/shadho.py [--seeds 10] [--methods NAME ...] [--table] [--keep]``

The tutorial of SHADHO searches the kernel and, for each kernel, what it needs. As published it has
trials that scikit-learn refuses (C from below zero) and scores on the test set, and no accuracy is published. Here C is
logarithmic, kernels have conditions, methods see a validation split, and the test set is asked once, for their choice.
Each seed has rows of its own, the same for all methods.

Results are kept in a file as they come; the next call goes on. ``--table`` prints the table and runs nothing.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

if __name__ == "__main__":  # before NumPy is imported: one process on one core
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import optuna

from benchmarks import common
from benchmarks.published import kept
from benchmarks.published.search import Method, Results, add_missing, best, gain, interval, searched, wins
from benchmarks.published.shadho_curves import Machine

HERE = Path(__file__).resolve().parent
TRIALS = 50
CHECKPOINTS = (10, 25, 50)
METHODS = [Method("random", ("sampler=random",)), Method("tpe", ("sampler=tpe",)), Method("auto", ())]
PROTOCOL = "validation split"
NOTE = (
    "1,000 rows to train on, 1,000 to select by and 4,000 to test, drawn by the seed, the same for all methods.\n"
    "No accuracy is published."
)


def table_of(results: Results) -> str:
    """A row for each method and number of trials."""
    rows: list[list[object]] = []
    for count in CHECKPOINTS:
        found = {
            method.name: {seed: best(run, count) for seed, run in results.of(PROTOCOL, method.name).items()}
            for method in METHODS
            if any(len(run.trials) >= count for run in results.of(PROTOCOL, method.name).values())
        }
        for name, chosen in found.items():
            scores, tests = ({seed: getattr(each, what) for seed, each in chosen.items()} for what in ("score", "test"))
            random = {seed: each.test for seed, each in found.get("random", {}).items()}
            against = [None, None] if name == "random" or not random else [gain(tests, random), wins(tests, random)]
            rows.append(
                [count, name, len(chosen), *(interval(list(each.values())) for each in (scores, tests)), *against]
            )
    head = ["trials", "method", "seeds", "validation accuracy", "its test accuracy", "test above random",
            "wins / ties / losses"]  # fmt: skip
    return common.table("SVM on MNIST: means in % and 95 % intervals of the best so far", head, rows)


def main() -> None:
    parser = kept.parser(__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--methods", nargs="+", choices=[each.name for each in METHODS])
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module="sklearn")  # machines that do not converge
    trials = CHECKPOINTS[0] if options.small else TRIALS
    results = Results(options.cache / f"shadho{'-small' if options.small else ''}.jsonl")
    chosen = [each for each in METHODS if not options.methods or each.name in options.methods]
    for seed in () if options.table else range(1 if options.small else options.seeds):
        if all(results.has(PROTOCOL, each.name, seed) for each in chosen):
            continue
        machine = Machine(seed)
        add_missing(results, PROTOCOL, chosen, seed,
                    lambda method, machine=machine, seed=seed:
                    searched(HERE / "shadho.yaml", method, machine, seed, trials, 1))  # fmt: skip
    common.finish("Published experiments: SHADHO", f"{table_of(results)}\n{NOTE}\n", options.keep)


if __name__ == "__main__":
    main()
