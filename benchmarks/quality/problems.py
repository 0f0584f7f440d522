"""The problems of the quality benchmark: exhaustive tables, learning curves, a grid with real failures, surrogates.

All data are in the folder that ``PILOTUNE_DATA`` names. Every problem is minimized; values to maximize are negated.
A number on an irregular grid of k values is searched as an integer 0..k-1, in order.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

Space = dict[str, BaseDistribution]


@dataclass(frozen=True)
class Outcome:
    """The result of a configuration: value (None: it fails), seconds (None: unknown), and curve of (step, value)."""

    value: float | None
    seconds: float | None = None
    curve: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Problem:
    """A search space with the result of each of its configurations.

    Attributes:
        optimum: The least value.
        steps: The last step of the learning curves, on which Hyperband prunes; None where there are none.
    """

    name: str
    space: Space
    evaluate: Callable[[dict[str, Any]], Outcome]
    optimum: float
    steps: int | None = None

    @cached_property
    def reference(self) -> float:
        """The median best value of 100 random configurations, estimated from 4,000 draws with one seed."""
        rng = np.random.default_rng(0)
        draws = [self.evaluate({name: drawn(kind, rng) for name, kind in self.space.items()}) for _ in range(4000)]
        values = sorted(math.inf if out.value is None else out.value for out in draws)
        return values[int(len(values) * (1 - 0.5 ** (1 / 100)))]

    def regret(self, value: float) -> float:
        """0 at the optimum, 1 at the median best of 100 random configurations; infinite where none was complete."""
        return max(0.0, (value - self.optimum) / (self.reference - self.optimum))


def drawn(kind: BaseDistribution, rng: np.random.Generator) -> Any:
    """A random value of the distribution `kind`, uniform, or log-uniform where it is logarithmic."""
    if isinstance(kind, CategoricalDistribution):
        return kind.choices[rng.integers(len(kind.choices))]
    assert isinstance(kind, IntDistribution | FloatDistribution)
    half = kind.step / 2 if isinstance(kind, IntDistribution) else 0.0
    low, high = kind.low - half, kind.high + half
    value = math.exp(rng.uniform(math.log(low), math.log(high))) if kind.log else rng.uniform(low, high)
    if isinstance(kind, FloatDistribution):
        return min(max(value, kind.low), kind.high)
    return int(min(max(kind.low + round((value - kind.low) / kind.step) * kind.step, kind.low), kind.high))


def table(folder: Path, bench: str, dataset: str) -> Problem:
    """Every configuration's final value, the mean of its repeats: FCNet (hpolib), NAS-Bench-201."""
    about = json.loads((folder / f"tab_tables/{bench}.json").read_text())
    with np.load(folder / f"tab_tables/{bench}_{dataset}.npz") as data:
        values = np.nanmean(data["values"], axis=-1)
    values = values if about["direction"] == "minimize" else -values
    order = about["order"]
    space: Space = {}
    for name in order:
        choices = about["space"][name]
        kind = about["types"][name]
        space[name] = CategoricalDistribution(choices) if kind == "cat" else IntDistribution(0, len(choices) - 1)
    places = {
        name: {choice: i for i, choice in enumerate(kind.choices)} if isinstance(kind, CategoricalDistribution) else {}
        for name, kind in space.items()
    }

    def evaluate(params: dict[str, Any]) -> Outcome:
        value = float(values[tuple(places[name].get(params[name], params[name]) for name in order)])
        return Outcome(value if math.isfinite(value) else None)

    return Problem(f"{bench} {dataset}", space, evaluate, float(np.nanmin(values)))


