"""A worker whose job is suspended, or which the scheduler signals together with its trial."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pilotune.pipeline.trial.files import TrialFiles
from pilotune.pipeline.trial.protocol import Limits, ObjectiveSpec
from pilotune.pipeline.worker import supervisor as supervisor_module
from pilotune.pipeline.worker.node.block import YieldTimer
from pilotune.pipeline.worker.run_attempt import run_attempt
from pilotune.pipeline.worker.supervisor import STOPPED_FOR, Supervisor

from ..support.local import until
from ..support.trial_driver import make_spec


class Trial:
    """A trial's process that runs on and on."""

    status, running, takes_answers, poll_interval, more_outputs = None, True, True, 1.0, ()
    pids, peak_memory = (), 0

    def __init__(self) -> None:
        self.terminated = False

    def terminate(self) -> None:
        self.terminated = True


@pytest.fixture
def supervised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A supervisor of a trial that may run 100 s, and its clock, ``now``."""
    spec = make_spec(tmp_path, ObjectiveSpec(command="true"), limits=Limits(timeout=100.0))
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(supervisor_module.time, "monotonic", lambda: clock.now)
    from pilotune.pipeline.trial.protocol import AttemptSpec

    attempt = AttemptSpec.from_dict(spec)
    channel: Any = SimpleNamespace(gone=lambda: False, down=lambda: False)
    process: Any = Trial()
    files = TrialFiles(Path(attempt.directory))
    clock.supervisor = Supervisor(attempt, files, channel, process, YieldTimer(attempt), lambda: False)
    clock.process = process
    return clock


def run_on(clock: Any, seconds: float, step: float = 0.5) -> None:
    until_then = clock.now + seconds
    while clock.now < until_then:
        clock.now += step
        clock.supervisor._check_limits()


def test_the_trial_s_clock_stands_still_while_its_worker_is_stopped(supervised: Any) -> None:
    run_on(supervised, 60.0)
    supervised.now += 3600.0  # nothing of the job ran for an hour
    run_on(supervised, 39.0)
    assert not supervised.process.terminated
    run_on(supervised, 5.0)
    assert supervised.process.terminated
    assert supervised.supervisor.cause == "timeout"
    assert supervised.supervisor.suspended == pytest.approx(3600.5)


def test_a_busy_node_stops_no_clock(supervised: Any) -> None:
    run_on(supervised, 110.0, step=STOPPED_FOR - 1.0)
    assert supervised.process.terminated


@pytest.fixture
def alive() -> Iterator[None]:
    """SIGTERM to this process has no effect outside of an attempt."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("alive")
@pytest.mark.parametrize("both", [True, False], ids=["to both", "to the command only"])
def test_a_command_that_the_scheduler_s_signal_reaches_first_has_yielded(tmp_path: Path, both: bool) -> None:
    pid = tmp_path / "pid"
    program = f"import os, pathlib, time; pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(600)"
    command = ObjectiveSpec(command=[sys.executable, "-c", program])

    def signalled() -> None:
        until(lambda: pid.exists() and pid.read_text(), "the command runs")
        os.kill(int(pid.read_text()), signal.SIGTERM)
        time.sleep(0.3)  # the order in which a scheduler signals a session is its own
        if both:
            os.kill(os.getpid(), signal.SIGTERM)

    scheduler = threading.Thread(target=signalled)
    scheduler.start()
    outcome = run_attempt(make_spec(tmp_path, command))
    scheduler.join()
    assert outcome["kind"] == ("yielded" if both else "failed")
    assert outcome["signalled"] == both
