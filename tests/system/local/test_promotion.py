"""Trials that pause at rungs, on real workers: they go on later in another block, and compute no epoch twice."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from optuna.trial import TrialState

from pilotune.pipeline.attributes import details_of

from ...support.local import NOTE, Here, ended, processes, until

pytestmark = pytest.mark.real

TRIALS = 9
EPOCHS = (
    NOTE
    + """
import time

def objective(trial):
    saved = trial.checkpoint_dir / "epoch"
    first = int(saved.read_text()) + 1 if saved.exists() else 1
    for epoch in range(first, 10):
        while epoch > 3 and not (STUDY / "go").exists():
            time.sleep(0.05)
            if trial.should_yield():
                import pilotune
                raise pilotune.TrialYield
        note(trial.number, trial.attempt, epoch, os.getppid())
        part = saved.with_name(f"{os.getpid()}.part")
        part.write_text(str(epoch))
        part.replace(saved)
        trial.report(trial.params["n"] + 1.0 / epoch, step=epoch)
    return float(trial.params["n"])
"""
)
"""Notes and saves each epoch; those after the last rung wait for the file ``go``."""

STUDY = f"""
direction: minimize
space: {{n: {{int: [0, 99]}}}}
sampler: random
pruner: {{name: successive_halving, mode: promote, max_resource: 9, reduction_factor: 3}}
start_from: {{enqueue: [{", ".join(f"{{n: {n}}}" for n in range(TRIALS))}]}}
budget: {{trials: {TRIALS}}}
"""
TWO = ("--set", "pools.local.workers_per_node=2")


class Epoch(NamedTuple):
    number: int
    attempt: int
    epoch: int
    worker: int


def computed(here: Here) -> list[Epoch]:
    return [Epoch(*map(int, line.split(":"))) for line in here.lines("notes")]


def check_the_end(here: Here) -> None:
    """Trial 0 is the best at each rung: of nine trials three are promoted, then one."""
    trials, epochs = here.optuna("rungs").trials, computed(here)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE, *[TrialState.PRUNED] * (TRIALS - 1)]
    assert Counter(details_of(trial).get("rung") for trial in trials) == {None: 1, 1: 6, 3: 2}
    assert [trial.user_attrs["pilotune:paused"] for trial in trials] == [None] * TRIALS
    assert max(Counter((each.number, each.epoch) for each in epochs).values()) == 1, "no epoch is computed twice"
    assert len(epochs) == 9 + 2 * 3 + 6
    assert [trial.user_attrs["pilotune:attempts"] for trial in trials[3:]] == [1] * (TRIALS - 3)
    # An attempt that reaches a rung last is among the best there at once, and continues without a pause.
    begun, attempts = {each.attempt for each in epochs if each.number == 0}, trials[0].user_attrs["pilotune:attempts"]
    assert {1, attempts} <= begun
    assert attempts <= 4
    assert len(begun) >= attempts - 1, "only the attempt that waited when its campaign ended computed nothing"
    assert "No problems found." in here.run("verify", "rungs").stdout


@pytest.mark.parametrize("how", [pytest.param("is stopped", marks=pytest.mark.exhaustive), "is killed"])
def test_promoted_trials_go_on_from_their_checkpoints_after_the_campaign(how: str, tmp_path: Path) -> None:
    here = Here(tmp_path, PILOTUNE_DRIVER_TIMEOUT="3")
    here.study("rungs", EPOCHS, STUDY)
    with ended(here.start("run", "rungs.yaml", *TWO)) as process:
        status = here.await_status(
            "rungs", lambda s: s["paused"] == TRIALS - 1 and s["running"] == 1, "one trial is left"
        )
        assert (status["total"], status["complete"]) == (TRIALS, 0)
        if how == "is killed":
            os.kill(process.pid, signal.SIGKILL)
        else:
            here.run("stop", "rungs", "--yield")
        process.communicate()
    until(lambda: not processes(here), "the workers have ended")
    before = computed(here)
    running = here.optuna("rungs").trials
    assert {trial.state for trial in running} == {TrialState.RUNNING}
    assert sorted(trial.user_attrs.get("pilotune:paused") or 0 for trial in running) == [0, *[1] * 6, 3, 3]
    assert f"{TRIALS - 1} paused" in here.run("status", "rungs").stdout
    assert "No problems found." in here.run("verify", "rungs").stdout

    here.write("go", "")
    said = here.run("resume", "rungs").stdout
    assert f"{TRIALS}: 1 complete, {TRIALS - 1} pruned" in said
    check_the_end(here)
    after = computed(here)[len(before) :]
    assert {each.number for each in after} == {0}, "what was paused was not run again"
    assert not {each.worker for each in after} & {each.worker for each in before}, "in another block"


COMMAND = """
import json, os, signal, sys, time
from pathlib import Path

study, n = Path(__file__).parent, int(sys.argv[1])
saved = Path(os.environ["PILOTUNE_CHECKPOINT_DIR"]) / "epoch"
first = int(saved.read_text()) + 1 if saved.exists() else 1
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(True))
for epoch in range(first, 10):
    time.sleep(0.6)
    while epoch == 5 and os.environ["PILOTUNE_ATTEMPT"] == "1" and not told:
        time.sleep(0.1)
    with open(study / "notes", "a") as notes:
        notes.write(f"{n}:{os.environ['PILOTUNE_ATTEMPT']}:{epoch}:0\\n")
    with open(os.environ["PILOTUNE_REPORTS"], "a") as reports:
        reports.write(json.dumps({"step": epoch, "value": n + 1 / epoch}) + "\\n")
    if told:
        saved.write_text(str(epoch))
        sys.exit(0)
with open(os.environ["PILOTUNE_REPORTS"], "a") as reports:
    reports.write(json.dumps({"value": n}) + "\\n")
"""
"""Each first attempt waits to be paused, however late the verdict comes; the third trial starts after such a pause."""


def test_a_command_that_saves_at_sigterm_goes_on_where_it_was(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.write("train.py", COMMAND)
    runs = f"command: {{run: '{sys.executable} {{study_dir}}/train.py {{n}}', reports: file}}"
    pruner = "pruner: {name: asha, mode: promote, min_resource: 2, max_resource: 9, reduction_factor: 3}"
    points = "start_from: {enqueue: [{n: 0}, {n: 1}, {n: 2}]}"
    here.write(
        "rungs.yaml",
        f"name: rungs\n{runs}\ndirection: minimize\nspace: {{n: {{int: [0, 99]}}}}\nsampler: random\n"
        f"{pruner}\n{points}\nbudget: {{trials: 3}}\n",
    )
    assert "3: 1 complete, 2 pruned" in here.run("run", "rungs.yaml", *TWO).stdout
    epochs, trials = computed(here), here.optuna("rungs").trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.PRUNED]
    assert sorted(each.epoch for each in epochs if each.number == 0) == list(range(1, 10)), "none is computed twice"
    assert max(each.attempt for each in epochs if each.number == 0) >= 2
    assert max(each.epoch for each in epochs if each.number > 0) < 9
    assert sorted(trials[0].intermediate_values) == list(range(1, 10))
    assert "No problems found." in here.run("verify", "rungs").stdout
