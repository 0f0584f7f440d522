"""kill -9 and SIGSTOP of each kind of child process of the driver, on real workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from pilotune.pipeline.attributes import details_of

from ...support.campaigns import LONG, Case, campaign, side_by_side
from .cases import run
from .experiment import Result

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[Case, Future[Any]]]:
    with side_by_side(request, tmp_path_factory.mktemp("processes"), 3) as cases:
        yield cases


@pytest.fixture
def result(request: pytest.FixtureRequest, running: Mapping[Case, Future[Any]]) -> Any:
    """The result of the test's study."""
    return running[request.function.case].result(2 * LONG)


def manager_stopped(folder: Path) -> Result:
    return run("manager stopped", folder, lasts=25.0, trials=12)


def worker_stopped(folder: Path) -> Result:
    return run("worker stopped", folder, lasts=25.0, trials=12)


def manager_killed(folder: Path) -> Result:
    return run("manager killed", folder)


def interchange_killed(folder: Path) -> Result:
    return run("interchange killed", folder)


def worker_killed(folder: Path) -> Result:
    return run("worker killed", folder, times=2)


def trial_killed(folder: Path) -> Result:
    return run("trial killed", folder, times=2)


def losses(result: Result) -> list[str]:
    """The reasons that retried trials give for their lost attempts."""
    return [details_of(trial)["last_loss"] for trial in result.trials if "last_loss" in details_of(trial)]


def failed(result: Result) -> int:
    return sum(trial.state == TrialState.FAIL for trial in result.trials)


@campaign(manager_stopped)
def test_results_of_a_frozen_node_that_comes_back_count_once(result: Result) -> None:
    """Its trials went to other workers, so their first attempts are fenced."""
    assert result.findings.all == []
    assert len(losses(result)) <= 2
    assert failed(result) == 0


@pytest.mark.exhaustive  # a frozen node, above, freezes its workers too
@campaign(worker_stopped)
def test_a_worker_that_was_stopped_continues_its_trial(result: Result) -> None:
    assert result.findings.all == []
    assert failed(result) == 0


@campaign(manager_killed)
def test_a_worker_pool_that_dies_costs_its_trials_one_attempt(result: Result) -> None:
    assert result.findings.all == []
    assert len(losses(result)) <= 2, "a worker that had written its outcome was not lost"
    assert all("worker was lost" in loss for loss in losses(result))
    assert failed(result) == 0


@campaign(interchange_killed)
def test_an_executor_whose_interchange_died_is_replaced_and_its_trials_go_on(result: Result) -> None:
    assert result.findings.all == []
    assert "Parsl's interchange died" in result.log
    assert len(losses(result)) <= 2
    assert failed(result) == 0


@campaign(worker_killed)
def test_a_trial_whose_worker_dies_does_not_fail(result: Result) -> None:
    assert result.findings.all == []
    assert failed(result) == 0
    assert len(losses(result)) <= 2


@campaign(trial_killed)
def test_a_trial_whose_process_is_killed_fails_with_the_signal_as_its_reason(result: Result) -> None:
    assert result.findings.all == []
    fallen = [trial for trial in result.trials if trial.state == TrialState.FAIL]
    assert 1 <= len(fallen) <= 2, "one may have ended in that very moment"
    for trial in fallen:
        assert trial.user_attrs["pilotune:exit"] == "signal"
        assert trial.user_attrs["pilotune:attempts"] == 1
        assert "SIGKILL" in trial.user_attrs["pilotune:reason"]
