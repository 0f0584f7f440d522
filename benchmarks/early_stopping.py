"""What pruners save and what they lose: random search over recorded learning curves, one trial after another.

``python benchmarks/early_stopping.py [--small] [--keep] [--seeds 10] [--trials 60] [--tuning]``

The curves are TaskSet's: the validation loss of 1,000 configurations of Adam over 51 steps, for several tasks (the data
folder is named by ``PILOTUNE_DATA``). Each pruner sees the same configurations in the same order. A trial that is not
pruned runs to its last step. Lost is how much worse the best value is than without pruning, in units of the difference
between the task's median and its best. Constants are chosen with ``--tuning``: other tasks and other seeds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import common
import numpy as np
import optuna
from optuna.pruners import BasePruner
from optuna.trial import TrialState
from quality.problems.folder import data_folder

from pilotune.pipeline.fidelity import (
    ExtrapolationPruner,
    HyperbandPruner,
    MedianPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
)

CONFIRMING = ("patch128_LSTM128_embed128_bs64", "patch32_IRNN64_relu_last_bs128", "patch32_VRNN64_tanh_avg_bs128")
TUNING = ("patch32_GRU128_bs128", "patch32_LSTM128_bs128", "patch128_LSTM128_bs64")
CONFIRMING_SEEDS = 1000
"""The first seed that no constant was chosen by."""

PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    "none": lambda steps: optuna.pruners.NopPruner(),
    "median": lambda steps: MedianPruner(),
    "percentile 25": lambda steps: PercentilePruner(25.0),
    "successive_halving": lambda steps: SuccessiveHalvingPruner(max_resource=steps),
    "hyperband": lambda steps: HyperbandPruner(1, steps, 3),
    "extrapolation": lambda steps: ExtrapolationPruner(steps),
    "extrapolation, threshold 0.01": lambda steps: ExtrapolationPruner(steps, threshold=0.01),
}


def searched(curves: np.ndarray, order: np.ndarray, pruner: BasePruner) -> tuple[float, float]:
    """The share of all steps that ran, and the best loss at the last step; infinite where no trial completed."""
    study = optuna.create_study(pruner=pruner, sampler=optuna.samplers.RandomSampler(seed=0))
    used, best = 0, np.inf
    for row in order.tolist():
        trial, state = study.ask(), TrialState.COMPLETE
        for step, loss in enumerate(curves[row].tolist(), start=1):
            used += 1
            if not np.isfinite(loss):
                state = TrialState.FAIL
                break
            trial.report(loss, step)
            if trial.should_prune():
                state = TrialState.PRUNED
                break
        if state == TrialState.COMPLETE:
            best = min(best, curves[row, -1])
            study.tell(trial, float(curves[row, -1]))
        else:
            study.tell(trial, state=state)
    return used / (len(order) * curves.shape[1]), best


def interval(values: np.ndarray) -> str:
    """The mean and its 95 % interval, bootstrapped with a fixed seed."""
    draws = np.random.default_rng(0).choice(values, (2000, len(values))).mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return f"{values.mean():.3f} ({low:.3f} to {high:.3f})"


def rows_of(task: str, curves: np.ndarray, options: argparse.Namespace, first: int) -> list[list]:
    finals = curves[np.isfinite(curves).all(axis=1), -1]
    unit = float(np.median(finals) - finals.min())
    whole: list[float] = []
    rows: list[list] = []
    for name, make in PRUNERS.items():
        used, lost = [], []
        for seed in range(options.seeds):
            order = np.random.default_rng(first + seed).permutation(len(curves))[: options.trials]
            share, best = searched(curves, order, make(curves.shape[1]))
            if name == "none":
                whole.append(best)
            used.append(share)
            lost.append((best - whole[seed]) / unit)
        kept = float(np.mean(np.array(lost) <= 1e-9))
        rows.append([task, name, interval(np.array(used)), interval(np.array(lost)), float(max(lost)), kept])
        print(f"  {task}: {name}", file=sys.stderr)
    return rows


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--tuning", action="store_true", help="the tasks and seeds by which constants may be chosen")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if options.small:
        options.seeds, options.trials = 1, 12
    folder = data_folder() / "taskset"
    rows: list[list] = []
    for task in TUNING if options.tuning else CONFIRMING:
        path = folder / f"imdb_{task}.npz"
        if not path.exists():
            print(f"the curves of {task} are left out: {path} does not exist; PILOTUNE_DATA names the data folder")
            continue
        with np.load(path) as data:
            rows += rows_of(task, data["valid"].astype(float), options, 0 if options.tuning else CONFIRMING_SEEDS)
    if rows:
        title = f"{options.trials} random configurations, {options.seeds} seeds: means and 95 % intervals"
        head = ["task", "pruner", "steps used", "lost", "most lost", "best kept"]
        common.finish("Early stopping", common.table(title, head, rows), options.keep)


if __name__ == "__main__":
    main()