def kernel(folder: Path, gpu: str) -> Problem:
    """Run time (ms) of a convolution kernel. Configurations that are illegal, or do not compile or run, fail."""
    names = ["block_size_x", "block_size_y", "tile_size_x", "tile_size_y", "read_only", "use_padding", "use_shmem"]
    with gzip.open(folder / f"kernel_tuning/convolution_{gpu}.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    grid = {name: sorted({int(row[name]) for row in rows}) for name in names}
    space: Space = {name: IntDistribution(0, len(values) - 1) for name, values in grid.items()}
    known = {}
    for row in rows:
        seconds = (float(row["compile_time_ms"]) + float(row["benchmark_time_ms"])) / 1000
        value = float(row["time_ms"]) if row["status"] == "ok" else None
        known[tuple(int(row[name]) for name in names)] = Outcome(value, seconds)
    illegal = Outcome(None, min(outcome.seconds or 0.0 for outcome in known.values()))

    def evaluate(params: dict[str, Any]) -> Outcome:
        return known.get(tuple(grid[name][params[name]] for name in names), illegal)

    found = [outcome.value for outcome in known.values() if outcome.value is not None]
    return Problem(f"convolution {gpu}", space, evaluate, min(found))


TASKSET = {"learning_rate": (1e-8, 10.0), "beta1": (1e-4, 1.0), "beta2": (1e-3, 1.0), "epsilon": (1e-10, 1e3)} | {
    "l1": (1e-8, 10.0), "l2": (1e-8, 10.0), "linear_decay": (1e-7, 1e-4), "exponential_decay": (1e-6, 1e-3)
}  # fmt: skip


def taskset(folder: Path, task: str) -> Problem:
    """Validation loss over 51 steps of training with Adam; a configuration gets the curve of the nearest one.

    beta1 and beta2 are searched as 1 - beta, logarithmically like all others. Nearest is by squared distance in units
    of the ranges, with a weight of 4 for the learning rate. A trial fails where its loss becomes NaN.
    """
    with np.load(folder / f"taskset/imdb_{task}.npz") as data:
        hp, curves = data["hp"].astype(float), data["valid"].astype(float)
    for i, name in enumerate(TASKSET):
        if name.startswith("beta"):
            hp[:, i] = 1 - hp[:, i]
    lows = np.log([low if not name.startswith("beta") else 1e-4 for name, (low, _) in TASKSET.items()])
    highs = np.log([high for _, high in TASKSET.values()])
    weights = np.where(np.arange(len(TASKSET)) == 0, 4.0, 1.0)
    points = np.clip((np.log(np.maximum(hp, 1e-12)) - lows) / (highs - lows), 0, 1) * weights
    space: Space = {
        name: FloatDistribution(float(np.exp(low)), float(np.exp(high)), log=True)
        for name, low, high in zip(TASKSET, lows, highs, strict=True)
    }
    steps = curves.shape[1]
    rungs = [step for step in (3**k for k in range(10)) if step < steps] + [steps]

    def evaluate(params: dict[str, Any]) -> Outcome:
        at = (np.log([params[name] for name in TASKSET]) - lows) / (highs - lows) * weights
        curve = curves[int(np.argmin(((points - at) ** 2).sum(axis=1)))]
        reports = []
        for step in rungs:
            if not np.isfinite(curve[:step]).all():
                return Outcome(None, curve=tuple(reports))
            reports.append((step, float(curve[step - 1])))
        return Outcome(float(curve[-1]), curve=tuple(reports))

    finals = curves[np.isfinite(curves).all(axis=1), -1]
    return Problem(f"taskset {task}", space, evaluate, float(finals.min()), steps)


LCBENCH: Space = {
    "batch_size": IntDistribution(16, 512, log=True),
    "learning_rate": FloatDistribution(1e-4, 1e-1, log=True),
    "momentum": FloatDistribution(0.1, 0.99),
    "weight_decay": FloatDistribution(1e-5, 1e-1),
    "num_layers": IntDistribution(1, 5),
    "max_units": IntDistribution(64, 1024, log=True),
    "max_dropout": FloatDistribution(0.0, 1.0),
}
LCBENCH_BEST = {"167168": 89.427, "189906": 95.276, "168329": 54.951}
"""The best values found by 60,000 random draws and an evolution of 150,000 more, started from the best of them."""


def lcbench(folder: Path, task: str) -> Problem:
    """Validation accuracy (%) after 52 epochs, and training time, by YAHPO Gym's surrogate of LCBench."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = onnxruntime.InferenceSession(folder / "yahpo/lcbench/model.onnx", options, ["CPUExecutionProvider"])
    codes = json.loads((folder / "yahpo/lcbench/encoding.json").read_text())["OpenML_task_id"]
    instance = np.array([[codes[task]]], dtype=np.int32)

    def evaluate(params: dict[str, Any]) -> Outcome:
        point = np.array([[52.0, *(params[name] for name in LCBENCH)]], dtype=np.float32)
        seconds, accuracy = model.run(None, {"x_cat": instance, "x_cont": point})[0][0, :2]
        return Outcome(-float(accuracy), max(float(seconds), 1.0))

    return Problem(f"lcbench {task}", LCBENCH, evaluate, -LCBENCH_BEST[task])


MAKERS: dict[str, Callable[[Path], Problem]] = {
    "fcnet-protein": lambda folder: table(folder, "hpolib", "protein_structure"),
    "fcnet-naval": lambda folder: table(folder, "hpolib", "naval_propulsion"),
    "nas201": lambda folder: table(folder, "nasbench201", "cifar10"),
    "taskset-gru": lambda folder: taskset(folder, "patch32_GRU128_bs128"),
    "taskset-irnn": lambda folder: taskset(folder, "patch32_IRNN64_relu_last_bs128"),
    "lcbench-167168": lambda folder: lcbench(folder, "167168"),
    "lcbench-189906": lambda folder: lcbench(folder, "189906"),
    "lcbench-168329": lambda folder: lcbench(folder, "168329"),
    "kernel-a100": lambda folder: kernel(folder, "A100"),
    "kernel-w7800": lambda folder: kernel(folder, "W7800"),
}


def data_folder() -> Path:
    """The folder of the data: ``PILOTUNE_DATA``, or ``../shared/data`` from the repository's root."""
    here = Path(__file__).resolve().parents[2]
    return Path(os.environ.get("PILOTUNE_DATA") or here.parent / "shared" / "data")


def missing(name: str) -> str | None:
    """Why the problem `name` is not available here, in a sentence; None where it is."""
    folder = data_folder()
    if not folder.is_dir():
        return f"{name} is left out: there is no folder {folder}; set PILOTUNE_DATA to the folder of the data."
    if name.startswith("lcbench"):
        try:
            import onnxruntime  # noqa: F401
        except ImportError:
            return f"{name} is left out: onnxruntime is not installed (pip install 'pilotune[bench]')."
    return None


def make(name: str) -> Problem:
    """The problem `name` of MAKERS, read from the data folder."""
    problem = MAKERS[name](data_folder())
    return Problem(name, problem.space, problem.evaluate, problem.optimum, problem.steps)
