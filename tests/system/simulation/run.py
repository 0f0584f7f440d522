"""Runs one seed and checks its end."""

from __future__ import annotations

import gc
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import optuna

from pilotune.pipeline.campaign import flight_states

from .cases import Case
from .checks import check_end
from .database import copy
from .world import World


@dataclass(frozen=True)
class Found:
    """The result of a seed: how often each thing happened, and a digest of everything that happened."""

    saw: Counter[str]
    digest: str


def prepare() -> None:
    """Check invariants, and speed this process up: what is loaded now is excluded from garbage collection."""
    flight_states.VALIDATE = True
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def check(case: Case, template_path: Path, folder: Path) -> Found:
    """Run one seed and check its end. Raises AssertionError where an invariant does not hold."""
    database, runs = copy(template_path, folder), folder / f"{template_path.stem}-{case.seed}-runs"
    world = World(case, database, runs)
    try:
        finish = world.go()
        digest = check_end(world, finish)
    finally:
        shutil.rmtree(runs, ignore_errors=True)
    world.saw["seeds"] += 1
    world.saw["drivers"] += len(world.drivers)
    world.saw["attempts declined"] += world.truth.declined
    world.saw["attempts yielded"] += sum(outcome.kind == "yielded" for outcome in world.truth.outcomes)
    return Found(world.saw, digest)


DRAWS = {"": Case.of, "--blocks": Case.with_blocks, "--hours": Case.with_hours, "--ends": Case.with_long_ends}
"""How a seed is drawn, by the option of ``python -m tests.system.simulation``."""


def replay_command(seed: int, option: str) -> str:
    return f"python -m tests.system.simulation --seeds {seed} {option}".rstrip()
