"""The driver is killed again and again, stopped for a while, or killed with all its processes; its study goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from ...support.campaigns import LONG, Case, campaign, side_by_side
from ...support.postgres import Server
from ...support.sizes import at_size
from .cases import run
from .experiment import Result

pytestmark = pytest.mark.real

KILLS_ON_SQLITE, KILLS_ON_POSTGRESQL = at_size(3, 6), at_size(2, 4)
"""The odd kills come at random times of a driver's start, the even ones while trials run."""


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, postgres_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[Case, Future[Any]]]:
    with side_by_side(request, tmp_path_factory.mktemp("driver"), 4, postgres_server) as cases:
        yield cases


@pytest.fixture
def result(request: pytest.FixtureRequest, running: Mapping[Case, Future[Any]]) -> Any:
    """The result of the test's study."""
    return running[request.function.case].result(4 * LONG)


def killed_on_sqlite(folder: Path, server: Server) -> Result:
    return run("driver killed", folder, times=KILLS_ON_SQLITE)


def killed_on_postgresql(folder: Path, server: Server) -> Result:
    return run("driver killed", folder, times=KILLS_ON_POSTGRESQL, server=server)


def one_after_the_other(folder: Path, server: Server) -> Result:
    return run("one kill after the other", folder, times=6)


def everything(folder: Path, server: Server) -> Result:
    return run("everything killed", folder, times=1)


def stopped(folder: Path, server: Server) -> Result:
    """Longer than workers wait for it: half a minute until the connection counts as down, and 3 s."""
    return run("driver stopped", folder, lasts=36.0, environment={"PILOTUNE_DRIVER_TIMEOUT": "3"})


def taken_for_dead(folder: Path, server: Server) -> Result:
    return run("driver stopped, and taken for dead", folder, server=server)


def check(result: Result, injected: int) -> None:
    assert result.findings.all == []
    assert len(result.injected) == injected
    assert {trial.state for trial in result.trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert result.verified["outcomes"]["written"] >= len(result.trials)


@campaign(killed_on_sqlite)
def test_a_driver_that_is_killed_again_and_again_loses_and_doubles_nothing_on_sqlite(result: Result) -> None:
    check(result, KILLS_ON_SQLITE)


@pytest.mark.exhaustive
@pytest.mark.postgres
@campaign(killed_on_postgresql)
def test_a_driver_that_is_killed_again_and_again_loses_and_doubles_nothing_on_postgresql(result: Result) -> None:
    check(result, KILLS_ON_POSTGRESQL)


@pytest.mark.exhaustive
@campaign(one_after_the_other)
def test_no_report_is_lost_and_no_step_computed_again_whatever_is_killed(result: Result) -> None:
    assert result.findings.all == []
    assert result.record.again == 0


@campaign(everything)
def test_a_study_goes_on_after_all_its_processes_died_at_once(result: Result) -> None:
    check(result, 1)
    assert "took over" in result.log


@pytest.mark.exhaustive
@campaign(stopped)
def test_a_driver_that_was_stopped_continues_with_what_its_workers_did_meanwhile(result: Result) -> None:
    check(result, 1)


@pytest.mark.postgres
@campaign(taken_for_dead)
def test_a_driver_whose_trials_were_taken_over_ends_and_changes_nothing_more(result: Result) -> None:
    check(result, 1)
