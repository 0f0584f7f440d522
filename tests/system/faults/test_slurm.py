"""Faults of a real Slurm under studies whose blocks are its jobs; they run side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from ...support.campaigns import LONG, Case, campaign, side_by_side
from ...support.slurm import Lab
from . import cases_slurm  # noqa: F401 - registers its cases
from .cases import run
from .experiment import Result

pytestmark = [pytest.mark.real, pytest.mark.heavy]


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, slurm_lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[Case, Future[Any]]]:
    with side_by_side(request, tmp_path_factory.mktemp("faults"), 5, slurm_lab) as cases:
        yield cases


@pytest.fixture
def result(request: pytest.FixtureRequest, running: Mapping[Case, Future[Any]]) -> Any:
    """The result of the test's study."""
    return running[request.function.case].result(3 * LONG)


def cut_off(folder: Path, lab: Lab) -> Result:
    return run("node cut off", folder, lab=lab, lasts=45.0)


def driver_killed(folder: Path, lab: Lab) -> Result:
    return run("driver killed", folder, times=3, lab=lab)


def step_daemon_killed(folder: Path, lab: Lab) -> Result:
    return run("slurmstepd killed", folder, lab=lab)


def cancelled(folder: Path, lab: Lab) -> Result:
    return run("all blocks ended by scancel", folder, lab=lab)


def manager_killed(folder: Path, lab: Lab) -> Result:
    return run("manager killed", folder, lab=lab)


def node_down(folder: Path, lab: Lab) -> Result:
    return run("node down", folder, lab=lab)


def check(result: Result, injected: int = 1) -> None:
    assert result.findings.all == []
    assert len(result.injected) == injected
    assert {trial.state for trial in result.trials} <= {TrialState.COMPLETE, TrialState.PRUNED}


@campaign(cut_off)
def test_trials_of_a_node_without_network_go_on_elsewhere_and_count_once(result: Result) -> None:
    check(result)


@pytest.mark.exhaustive
@campaign(driver_killed)
def test_a_driver_that_is_killed_again_and_again_loses_and_doubles_nothing(result: Result) -> None:
    check(result, 3)


@campaign(step_daemon_killed)
def test_a_job_whose_daemon_on_the_node_dies_costs_no_result(result: Result) -> None:
    check(result)


@pytest.mark.exhaustive
@campaign(cancelled)
def test_a_study_goes_on_after_all_its_blocks_were_cancelled_at_once(result: Result) -> None:
    check(result)
    assert result.log.count("ended: cancelled (CANCELLED") >= 2


@pytest.mark.exhaustive
@campaign(manager_killed)
def test_a_job_whose_worker_pool_dies_is_replaced(result: Result) -> None:
    check(result)


@campaign(node_down)
def test_a_node_that_goes_down_costs_no_result(result: Result) -> None:
    check(result)
    assert "ended: node failure (NODE_FAIL: NodeDown)" in result.log
