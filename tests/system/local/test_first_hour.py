"""What a newcomer meets in the first hour: an objective that fails, and a scheduler that does not work."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ...support.local import Here

pytestmark = pytest.mark.real

NO_CONTROLLER = "Batch job submission failed: Unable to contact slurm controller (connect failure)"

OBJECTIVE = """
import missing_package
def objective(x):
    return missing_package.train(x)
"""

STUDY = "direction: maximize\nspace: {x: {float: [0.0, 1.0]}}\nmetrics: [accuracy]\nbudget: {trials: 40}\n"


def test_an_objective_that_cannot_be_imported_says_so_at_once_and_ends_the_campaign(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.study("needy", OBJECTIVE, STUDY)
    ended = here.run("run", "needy.yaml", "--set", "pools.local.workers_per_node=1", code=1)
    reason = "the objective cannot be imported: ModuleNotFoundError: No module named 'missing_package'"
    said = ended.stderr.splitlines()
    (first,) = [number for number, line in enumerate(said) if f"trial 0 failed: {reason}" in line]
    assert said[first + 1].strip() == "Traceback (most recent call last):"
    (stderr,) = [line.split("its stderr: ")[1] for line in said if "its stderr: " in line]
    assert Path(stderr.removesuffix(" (empty)")).is_file()
    assert f"the first 3 trials could not be started, and no other could: {reason}" in ended.stdout
    trials = here.trials("needy")
    assert len(trials) in (3, 4), "one may have been asked for ahead of a free worker"
    assert f"{len(trials)} could not be started" in ended.stdout
    assert "export" not in ended.stdout
    assert reason in here.run("status", "needy").stdout
    shown = here.run("trials", "needy", "--traceback", 2).stdout
    assert f'File "{here.folder}/needy.py", line 2, in <module>' in shown


def test_a_scheduler_without_a_controller_is_given_up_and_the_study_has_stopped(tmp_path: Path) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("sbatch", "squeue", "scancel"):
        (commands / name).write_text(f'#!/bin/sh\necho "{name}: error: {NO_CONTROLLER}" >&2\nexit 1\n')
        (commands / name).chmod(0o755)
    here = Here(tmp_path / "here", PATH=f"{commands}:{os.environ['PATH']}")
    here.study("gone", "def objective(x):\n    return x\n", STUDY)
    here.write("lab.yaml", "scheduler: slurm\npatience: 3s\npools: {cpu: {walltime: 1h, workers_per_node: 1}}\n")
    ended = here.run("run", "gone.yaml", "--site", "lab.yaml", code=3)
    words = f"the scheduler has not answered for 3s (patience in the site file): sbatch: error: {NO_CONTROLLER}"
    assert words in ended.stdout
    assert ended.stdout.splitlines()[1].startswith("stopped  site lab, pool cpu: ")
    assert "it is asked again until " in ended.stderr
    status = here.run("status", "gone").stdout
    assert "stopped at " in status
    assert words in status
    assert here.run("status").stdout.splitlines()[1].split()[:2] == ["gone", "stopped"]
    (campaign,) = json.loads(here.run("status", "gone", "--json").stdout)["campaigns"]
    assert (campaign["state"], campaign["code"]) == ("ended", 3)
