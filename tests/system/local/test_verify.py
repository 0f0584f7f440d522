"""``pilotune verify`` while a real campaign runs, after its driver was killed, and after it was resumed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from ...support.local import Here, begun, ended, patient, until

pytestmark = pytest.mark.real


def fates(found: dict[str, Any]) -> dict[str, int]:
    return {fate: count for fate, count in found["outcomes"].items() if count}


def test_a_study_whose_driver_is_killed_is_accounted_for_at_each_moment(tmp_path: Path) -> None:
    here = Here(tmp_path, PILOTUNE_DRIVER_TIMEOUT="3")
    patient(here, "audited", ("quick", "silent", "silent", "quick"))
    with ended(here.start("run", "audited.yaml", "--set", "pools.local.workers_per_node=2")) as process:
        status = here.await_status("audited", lambda s: s["running"] == 2 and s["complete"] == 1, "two trials run")
        until(lambda: len(begun(here)) == 3, "both have begun")
        working = here.json("verify", "audited")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert (working["findings"], fates(working)) == ([], {"written": 1, "kept": 1})
    assert working["states"]["running"] in (2, 3), "the last one may be asked for ahead of a free worker"

    here.write("go", "")
    trials = Path(status["run_dir"]) / "trials"
    until(lambda: len(list(trials.glob("[12]/outcome-1.json"))) == 2, "the workers have written both outcomes")
    dead = here.json("verify", "audited")
    campaign = Path(status["run_dir"]).name
    assert dead["ok"]
    left = f"which campaign {campaign} left"
    first = [
        [f"pilotune resume audited continues trials 1, 2 and 3, {left}"],
        [
            f"pilotune resume audited continues trials 1 and 2, {left}",
            "pilotune resume audited starts trial 3",
        ],
    ]
    *what, driver = [each["what"].partition(" (process")[0] for each in dead["findings"]]
    assert what in first
    assert driver == f"the driver of campaign {campaign}"
    assert fates(dead) == {"written": 3, "kept": 1, "waiting": 2}

    here.run("resume", "audited")
    last = here.json("verify", "audited")
    assert (last["ok"], last["findings"], last["states"]["complete"]) == (True, [], 4)
    assert fates(last) == {"written": 4, "kept": 4}
