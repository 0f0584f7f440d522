"""The audit finds no violation in simulated studies, at any moment, whatever goes wrong in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilotune.pipeline.analysis.audit import audit
from tests.system.simulation import Case, World, copy, template
from tests.system.simulation.database import STUDY
from tests.system.simulation.driver import Driver

pytestmark = pytest.mark.slow

SEEDS = range(5_000, 5_020)

EVERY = 150
"""Turns of drivers between two audits."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("simulated")


@pytest.fixture(scope="module")
def empty(folder: Path) -> Path:
    return template(folder)


def complaints(world: World) -> list[str]:
    """Violations, except in files that the simulation itself has corrupted."""
    found = audit(f"sqlite:///{world.database}", STUDY)
    told = [written.outcome for written in world.truth.written if not written.readable]
    spoiled = {str(Path("trials", str(each.number), f"outcome-{each.attempt}.json")) for each in told}
    return [each.what for each in found.violations if not (each.file and each.file.endswith(tuple(spoiled)))]


@pytest.mark.parametrize("of", [Case.of, pytest.param(Case.with_blocks, marks=pytest.mark.exhaustive)])
def test_a_simulated_study_is_in_order_at_every_moment(
    of, folder: Path, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = turns = 0
    turn, die = Driver.turn, Driver.die

    def look(driver: Driver, when: str) -> None:
        nonlocal looks
        looks += 1
        assert complaints(driver.world) == [], f"seed {driver.world.case.seed}, {when}"

    def turned(driver: Driver) -> None:
        nonlocal turns
        turn(driver)
        turns += 1
        if turns % EVERY == 0:
            look(driver, "in mid-run")

    def died(driver: Driver) -> None:
        die(driver)
        look(driver, "its driver was killed")

    monkeypatch.setattr(Driver, "turn", turned)
    monkeypatch.setattr(Driver, "die", died)
    written = 0
    for seed in SEEDS:
        world = World(of(seed), copy(empty, folder), folder / f"{of.__name__}-{seed}")
        world.go()
        assert complaints(world) == [], f"seed {seed}, at its end"
        written += len(world.truth.written)
    assert looks > 5
    assert written > 30
