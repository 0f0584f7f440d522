"""A campaign on a finite space: it ends when all points were tried, and says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import IntDistribution

from pilotune.pipeline.campaign.events import Capacity, Finish, Submit
from pilotune.pipeline.driver.status import snapshot
from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.suggest.exhaustive import GridSampler

from ..support.campaign_bench import Bench, benches, over, started

SPACE = Space((Parameter("x", IntDistribution(0, 2)), Parameter("y", IntDistribution(0, 1))))
EVERY = sorted((x, y) for x in range(3) for y in range(2))


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    return benches(tmp_path)


def grid_bench(bench: Any, campaign: str = "c1", **limits: Any) -> Bench:
    made: Bench = bench(campaign, {"sampler": GridSampler(SPACE, seed=1), "space": SPACE}, **limits)
    return made


def run_out(campaign: Bench, kinds: list[str]) -> Finish:
    """Run until the end; the attempts end in these ways by turns."""
    actions, ended = campaign.turn(Capacity(2)), 0
    waiting: list[Any] = []
    for _ in range(40):
        waiting += [action.spec for action in actions if isinstance(action, Submit)]
        finish = [action for action in actions if isinstance(action, Finish)]
        if finish:
            return finish[0]
        spec = waiting.pop(0)
        kind = kinds[ended % len(kinds)]
        failure = {"failure": "exception", "reason": "it failed"} if kind == "failed" else {}
        actions, ended = campaign.turn(started(spec), over(spec, kind, **failure)), ended + 1
    raise AssertionError("it did not end")


def ran(campaign: Bench) -> list[tuple[int, int]]:
    return sorted((trial.params["x"], trial.params["y"]) for trial in campaign.trials())


@pytest.mark.parametrize("trials", [None, 6, 7, 20])
def test_every_grid_point_is_run_once_with_an_enqueued_one_and_failures(bench: Any, trials: int | None) -> None:
    campaign = grid_bench(bench, trials=trials)
    campaign.campaign.study.study.enqueue_trial({"x": 2, "y": 1})
    finish = run_out(campaign, ["complete", "failed", "yielded", "complete", "pruned"])
    assert ran(campaign) == EVERY
    assert finish == Finish(0, "all 6 grid points were tried")
    assert campaign.scales[0].workers == 6, "the pool never gets more workers than there are points"
    status = snapshot(campaign.campaign, storage="", run_dir="")
    assert (status.exhausted, status.budget, status.total) == (True, 6, 6)


def test_a_budget_below_the_grid_leaves_points_for_a_later_campaign(bench: Any) -> None:
    first = grid_bench(bench, trials=4)
    assert run_out(first, ["complete"]).reason == "the budget of 4 trials is used up"
    status = snapshot(first.campaign, storage="", run_dir="")
    assert (status.exhausted, status.budget) == (False, 4)
    first.storage.close()
    second = grid_bench(bench, "c2", trials=20)
    assert run_out(second, ["failed", "complete"]).reason == "all 6 grid points were tried"
    assert ran(second) == EVERY
    second.storage.close()
    third = grid_bench(bench, "c3", trials=20)
    assert run_out(third, []).reason == "all 6 grid points were tried", "nothing is left to run"


def test_points_that_are_not_on_the_grid_come_on_top(bench: Any) -> None:
    campaign = bench("c1", {"sampler": GridSampler(SPACE, {"y": [1]}, seed=1), "space": SPACE})
    campaign.campaign.study.study.enqueue_trial({"x": 2, "y": 0})
    assert run_out(campaign, ["complete"]).reason == "all 3 grid points were tried"
    assert ran(campaign) == [(0, 1), (1, 1), (2, 0), (2, 1)]


def test_a_finished_grid_without_a_result_says_so(bench: Any) -> None:
    campaign = grid_bench(bench)
    assert run_out(campaign, ["failed"]) == Finish(1, "all 6 grid points were tried, and no trial completed")
