"""Population-based training on real workers: no member is lost to kills, and no copy shares a file with its parent."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from pilotune.pipeline.attributes import PARENT, STEP

from ...support.local import NOTE, Here, ended, processes, until

pytestmark = pytest.mark.real

SIZE, EPOCHS = 4, 8
TRAINING = (
    NOTE
    + """
import json, time

def objective(trial):
    saved = trial.checkpoint_dir / "state.json"
    if not saved.exists():
        saved.write_text(json.dumps({"loss": 1.0, "path": []}).ljust(4000))
    state = json.loads(saved.read_text())
    for epoch in range(len(state["path"]) + 1, 9):
        while epoch > 4 and not (STUDY / "go").exists():
            (STUDY / f"waits-{trial.number}").touch()
            time.sleep(0.05)
            if trial.should_yield():
                import pilotune
                raise pilotune.TrialYield
        state["loss"] *= 1.0 - 0.3 * trial.params["rate"]
        state["path"].append([trial.number, trial.params["rate"]])
        with saved.open("r+") as file:  # in its place: a shared file would change for all
            file.write(json.dumps(state).ljust(4000))
        trial.report(state["loss"], step=epoch)
    trial.set_user_attr("path", state["path"])
    return state["loss"]
"""
)
"""Each epoch is noted in the checkpoint, with the trial that computed it; those after the fourth wait for ``go``."""

STUDY = f"""
direction: minimize
space: {{rate: {{float: [0.01, 1.0]}}}}
sampler: {{name: pbt, population: {SIZE}, interval: 2, max_resource: {EPOCHS}, seed: 1}}
"""
TWO = ("--set", "pools.local.workers_per_node=2")


def check_the_end(here: Here) -> Any:
    """Every place of the population was trained for eight epochs, by the trials that the record names."""
    trials = here.optuna("training").trials
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(complete) == SIZE
    assert {trial.user_attrs["pilotune:exit"] for trial in trials} <= {"complete", "replaced"}
    for trial in complete:
        path, at, wanted = trial.user_attrs["path"], trial, [trial.number] * EPOCHS
        while PARENT in at.system_attrs:
            parent = at.system_attrs[PARENT]
            wanted[: at.system_attrs[STEP]] = [parent] * at.system_attrs[STEP]
            at = trials[parent]
        assert [number for number, _ in path] == wanted
        assert all(rate == trials[number].params["rate"] for number, rate in path)
    assert "No problems found." in here.run("verify", "training").stdout
    return min(complete, key=lambda trial: trial.value)


def test_members_go_on_after_the_driver_is_killed_and_the_best_is_run_again(tmp_path: Path) -> None:
    here = Here(tmp_path, PILOTUNE_DRIVER_TIMEOUT="3")
    here.study("training", TRAINING, STUDY)
    with ended(here.start("run", "training.yaml", *TWO)) as process:
        # Where verdicts come late, members train through their pauses, and none is replaced before they all wait.
        until(lambda: here.status("training").get("pruned") or len(list(here.folder.glob("waits-*"))) > 1, "all wait")
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    until(lambda: not processes(here), "the workers have ended")
    here.write("go", "")
    assert "4 members were trained to the end" in here.run("resume", "training").stdout
    best = check_the_end(here)

    here.run("export", "training", "--schedule", "--trial", str(best.number), "-o", "schedule.yaml")
    again = here.json("try", "training.yaml", "--params", "schedule.yaml")
    assert (again["state"], again["values"]) == ("complete", {"value": best.value})
    assert [step for step, _ in again["reports"]] == list(range(1, EPOCHS + 1))


def test_a_member_without_a_checkpoint_ends_the_campaign_with_a_sentence(tmp_path: Path) -> None:
    here = Here(tmp_path)
    objective = "def objective(trial):\n    'No checkpoint.'\n    trial.report(1.0, step=2)\n    return 1.0\n"
    here.study("training", objective, STUDY)
    said = here.run("run", "training.yaml", code=1).stdout
    assert "population-based training goes on from checkpoints: save into trial.checkpoint_dir" in said


COMMAND = """
import json, os, signal, sys, time
from pathlib import Path

saved = Path(os.environ["PILOTUNE_CHECKPOINT_DIR"]) / "state.json"
state = json.loads(saved.read_text()) if saved.exists() else {"loss": 1.0, "path": []}
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(True))
for epoch in range(len(state["path"]) + 1, 9):
    state["loss"] *= 1.0 - 0.3 * float(sys.argv[1])
    state["path"].append(int(os.environ["PILOTUNE_TRIAL"]))
    saved.write_text(json.dumps(state))
    with open(os.environ["PILOTUNE_REPORTS"], "a") as reports:
        reports.write(json.dumps({"step": epoch, "value": state["loss"]}) + "\\n")
    time.sleep(0.3)
    if told:
        sys.exit(0)
with open(os.environ["PILOTUNE_REPORTS"], "a") as reports:
    reports.write(json.dumps({"value": state["loss"]}) + "\\n")
"""


def test_a_command_may_be_a_member(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.write("train.py", COMMAND)
    here.write("training.yaml", f"name: training\ncommand: 'python3 {{study_dir}}/train.py {{rate}}'\n{STUDY}")
    here.run("run", "training.yaml", "--set", "pools.local.workers_per_node=4")
    trials = here.optuna("training").trials
    assert sum(trial.state == TrialState.COMPLETE for trial in trials) == SIZE
    copies = [trial for trial in trials if STEP in trial.system_attrs]
    assert copies
    for trial in copies:
        assert min(trial.intermediate_values, default=EPOCHS) > trial.system_attrs[STEP] - 1
    here.run("export", "training", "--schedule", "--trial", copies[0].number, "-o", "schedule.json")
    assert len(json.loads((here.folder / "schedule.json").read_text())["schedule"]) >= 1
