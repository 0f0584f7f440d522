"""Spaces where some parameters exist only for some values of others, categories among them. The optima are 0."""

from __future__ import annotations

import math

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from .base import Listed, Params, Problem, single, space_of


def _log(params: Params, name: str, best: float, scale: float = 1.0) -> float:
    """The squared distance of a parameter to its `best` value, in decades times `scale`."""
    return (math.log10(params[name] / best) * scale) ** 2


def machine() -> Problem:
    """Like a support vector machine: the kernel decides on gamma, degree and offset; cost and gamma interact."""
    kinds: dict[str, BaseDistribution] = {
        "kernel": CategoricalDistribution(["linear", "poly", "rbf"]),
        "cost": FloatDistribution(1e-3, 1e3, log=True),
        "gamma": FloatDistribution(1e-4, 1e1, log=True),
        "degree": IntDistribution(2, 6),
        "offset": FloatDistribution(-1.0, 1.0),
    }
    when = {"gamma": {"kernel": ("poly", "rbf")}, "degree": {"kernel": ("poly",)}, "offset": {"kernel": ("poly",)}}

    def value(params: Params) -> float:
        if params["kernel"] == "linear":
            return 0.4 + 0.1 * _log(params, "cost", 0.05)
        along = math.log10(params["cost"] / 20) + 0.7 * math.log10(params["gamma"] / 0.03)
        across = math.log10(params["gamma"] / 0.03) - 0.3 * math.log10(params["cost"] / 20)
        bowl = 1 - math.exp(-(0.5 * along**2 + 0.8 * across**2))
        if params["kernel"] == "rbf":
            return bowl
        return 0.1 + 0.6 * bowl + 0.05 * (params["degree"] - 3) ** 2 + 0.2 * (params["offset"] - 0.4) ** 2

    return Problem("conditional machine", space_of(kinds, when), single(value), 0.0, unit=1.0)


def layers() -> Problem:
    """Like a network: the number of layers decides how many widths and activations there are."""
    most, best = 5, 3
    kinds: dict[str, BaseDistribution] = {
        "layers": IntDistribution(1, most),
        "optimizer": CategoricalDistribution(["sgd", "adam"]),
        "momentum": FloatDistribution(0.0, 0.99),
        "lr": FloatDistribution(1e-5, 1.0, log=True),
    }
    when: dict[str, dict[str, tuple]] = {"momentum": {"optimizer": ("sgd",)}}
    for i in range(1, most + 1):
        kinds[f"width{i}"] = IntDistribution(8, 1024, log=True)
        kinds[f"activation{i}"] = CategoricalDistribution(["relu", "tanh", "gelu", "none"])
        if i > 1:
            when[f"width{i}"] = when[f"activation{i}"] = {"layers": tuple(range(i, most + 1))}
    costs = {"gelu": 0.0, "relu": 0.1, "tanh": 0.3, "none": 0.8}

    def value(params: Params) -> float:
        count = params["layers"]
        each = (
            0.5 * _log(params, f"width{i}", 2.0 ** (9 - i)) + costs[params[f"activation{i}"]]
            for i in range(1, count + 1)
        )
        if params["optimizer"] == "adam":
            steps = 0.1 + _log(params, "lr", 1e-3, 0.5)
        else:
            steps = _log(params, "lr", 0.5 * (1.05 - params["momentum"]), 0.5) + (params["momentum"] - 0.85) ** 2
        return 0.08 * abs(count - best) + sum(each) / count + steps

    return Problem("conditional layers", space_of(kinds, when), single(value), 0.0, unit=1.0)


def nested() -> Problem:
    """Like a choice of models, in which a choice of algorithms has parameters of its own, categories at the bottom."""
    kinds: dict[str, BaseDistribution] = {
        "model": CategoricalDistribution(["trees", "network", "neighbours"]),
        "scale": CategoricalDistribution(["none", "standard", "ranks"]),
        "trees": CategoricalDistribution(["forest", "boosting"]),
        "depth": IntDistribution(1, 20),
        "count": IntDistribution(10, 2000, log=True),
        "eta": FloatDistribution(1e-3, 1.0, log=True),
        "loss": CategoricalDistribution(["squared", "absolute", "huber"]),
        "width": IntDistribution(8, 1024, log=True),
        "activation": CategoricalDistribution(["relu", "tanh", "gelu"]),
        "dropout": FloatDistribution(0.0, 0.8),
        "k": IntDistribution(1, 100, log=True),
        "metric": CategoricalDistribution(["l1", "l2", "cosine"]),
    }
    when: dict[str, dict[str, tuple]] = {
        **{name: {"model": ("trees",)} for name in ("trees", "depth", "count")},
        **{name: {"model": ("trees",), "trees": ("boosting",)} for name in ("eta", "loss")},
        **{name: {"model": ("network",)} for name in ("width", "activation", "dropout")},
        **{name: {"model": ("neighbours",)} for name in ("k", "metric")},
    }

    def value(params: Params) -> float:
        if params["model"] == "neighbours":
            scaled = {"none": 0.5, "standard": 0.1, "ranks": 0.0}[params["scale"]]
            return 0.35 + scaled + 0.2 * _log(params, "k", 12) + (0.1 if params["metric"] != "l1" else 0.0)
        if params["model"] == "network":
            scaled = {"none": 0.6, "standard": 0.0, "ranks": 0.15}[params["scale"]]
            active = {"relu": 0.03, "tanh": 0.1, "gelu": 0.0}[params["activation"]]
            return 0.12 + scaled + active + 0.3 * _log(params, "width", 200) + (params["dropout"] - 0.25) ** 2
        scaled = 0.0 if params["scale"] == "none" else 0.02
        if params["trees"] == "forest":
            return 0.1 + scaled + 0.002 * (params["depth"] - 16) ** 2 + 0.1 * _log(params, "count", 1500)
        lossy = {"squared": 0.1, "absolute": 0.06, "huber": 0.0}[params["loss"]]
        budget = math.log10(params["eta"] * params["count"] / 30) ** 2
        fine = max(0.0, math.log10(params["eta"] / 0.03)) * 0.1
        return scaled + lossy + 0.01 * (params["depth"] - 5) ** 2 + 0.3 * budget + fine

    return Problem("conditional nested", space_of(kinds, when), single(value), 0.0, unit=1.0)


PROBLEMS = {
    "conditional-machine": Listed(machine, False),
    "conditional-layers": Listed(layers, False),
    "conditional-nested": Listed(nested, True),
}
