"""YAHPO Gym's surrogates of real training runs: networks (LCBench), glmnet, decision trees, and random forests."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from .base import Listed, Outcome, Params, Problem, space_of
from .folder import data_folder

IMPUTE = CategoricalDistribution(["impute.mean", "impute.median", "impute.hist"])
SPACES: dict[str, dict[str, BaseDistribution]] = {
    "lcbench": {
        "batch_size": IntDistribution(16, 512, log=True),
        "learning_rate": FloatDistribution(1e-4, 1e-1, log=True),
        "momentum": FloatDistribution(0.1, 0.99),
        "weight_decay": FloatDistribution(1e-5, 1e-1),
        "num_layers": IntDistribution(1, 5),
        "max_units": IntDistribution(64, 1024, log=True),
        "max_dropout": FloatDistribution(0.0, 1.0),
    },
    "iaml_glmnet": {"alpha": FloatDistribution(0.0, 1.0), "s": FloatDistribution(1e-4, 1e3, log=True)},
    "rbv2_rpart": {
        "cp": FloatDistribution(1e-3, 1.0, log=True),
        "maxdepth": IntDistribution(1, 30),
        "minbucket": IntDistribution(1, 100),
        "minsplit": IntDistribution(1, 100),
        "num.impute.selected.cpo": IMPUTE,
    },
    "rbv2_ranger_v2": {
        "num.trees": IntDistribution(1, 2000),
        "sample.fraction": FloatDistribution(0.1, 1.0),
        "mtry.power": FloatDistribution(0.0, 1.0),
        "min.node.size": IntDistribution(1, 100),
        "replace": CategoricalDistribution(["TRUE", "FALSE"]),
        "respect.unordered.factors": CategoricalDistribution(["ignore", "order", "partition"]),
        "num.impute.selected.cpo": IMPUTE,
        "splitrule": CategoricalDistribution(["gini", "extratrees"]),
        "num.random.splits": IntDistribution(1, 100),
    },
}
WHEN: dict[str, Mapping[str, Mapping[str, tuple]]] = {
    "rbv2_ranger_v2": {"num.random.splits": {"splitrule": ("extratrees",)}}
}
FULL: dict[str, dict[str, Any]] = {
    "lcbench": {"epoch": 52.0},
    "iaml_glmnet": {"trainsize": 1.0},
    "rbv2_rpart": {"trainsize": 1.0, "repl": 10.0},
    "rbv2_ranger_v2": {"trainsize": 1.0, "repl": "10"},
}
"""What is fixed: training on all data, to the end."""

TARGETS = {"lcbench": "val_accuracy", "iaml_glmnet": "auc", "rbv2_rpart": "acc", "rbv2_ranger_v2": "acc"}
"""The outputs that are maximized."""
SECONDS = {"lcbench": "time", "iaml_glmnet": "timetrain", "rbv2_rpart": "timetrain", "rbv2_ranger_v2": "timetrain"}

BEST = {
    "iaml_glmnet 1489": 0.84351,
    "iaml_glmnet 40981": 0.95112,
    "lcbench 167104": 96.993,
    "lcbench 167149": 99.486,
    "lcbench 167152": 98.716,
    "lcbench 167168": 89.427,
    "lcbench 167185": 98.079,
    "lcbench 168329": 54.951,
    "lcbench 189865": 99.033,
    "lcbench 189873": 99.242,
    "lcbench 189906": 95.276,
    "rbv2_ranger_v2 1489": 0.91810,
    "rbv2_ranger_v2 40981": 0.87559,
    "rbv2_rpart 1040": 0.99571,
    "rbv2_rpart 41142": 0.69674,
}
"""The best values found by 60,000 random draws and an evolution of 150,000 more, started from the best of them."""


class Surrogate:
    """One instance (data set) of a surrogate.

    Args:
        bench: The folder of the model.
        instance: The data set's number in OpenML.
    """

    def __init__(self, bench: str, instance: str):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        folder = data_folder() / "yahpo" / bench
        self.model = onnxruntime.InferenceSession(folder / "model.onnx", options, ["CPUExecutionProvider"])
        self.codes = json.loads((folder / "encoding.json").read_text())
        self.spec = json.loads((folder / "spec.json").read_text())
        self.fixed = {**FULL[bench], self.spec["instance_param"]: instance}
        outputs = self.spec["y_names"]
        self.target, self.time = outputs.index(TARGETS[bench]), outputs.index(SECONDS[bench])

    def predict(self, configurations: list[Params]) -> np.ndarray:
        """The value to maximize and the seconds of each configuration: (configurations, 2)."""
        rows = [{**self.fixed, **params} for params in configurations]
        categories = [[self._code(name, row.get(name)) for name in self.spec["x_cat_order"]] for row in rows]
        numbers = [[row.get(name, 0.0) for name in self.spec["x_cont_order"]] for row in rows]
        inputs = {"x_cat": np.array(categories, dtype=np.int32), "x_cont": np.array(numbers, dtype=np.float32)}
        return self.model.run(None, inputs)[0][:, [self.target, self.time]].astype(float)

    def _code(self, name: str, value: Any) -> int:
        return self.codes[name].get("#na#" if value is None else value)


def surrogate(bench: str, instance: str) -> Problem:
    """The value after a whole training (minus accuracy, or minus the area under the curve), and the training's time."""
    model = Surrogate(bench, instance)

    def evaluate(params: Params) -> Outcome:
        value, seconds = model.predict([params])[0]
        return Outcome((-float(value),), max(float(seconds), 1.0))

    name = f"{bench} {instance}"
    return Problem(name, space_of(SPACES[bench], WHEN.get(bench)), evaluate, -BEST[name])


def _surrogate(bench: str, instance: str, confirming: bool) -> Listed:
    make: Callable[[], Problem] = lambda: surrogate(bench, instance)  # noqa: E731
    return Listed(make, confirming, "onnx")


PROBLEMS = {
    "lcbench-167168": _surrogate("lcbench", "167168", False),
    "lcbench-167104": _surrogate("lcbench", "167104", False),
    "glmnet-40981": _surrogate("iaml_glmnet", "40981", False),
    "rpart-1040": _surrogate("rbv2_rpart", "1040", False),
    "ranger-40981": _surrogate("rbv2_ranger_v2", "40981", False),
    **{f"lcbench-{task}": _surrogate("lcbench", task, True) for task in ("189906", "168329", "167149", "167152")},
    **{f"lcbench-{task}": _surrogate("lcbench", task, True) for task in ("167185", "189865", "189873")},
    "glmnet-1489": _surrogate("iaml_glmnet", "1489", True),
    "rpart-41142": _surrogate("rbv2_rpart", "41142", True),
    "ranger-1489": _surrogate("rbv2_ranger_v2", "1489", True),
}
