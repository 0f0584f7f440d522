"""The throughput benchmark's objective: ten mixed parameters, a pause, and next to no computation."""

import os
import time

PAUSE = float(os.environ.get("BENCH_PAUSE", "0"))


def evaluate(params: dict) -> float:
    if PAUSE:
        time.sleep(PAUSE)
    return sum(params[f"x{i}"] ** 2 for i in range(6)) + params["n0"] + params["n1"] / params["l0"] / 1e4


def run(trial) -> float:
    """The objective for Pilotune."""
    return evaluate(trial.params)


def objective(trial) -> float:
    """The objective for Optuna."""
    params = {f"x{i}": trial.suggest_float(f"x{i}", -1.0, 1.0) for i in range(6)}
    params["n0"] = trial.suggest_int("n0", 1, 16)
    params["n1"] = trial.suggest_int("n1", 1, 16)
    params["l0"] = trial.suggest_float("l0", 1e-4, 1.0, log=True)
    params["c0"] = trial.suggest_categorical("c0", ["a", "b", "c"])
    return evaluate(params)
