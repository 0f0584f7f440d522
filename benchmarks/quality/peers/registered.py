"""Pilotune's samplers by their names in a study file, with arguments: ``tpe``, or ``tpe+parallel=crowd``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from optuna.samplers import BaseSampler

from pilotune.errors import UserError
from pilotune.pipeline.registry_args import Named
from pilotune.pipeline.space import Space
from pilotune.pipeline.suggest import registry

from .base import Peer, Setting


@dataclass(frozen=True)
class _Study:
    """What of a study file decides on its sampler."""

    sampler: Named
    space: Space
    directions: tuple[str, ...]
    folder: Path

    def error(self, message: str, key: str = "") -> UserError:
        return UserError(message, key=key)


def parsed(spec: str, trials: int | None = None) -> Named:
    """The sampler that ``name+argument=value+...`` means; a name may be ``file.py:Class``. Values are YAML.

    Args:
        trials: The budget, on which some defaults depend.

    Raises:
        UserError: There is no such sampler.
    """
    name, *arguments = re.split(r"\+(?=\w+=)", spec)
    pairs = (argument.partition("=") for argument in arguments)
    return registry.resolved_sampler(name, {key: yaml.safe_load(value) for key, _, value in pairs}, Path.cwd(), trials)


def registered(spec: str) -> Peer:
    """The sampler `spec` of Pilotune's registry as a study would have it. Raises UserError where there is none."""
    named = parsed(spec)

    def make(setting: Setting) -> BaseSampler:
        directions = ("minimize",) * setting.problem.objectives
        study = _Study(parsed(spec, setting.trials), setting.problem.space, directions, Path.cwd())
        return registry.make_sampler(study, seed=setting.seed)

    packages = registry.PACKAGES.get(named.name, ())
    one = named.name in registry.ONE_DIRECTION
    return Peer(make, packages, several=not one, constraints=not one)


def families() -> list[str]:
    """The names of Pilotune's own samplers that model the results: each gets its place in the tables by itself."""
    entries: dict[str, Any] = registry.SAMPLERS.entries()
    return [
        name
        for name, entry in entries.items()
        if entry.module.startswith(".") and name not in (*registry.EXHAUSTIVE, "auto")
    ]
