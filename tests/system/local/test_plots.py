"""Plots of a study whose trials run: they are shown up to now, and as interrupted once their driver is dead."""

from __future__ import annotations

import csv
import io
import os
import signal
from pathlib import Path

import pytest

from ...support.local import Here, ended, kill_processes, patient, processes, until

pytestmark = pytest.mark.real


def timeline(here: Here) -> dict[int, dict[str, str]]:
    """The numbers of the timeline, by trial."""
    text = here.run("export", "plots", "--plot", "timeline").stdout
    return {int(row["trial"]): row for row in csv.DictReader(io.StringIO(text))}


def test_the_timeline_has_running_and_interrupted_trials(tmp_path: Path) -> None:
    here = Here(tmp_path)
    patient(here, "plots", ["quick", "reports", "silent", "quick"])
    with ended(here.start("run", "plots.yaml", "--set", "pools.local.workers_per_node=2")) as process:
        status = here.await_status("plots", lambda s: s["running"] == 2 and s["complete"] == 1, "two trials run")
        found = timeline(here)
        picture = here.folder / "timeline.svg"
        here.run("plot", "plots", "timeline", "-o", str(picture))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert [found[number]["how"] for number in range(3)] == ["complete", "running", "running"]
    assert [bool(found[number]["ended"]) for number in range(3)] == [True, False, False]
    began = {each["number"]: (each["worker"], each["block"]) for each in status["running_trials"]}
    assert {number: (found[number]["worker"], found[number]["block"]) for number in (1, 2)} == began
    assert picture.stat().st_size > 0
    until(lambda: timeline(here)[1]["how"] == "interrupted", "the driver counts as dead")
    kill_processes(here)
    until(lambda: not processes(here), "all processes have ended")
