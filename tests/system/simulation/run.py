"""One seed, from its draw to its verdict."""

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
    """How a seed went: what came about in it, and a digest of all that happened."""

    saw: Counter[str]
    digest: str


def prepare() -> None:
    """Check invariants, and make this process fast at running seeds: what is loaded now is never garbage."""
    flight_states.VALIDATE = True
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def check(case: Case, template_path: Path, folder: Path) -> Found:
    """Run one seed and check its end. Raises AssertionError where something that must hold does not."""
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


def replay_command(seed: int, blocks: bool) -> str:
    return f"python -m tests.system.simulation --seeds {seed}{' --blocks' if blocks else ''}"
