"""What an attempt has reported is never lost, whoever is killed: the next attempt tells it before its own reports."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from pilotune.pipeline.trial.files import TrialFiles
from pilotune.pipeline.trial.protocol import Message, ObjectiveSpec, Report
from pilotune.pipeline.trial.report_log import ReportWriter, read_log
from pilotune.pipeline.worker.run_attempt import run_attempt

from ..support.local import until
from ..support.trial_driver import Driver, go_on, make_spec

WORKER = """
import json, sys
from pilotune.pipeline.worker.run_attempt import run_attempt
run_attempt(json.load(sys.stdin))
"""

OBJECTIVE = """
    import os, signal, time

    def objective(trial):
        first = 4 if trial.attempt > 1 else 1
        for step in range(first, first + 3 if trial.attempt == 1 else first + 1):
            trial.report(step / 10, step=step)
        if trial.attempt == 1:
            time.sleep(60)
        return 0.5

    def killed(trial):
        trial.report(0.1, step=1)
        os.kill(os.getpid(), signal.SIGKILL)
"""

COMMAND = """
first=1; last=3
if [ {attempt} -gt 1 ]; then first=4; last=4; fi
for step in $(seq $first $last); do echo "{{\\"step\\": $step, \\"value\\": 0.$step}}" >> {reports_file}; done
if [ {attempt} -eq 1 ]; then sleep 60; fi
"""


def silent(message: Message) -> Message | None:
    """A driver that is about to die: it hears nothing more."""
    return None if isinstance(message, Report) else go_on(message)


def heard(driver: Driver) -> list[tuple[float, float]]:
    return [(step, value) for report in driver.of(Report) for step, value in report.reports]


def pairs(files: TrialFiles, attempt: int) -> list[list[float]]:
    log = read_log(files, attempt)
    return log.pairs if log else []


@pytest.mark.parametrize("kind", ["isolated", "inline", "command"])
def test_a_killed_worker_loses_no_report_and_the_next_attempt_tells_them_first(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text(textwrap.dedent(OBJECTIVE))
    python = ObjectiveSpec(file=str(path), function="objective")
    objective = ObjectiveSpec(command=COMMAND, shell=True) if kind == "command" else python
    files = TrialFiles(tmp_path / "trials" / "7")
    fields: dict[str, Any] = {"isolate": kind != "inline"}
    dying = Driver(tmp_path, silent)
    first = subprocess.Popen([sys.executable, "-c", WORKER], stdin=subprocess.PIPE, text=True)
    try:
        assert first.stdin
        first.stdin.write(json.dumps(make_spec(tmp_path, objective, channel=dying.address, **fields)))
        first.stdin.close()
        until(lambda: len(pairs(files, 1)) == 3, "all reports are in the log, though the driver answers none")
    finally:
        first.kill()
        first.wait()
        dying.close()

    driver = Driver(tmp_path)
    try:
        # The study has the first of the three.
        spec = make_spec(
            tmp_path, objective, attempt=2, token="7.2.c", channel=driver.address, reported=[[1, 1]], **fields
        )
        outcome = run_attempt(spec)
        # What is reported at the very end may come with the outcome only.
        until(lambda: len(heard(driver)) >= 2, "what the first attempt reported is told")
    finally:
        driver.close()
    assert outcome["kind"] == "complete", outcome
    told = heard(driver)
    assert told == [(2, 0.2), (3, 0.3), (4, 0.4)][: len(told)]
    assert outcome["reports"] == [[2, 0.2], [3, 0.3], [4, 0.4]]
    assert pairs(files, 2) == [[1, 0.1], [2, 0.2], [3, 0.3], [4, 0.4]]


def test_a_trial_that_kills_its_own_process_has_written_its_report_before(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text(textwrap.dedent(OBJECTIVE))
    outcome = run_attempt(make_spec(tmp_path, ObjectiveSpec(file=str(path), function="killed")))
    assert (outcome["failure"], outcome["reports"]) == ("signal", [[1, 0.1]])
    assert pairs(TrialFiles(tmp_path / "trials" / "7"), 1) == [[1, 0.1]]


def test_a_result_that_is_taken_over_brings_what_no_driver_heard(tmp_path: Path) -> None:
    """Attempt 1 was given up, and ended before attempt 2 began; its outcome lacks what attempt 2 is to tell."""
    files = TrialFiles(tmp_path / "trials" / "7")
    path = tmp_path / "train.py"
    path.write_text("def objective(trial):\n    trial.report(0.2, step=2)\n    return 0.5\n")
    objective = ObjectiveSpec(file=str(path), function="objective")
    files.directory.mkdir(parents=True)
    earlier = ReportWriter(files, 1)
    earlier.append(1, 0.1)
    run_attempt(make_spec(tmp_path, objective, attempt=2, token="7.2.c", reported=[[1, 1]], isolate=False))
    outcome = run_attempt(make_spec(tmp_path, objective, attempt=3, token="7.3.c", isolate=False))
    assert "attempt 2 had ended when attempt 3 began" in outcome["reason"]
    assert outcome["reports"] == [[1, 0.1], [2, 0.2]]
