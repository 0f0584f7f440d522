"""Reports count the same however they reach the driver, and none is lost where no next attempt tells it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from pilotune.pipeline.attributes import PAUSED
from pilotune.pipeline.campaign.events import Capacity, Lost, Reply
from pilotune.pipeline.fidelity import SuccessiveHalvingPruner, rung_schedule
from pilotune.pipeline.record import Orphan
from pilotune.pipeline.registry_args import Named
from pilotune.pipeline.trial.protocol import REPORTS_LEFT_OUT, Report, Verdict
from pilotune.pipeline.trial.report_log import LoggedReport, ReportLog

from ..support.campaign_bench import Bench, benches, over, started

PROMOTE = Named("successive_halving", {"mode": "promote", "max_resource": 8, "reduction_factor": 2})


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    return benches(tmp_path)


def log(attempt: int, *reports: tuple[int, float]) -> ReportLog:
    return ReportLog(attempt, tuple(LoggedReport(step, value, 0.0, 0) for step, value in reports), size=99)


def on_disk(campaign: Bench, found: ReportLog) -> None:
    campaign.report_log = lambda flight: found  # type: ignore[method-assign]


def reports(campaign: Bench, number: int = 0) -> dict[int, float]:
    return campaign.trials()[number].intermediate_values


def test_a_trial_that_is_given_up_keeps_what_its_lost_attempts_wrote_down(bench: Callable[..., Bench]) -> None:
    campaign = bench(trials=1, max_losses=0)
    (spec,) = campaign.specs(Capacity(1))
    campaign.turn(started(spec), Report(spec.token, 1, 1, 0.5))
    on_disk(campaign, log(1, (1, 0.5), (2, 0.4)))
    campaign.turn(Lost(spec.token, "its worker died"))
    (trial,) = campaign.trials()
    assert trial.state == TrialState.FAIL
    assert trial.intermediate_values == {1: 0.5, 2: 0.4}
    assert trial.system_attrs["pilotune:heard"] == [1, 99]


@pytest.mark.parametrize("kind", ["complete", "pruned"])
def test_reports_that_did_not_fit_into_the_outcome_are_read_from_the_log(
    kind: str, bench: Callable[..., Bench]
) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    on_disk(campaign, log(1, (1, 0.5), (2, 0.4)))
    campaign.turn(started(spec), over(spec, kind, reason=f"its {REPORTS_LEFT_OUT}, since ..."))
    assert reports(campaign) == {1: 0.5, 2: 0.4}


def test_reports_of_an_outcome_are_judged_one_by_one_and_the_next_attempt_hears_the_verdict(
    bench: Callable[..., Bench],
) -> None:
    """As if the driver had heard each in its time: the value at the rung is the first one there."""
    pruner = SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    campaign = bench(trials=2, options={"pruner": pruner})
    one, two = campaign.specs(Capacity(2))
    campaign.turn(started(one), started(two), Report.of(one.token, 1, [(1, 1.0), (2, 1.0)]))
    (again,) = campaign.specs(over(two, "yielded", reports=[[1, 8.0], [2, 0.1]], started=0.0, finished=9.0))
    assert campaign.trials()[1].system_attrs["completed_rung_0"] == 8.0
    verdict = campaign.turn(started(again), Report(again.token, 1, 3, 0.1))
    assert verdict == [Reply(Verdict(again.token, 1, stop="prune"))]
    campaign.turn(over(again, "pruned"))
    assert campaign.trials()[1].state == TrialState.PRUNED


def test_a_verdict_that_nobody_heard_reaches_the_attempt_of_the_next_driver(bench: Callable[..., Bench]) -> None:
    first = bench(options={"pruner": optuna.pruners.ThresholdPruner(upper=5.0)}, trials=1)
    (spec,) = first.specs(Capacity(1))
    first.turn(started(spec), Report(spec.token, 1, 1, 9.0))
    first.storage.close()
    second = bench("c2", options={"pruner": optuna.pruners.ThresholdPruner(upper=5.0)}, trials=1)
    token = second.campaign.adopt(Orphan(0, 1, "c1", "/tmp", {"x": 0.5}))
    (again,) = second.specs(Capacity(1), Lost(token, "its driver died"))
    assert second.turn(started(again), Report(again.token, 1, 2, 1.0)) == [Reply(Verdict(again.token, 1, stop="prune"))]


def test_a_lost_attempt_that_had_reached_a_rung_pauses_there(bench: Callable[..., Bench]) -> None:
    campaign = bench(trials=2, options={"pausing": rung_schedule(PROMOTE)})
    (spec,) = campaign.specs(Capacity(1))
    campaign.turn(started(spec))
    on_disk(campaign, log(1, (1, 0.5)))
    campaign.turn(Lost(spec.token, "its worker died"))
    assert campaign.trials()[0].user_attrs[PAUSED] == 1
    assert reports(campaign) == {1: 0.5}


def test_what_an_attempt_carries_is_told_before_its_own_and_counts_once(bench: Callable[..., Bench]) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    campaign.turn(started(spec), Report(spec.token, 1, 1, 0.5))
    (again,) = campaign.specs(Lost(spec.token, "its worker died"))
    carried: list[Any] = [(1, 0.5), (2, 0.4)]
    campaign.turn(started(again), Report.of(again.token, 1, [*carried, (2, 0.9), (3, 0.3)]))
    campaign.turn(over(again, reports=[[2, 0.4], [2, 0.9], [3, 0.3]]))
    assert list(reports(campaign).items()) == [(1, 0.5), (2, 0.4), (3, 0.3)]
