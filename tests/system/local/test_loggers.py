"""Loggers of real campaigns: each trial is written once, whatever dies, and a logger that fails costs a warning."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ...support.local import Here, ended, kill_processes, processes, until

pytestmark = pytest.mark.real


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    here = Here(tmp_path / "user")
    yield here
    kill_processes(here)


REPORTS = """
import time
from pathlib import Path

HERE = Path(__file__).parent

def objective(trial):
    saved = trial.checkpoint_dir / "step"
    for step in range(int(saved.read_text()) + 1 if saved.exists() else 1, 5):
        saved.write_text(str(step))
        trial.report(step / 2, step=step)
        while step == 2 and trial.number == 1 and not (HERE / "go").exists():
            time.sleep(0.05)
    return 7.0
"""

STUDY = """
direction: maximize
metrics: [accuracy]
space: {x: {float: [0, 1]}}
sampler: random
budget: {trials: 3}
"""


def test_a_killed_driver_and_a_resumed_one_write_each_trial_once(here: Here) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    study = here.study("curves", REPORTS, f"{STUDY}loggers: [tensorboard]\n")
    folder = here.runs / "curves" / "loggers" / "tensorboard"
    with ended(here.start("run", study)) as driver:
        here.await_status("curves", lambda status: status["complete"] == 2 and status["running"] == 1, "one waits")
        until(lambda: (folder / "trial-1").is_dir(), "its reports are written while it runs")
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    until(lambda: not [words for words in processes(here).values() if "loggers.process" in words], "the loggers end")
    (here.folder / "go").touch()
    here.run("resume", "curves", "--quiet")
    assert sorted(each.name for each in folder.iterdir()) == ["trial-0", "trial-1", "trial-2"]
    for trial in folder.iterdir():
        run = EventAccumulator(str(trial)).Reload()
        assert [(each.step, each.value) for each in run.Scalars("reports/accuracy")] == [
            (1, 0.5),
            (2, 1),
            (3, 1.5),
            (4, 2),
        ]
        assert [each.value for each in run.Scalars("accuracy")] == [7.0]
        assert len(run.Tensors("trial")) == 1, "one end"
    here.run("delete", "curves", "--yes")
    assert not folder.exists()


def test_a_logger_that_fails_costs_one_warning_and_no_trial(here: Here) -> None:
    here.write("file", "")
    study = here.study("broken", REPORTS, f"{STUDY}loggers: [{{tensorboard: {{dir: file/below}}}}]\n")
    (here.folder / "go").touch()
    done = here.run("run", study)
    (warning,) = here.status("broken")["warnings"]
    assert "the logger tensorboard failed " in warning
    assert f"its folder {here.folder / 'file/below'} cannot be" in warning
    assert warning in done.stdout
    assert [row["state"] for row in here.trials("broken")] == ["complete"] * 3
