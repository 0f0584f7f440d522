"""Campaigns that only Cobalt can be tested with: its shortest walltime, and jobs that their owner holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from ...support.campaigns import Result, campaign
from ...support.local import until
from .lab import CLUSTER, CRAY, Lab

pytestmark = [pytest.mark.real, pytest.mark.heavy]


def too_short(folder: Path, lab: Lab) -> Result:
    with lab.login(folder, {"walltime": "1m", "launcher": "single"}) as user, user.start({}) as process:
        return user.finish(process)


@pytest.mark.parametrize("lab", [CLUSTER], ids=["cobalt-cluster"])
@campaign(too_short)
def test_a_walltime_that_a_cluster_finds_too_short_is_reported_in_cobalts_words(result: Result) -> None:
    assert result.code == 3
    assert "'Walltime less than minimum'" in result.out


def held(folder: Path, lab: Lab) -> tuple[str, Result]:
    """The block is held in the queue, and released after a while."""
    with lab.login(folder, queue_wait=5.0) as user, user.start({"epochs": 3}) as process:
        until(lambda: user.machine.jobs(), "the block is in the queue")
        job = user.machine.jobs()[0].number
        user.machine.hold(job)

        def reason() -> str:
            blocks = user.here.status("epochs").get("blocks", [])
            return next((block["reason"] for block in blocks if block["reason"]), "")

        shown = until(reason, "the status says why the block waits")
        user.machine.hold(job, "")
        return shown, user.finish(process)


@pytest.mark.parametrize("lab", [CRAY], ids=["cobalt-cray"])
@campaign(held)
def test_a_held_block_says_so_and_runs_once_it_is_released(result: tuple[str, Result]) -> None:
    reason, ended = result
    assert reason == "user_hold: held by its owner; qrls releases it"
    assert ended.code == 0, ended.out + ended.err
    assert len(ended.jobs) == 1
