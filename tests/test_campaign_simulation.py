"""The real campaign under simulation: events in any order, losses, duplicates, deaths of drivers and ends of blocks."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pilotune.pipeline.campaign.campaign import Campaign
from pilotune.pipeline.campaign.ends import Ends
from pilotune.pipeline.campaign.events import Scale
from pilotune.providers.simulated import Disk
from tests import simulation

SEEDS, BLOCK_SEEDS = 1_000, 300
CHUNK = 25


def _check(first: int, blocks: bool, template: Path, folder: Path) -> tuple[list[str], Counter[str]]:
    """What went wrong in a chunk of seeds, and what came about in it."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    wrong, saw = [], Counter()
    for seed in range(first, first + CHUNK):
        case = simulation.Case.with_blocks(seed) if blocks else simulation.Case.of(seed)
        try:
            saw += simulation.check(case, template, folder).saw
        except Exception as error:
            replay = f"python -m tests.simulation --seeds {seed}{' --blocks' if blocks else ''}"
            wrong.append(f"seed {seed}: {type(error).__name__}: {error}; {replay}")
    return wrong, saw


def _check_all(seeds: int, blocks: bool, folder: Path) -> Counter[str]:
    """What came about in all seeds, none of which went wrong."""
    template = simulation.template(folder)
    chunks = [(first, blocks, template, folder) for first in range(0, seeds, CHUNK)]
    with multiprocessing.get_context("spawn").Pool(2) as processes:
        found = processes.starmap(_check, chunks)
    wrong = [sentence for sentences, _ in found for sentence in sentences]
    assert not wrong, "\n".join(wrong)
    return sum((saw for _, saw in found), Counter())


def test_a_thousand_seeds_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    saw = _check_all(SEEDS, False, tmp_path)
    assert saw["code 0"] > SEEDS / 2
    assert saw["code 130"] > 0, "no seed was stopped by its user: the draw has changed"


def test_blocks_come_and_go_and_every_trial_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    saw = _check_all(BLOCK_SEEDS, True, tmp_path)
    assert saw["code 0"] > BLOCK_SEEDS / 2
    for what in ("yielded", "declined", "walltime", "preempted", "cancelled", "code 130"):
        assert saw[what] > 10, f"{what} hardly came about: the draw has changed"


def test_a_seed_replays_to_the_last_bit(tmp_path: Path) -> None:
    template = simulation.template(tmp_path)
    first, second = (_history(seed_run, template, tmp_path) for seed_run in (17, 17))
    assert first == second
    assert first != _history(18, template, tmp_path)


def _history(seed: int, template: Path, folder: Path) -> list[tuple[object, ...]]:
    import shutil

    database = folder / "replay.db"
    shutil.copy(template, database)
    run = simulation.Run(simulation.Case.of(seed), database)
    run.go()
    for path in folder.glob("replay.db*"):
        path.unlink()
    return [(o.token, o.kind, o.values, tuple(map(tuple, o.reports)), o.started, o.finished) for o in run.outcomes]


@pytest.mark.parametrize(
    ("broken", "blocks", "what"),
    [
        ("_land", False, "an attempt's end does not end it"),
        ("_budget_used", False, "the budget is not looked at"),
        ("_try_again", False, "a lost trial is forgotten"),
        ("_try_again", True, "a trial that yielded is forgotten"),
        ("_take_up", True, "a trial that was put aside is forgotten"),
        ("_declined", True, "a declined attempt is taken for a lost one"),
        ("_demanded", True, "more workers are wanted than there are trials"),
        ("lose", True, "the steps after a checkpoint are computed twice"),
    ],
)
def test_the_invariants_catch_what_is_broken(
    broken: str, blocks: bool, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each check of the simulation can fail: with this part broken, some seed shows it."""
    replacements: dict[str, tuple[type, Callable[..., Any]]] = {
        "_land": (Campaign, lambda self, token: self.flights.get(token)),
        "_budget_used": (Campaign, lambda self: False),
        "_try_again": (Campaign, lambda self, flight: None),
        "_take_up": (Campaign, lambda self: None),
        "_declined": (Ends, lambda self, flight, now: self._lose(flight, "declined", now)),
        "_demanded": (Campaign, _too_much),
        "lose": (Disk, lambda self, number: None),
    }
    owner, replacement = replacements[broken]
    monkeypatch.setattr(owner, broken, replacement)
    template = simulation.template(tmp_path)
    of = simulation.Case.with_blocks if blocks else simulation.Case.of
    for seed in range(2 * CHUNK):
        try:
            simulation.check(of(seed), template, tmp_path)
        except Exception:
            return
    pytest.fail(f"{what}, and no seed of {2 * CHUNK} noticed")


def _too_much(campaign: Campaign) -> list[Scale]:
    campaign.demand = Scale(campaign.in_flight + campaign.rules.trials)
    return [campaign.demand]
