"""The samplers of the quality benchmark by name: Pilotune's by its registry, and the table of peers.

A new peer is one module with a subclass of :class:`Outside`, and one line in :data:`PEERS`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import optuna
from optuna.samplers import BaseSampler

from ..problems import Problem
from .base import Outside, Peer, Setting
from .registered import families, registered


def _optuna(name: str, **options: Any) -> Callable[[Setting], BaseSampler]:
    """A sampler of Optuna's by its class, with its defaults."""
    return lambda setting: getattr(optuna.samplers, name)(seed=setting.seed, **options)


def _optuna_tpe(setting: Setting) -> BaseSampler:
    """Optuna's TPE with its defaults; with several objectives it is MOTPE."""
    return optuna.samplers.TPESampler(seed=setting.seed)


def _module(module: str, attribute: str) -> Callable[[Setting], BaseSampler]:
    """What `attribute` of a module here makes; the module is imported then, and its library with it."""

    def make(setting: Setting) -> BaseSampler:
        made: BaseSampler = getattr(importlib.import_module(f".{module}", __package__), attribute)(setting)
        return made

    return make


PEERS: dict[str, Peer] = {
    "random": Peer(_optuna("RandomSampler"), several=True, constraints=True),
    "optuna_tpe": Peer(_optuna_tpe, several=True, constraints=True, most=2000),
    "optuna_gp": Peer(
        _optuna("GPSampler", warn_independent_sampling=False),
        ("torch",),
        several=True,
        constraints=True,
        slow=True,
        most=700,
    ),
    "cmaes": Peer(_optuna("CmaEsSampler", warn_independent_sampling=False), ("cmaes",)),
    "nsgaii": Peer(_optuna("NSGAIISampler"), several=True, constraints=True),
    "deephyper": Peer(_module("deephyper", "DeepHyper"), ("deephyper",), slow=True, most=700),
    "deephyper_sampling": Peer(_module("deephyper", "sampling"), ("deephyper",), most=2000),
    "smac": Peer(_module("smac", "Smac"), ("smac",), slow=True, most=700),
    "hebo": Peer(_module("hebo", "Hebo"), ("hebo",), slow=True, most=700),
    "botorch": Peer(_module("torch_gp", "LogEI"), ("botorch",), slow=True, most=700),
    "turbo": Peer(_module("torch_gp", "Turbo"), ("botorch",), slow=True, most=2000),
    "nevergrad": Peer(_module("nevergrad", "NGOpt"), ("nevergrad",)),
    "cqr": Peer(_module("syne_tune", "CQR"), ("syne_tune",), slow=True, most=700),
}
FAST = ("random", "optuna_tpe", "cmaes", "nsgaii", "deephyper_sampling", "nevergrad")


def peer(name: str) -> Peer:
    """The sampler `name`. ``crowd`` is ``tpe+parallel=crowd``.

    Raises:
        UserError: There is neither such a peer nor such a sampler.
    """
    return PEERS[name] if name in PEERS else registered("tpe+parallel=crowd" if name == "crowd" else name)


def defaults() -> list[str]:
    """The samplers of a call that names none: Pilotune's own families, ``crowd``, and all peers."""
    return [*families(), "crowd", *PEERS]


def absent(name: str) -> str | None:
    """Why the sampler `name` is not available here, in a sentence; None where it is."""
    for package in peer(name).packages:
        if importlib.util.find_spec(package) is None:
            return f"{name} is left out: {package} is not installed (pip install 'pilotune[bench-quality]')."
    return None


def unsuited(name: str, problem: Problem, trials: int) -> str | None:
    """Why the sampler `name` does not run on `problem`, in a sentence; None where it does."""
    found = peer(name)
    if problem.objectives > 1 and not found.several:
        return f"{name} is left out where there are several objectives."
    if problem.constrained and not found.constraints:
        return f"{name} is left out where there are soft constraints."
    if trials > found.most:
        return f"{name} is left out with more than {found.most:,} trials: a suggestion takes too long."
    return None


__all__ = ["FAST", "PEERS", "Outside", "Peer", "Setting", "absent", "defaults", "families", "peer", "unsuited"]
