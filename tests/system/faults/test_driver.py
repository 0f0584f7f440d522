"""The driver is killed again and again, stopped for long, or dies with everything else; its study goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from ...support.campaigns import LONG, Case, campaign, side_by_side
from ...support.postgres import Server
from .cases import run
from .experiment import Result

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, postgres_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[Case, Future[Any]]]:
    with side_by_side(request, tmp_path_factory.mktemp("driver"), 4, postgres_server) as cases:
        yield cases


@pytest.fixture
def seen(request: pytest.FixtureRequest, running: Mapping[Case, Future[Any]]) -> Any:
    """What the test's study came to."""
    return running[request.function.case].result(4 * LONG)


def killed_on_sqlite(folder: Path, server: Server) -> Result:
    return run("driver killed", folder, times=6)


def killed_on_postgresql(folder: Path, server: Server) -> Result:
    return run("driver killed", folder, times=4, server=server)


def everything(folder: Path, server: Server) -> Result:
    return run("everything killed", folder, times=1)


def stopped(folder: Path, server: Server) -> Result:
    """Longer than workers wait for it: half a minute until the connection counts as down, and 3 s."""
    return run("driver stopped", folder, lasts=36.0, environment={"PILOTUNE_DRIVER_TIMEOUT": "3"})


def taken_for_dead(folder: Path, server: Server) -> Result:
    return run("driver stopped, and taken for dead", folder, server=server)


def check(seen: Result, injected: int) -> None:
    assert seen.findings.all == []
    assert len(seen.injected) == injected
    assert {trial.state for trial in seen.trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert seen.verified["outcomes"]["written"] >= len(seen.trials)


@campaign(killed_on_sqlite)
def test_a_driver_that_is_killed_again_and_again_loses_and_doubles_nothing_on_sqlite(seen: Result) -> None:
    check(seen, 6)


@pytest.mark.postgres
@campaign(killed_on_postgresql)
def test_a_driver_that_is_killed_again_and_again_loses_and_doubles_nothing_on_postgresql(seen: Result) -> None:
    check(seen, 4)


@campaign(everything)
def test_a_study_goes_on_after_all_its_processes_died_at_once(seen: Result) -> None:
    check(seen, 1)
    assert "taking up" in seen.log


@campaign(stopped)
def test_a_driver_that_was_stopped_goes_on_with_what_its_workers_did_meanwhile(seen: Result) -> None:
    check(seen, 1)


@pytest.mark.postgres
@campaign(taken_for_dead)
def test_a_driver_that_was_taken_for_dead_ends_and_changes_nothing_more(seen: Result) -> None:
    check(seen, 1)
