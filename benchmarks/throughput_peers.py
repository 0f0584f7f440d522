"""Runs DeepHyper and Ray Tune on the throughput benchmark's objective, each in its own process; and bare processes.

``python benchmarks/throughput_peers.py NAME WORKERS TRIALS PAUSE`` prints the end of each trial (Unix seconds) as JSON.
"""

from __future__ import annotations

import json
import logging
import os
import struct
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import objective

FLOATS = {f"x{i}": (-1.0, 1.0) for i in range(6)}
INTS = {"n0": (1, 16), "n1": (1, 16)}
PEERS = {
    "DeepHyper CBO, threads": "deephyper",
    "DeepHyper CBO, processes": "deephyper",
    "DeepHyper random, processes": "deephyper",
    "Ray Tune, TPE of Optuna": "ray",
}
"""The package that each peer needs."""
FORKED = "a forked process for each, alone"
"""Not a peer: what the system allows where each trial has a process of its own."""


def deephyper_job(job) -> dict:
    """A trial for DeepHyper, which maximizes."""
    return {"objective": -objective.evaluate(dict(job.parameters)), "metadata": {"ended": time.time()}}


def deephyper(name: str, workers: int, trials: int) -> list[float]:
    from deephyper.evaluator import Evaluator
    from deephyper.hpo import CBO, HpProblem, RandomSearch

    problem = HpProblem()
    for key, bounds in {**FLOATS, **INTS}.items():
        problem.add(bounds, key)
    problem.add((1e-4, 1.0, "log-uniform"), "l0")
    problem.add(["a", "b", "c"], "c0")
    method = "thread" if "threads" in name else "process"
    evaluator = Evaluator.create(deephyper_job, method=method, method_kwargs={"num_workers": workers})
    kind = CBO if "CBO" in name else RandomSearch
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        search = kind(problem, random_state=0, log_dir=folder)
        return list(search.search(evaluator, max_evals=trials)["m:ended"])


def ray_trial(config: dict) -> dict:
    return {"value": objective.evaluate(config), "ended": time.time()}


def ray_tune(_: str, workers: int, trials: int) -> list[float]:
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    here = str(Path(__file__).resolve().parent)
    environment = {"env_vars": {"PYTHONPATH": here, "BENCH_PAUSE": str(objective.PAUSE)}}
    ray.init(
        num_cpus=workers,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env=environment,
    )
    space = {
        **{key: tune.uniform(*bounds) for key, bounds in FLOATS.items()},
        **{key: tune.randint(low, high + 1) for key, (low, high) in INTS.items()},
        "l0": tune.loguniform(1e-4, 1.0),
        "c0": tune.choice(["a", "b", "c"]),
    }
    config = tune.TuneConfig(
        metric="value",
        mode="min",
        num_samples=trials,
        max_concurrent_trials=workers,
        reuse_actors=True,
        search_alg=OptunaSearch(seed=0),
    )
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        kept = tune.RunConfig(storage_path=folder, verbose=0)
        results = tune.Tuner(ray_trial, param_space=space, tune_config=config, run_config=kept).fit()
        return [result.metrics["ended"] for result in results]


def forked(_: str, workers: int, trials: int) -> list[float]:
    """A process for each trial, forked from a small one, and nothing else: no study, and no files."""
    params = {**dict.fromkeys(FLOATS, 0.5), "n0": 1, "n1": 1, "l0": 0.1}
    read, write = os.pipe()
    for _ in range(workers):
        if os.fork() == 0:
            for _ in range(trials // workers):
                if os.fork() == 0:
                    objective.evaluate(params)
                    os._exit(0)
                os.wait()
                os.write(write, struct.pack("d", time.time()))
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        data = pipe.read()
    for _ in range(workers):
        os.wait()
    return [end for (end,) in struct.iter_unpack("d", data)]


RUNS = {"deephyper": deephyper, "ray": ray_tune, "": forked}
"""By the package that it needs, what runs a peer."""


def run_peer(name: str, workers: int, trials: int, pause: float) -> list[float]:
    """When the peer's trials ended (Unix seconds), ascending.

    Raises:
        RuntimeError: The peer failed; the message ends with the end of its stderr.
    """
    command = [sys.executable, __file__, name, str(workers), str(trials), str(pause)]
    environment = {**os.environ, "BENCH_PAUSE": str(pause), "RAY_AIR_NEW_OUTPUT": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr.strip()[-400:]}")
    return sorted(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    run = RUNS[PEERS.get(sys.argv[1], "")]
    ends = run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    print("\n" + json.dumps([float(end) for end in ends]))
