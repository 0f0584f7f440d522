"""The real campaign under simulation: a thousand seeds of random event orders, losses, duplicates and driver deaths."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from pathlib import Path

import pytest

from tests import simulation

SEEDS = 1_000
CHUNK = 25


def _check(first: int, template: Path, folder: Path) -> list[str]:
    """What went wrong in a chunk of seeds, and how each ended."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = []
    for seed in range(first, first + CHUNK):
        try:
            found.append(f"code {simulation.check(seed, template, folder).code}")
        except Exception as error:
            found.append(f"seed {seed}: {type(error).__name__}: {error}; python -m tests.simulation --seeds {seed}")
    return found


def test_a_thousand_seeds_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    template = simulation.template(tmp_path)
    chunks = [(first, template, tmp_path) for first in range(0, SEEDS, CHUNK)]
    with multiprocessing.get_context("spawn").Pool(2) as processes:
        ends = Counter(end for chunk in processes.starmap(_check, chunks) for end in chunk)
    wrong = [end for end in ends if end.startswith("seed")]
    assert not wrong, "\n".join(wrong)
    assert ends["code 0"] > SEEDS / 2
    assert ends["code 130"] > 0, "no seed was stopped by its user: the draw has changed"


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
    ("broken", "what"),
    [
        ("_land", "an attempt's end does not end it"),
        ("_budget_used", "the budget is not looked at"),
        ("_try_again", "a lost trial is forgotten"),
    ],
)
def test_the_invariants_catch_a_broken_campaign(
    broken: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each check of the simulation can fail: with this part of the campaign broken, some seed shows it."""
    from pilotune.pipeline.campaign.campaign import Campaign

    if broken == "_land":
        monkeypatch.setattr(Campaign, "_land", lambda self, token: self.flights.get(token))
    elif broken == "_budget_used":
        monkeypatch.setattr(Campaign, "_budget_used", lambda self: False)
    else:
        monkeypatch.setattr(Campaign, "_try_again", lambda self, flight: None)
    template = simulation.template(tmp_path)
    for seed in range(CHUNK):
        try:
            simulation.check(seed, template, tmp_path)
        except Exception:
            return
    pytest.fail(f"{what}, and no seed of {CHUNK} noticed")
