"""The driver is killed while trials run on real workers: the next campaign goes on from there, and loses nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from optuna.trial import TrialState

from ...support.local import Here, begun, done, ended, patient, processes, until

pytestmark = pytest.mark.real

TWO = ("--set", "pools.local.workers_per_node=2")


def kill_the_driver(here: Here, name: str, *modes: str) -> Path:
    """Run until one trial is complete and two run, then kill -9 the driver; return the run directory."""
    patient(here, name, modes)
    with ended(here.start("run", f"{name}.yaml", *TWO)) as process:
        status = here.await_status(name, lambda s: s["running"] == 2 and s["complete"] == 1, "two trials run")
        until(lambda: len(begun(here)) == 3, "both have begun")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    return Path(status["run_dir"])


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Here:
    """A campaign whose driver was killed before the tests, since its workers need a while to notice."""
    here = Here(tmp_path_factory.mktemp("killed"), PILOTUNE_DRIVER_TIMEOUT="3")
    kill_the_driver(here, "killed", "quick", "reports", "reports", "quick")
    return here


@pytest.mark.usefixtures("killed")
def test_what_ended_while_there_was_no_driver_is_collected_and_not_run_again(tmp_path: Path) -> None:
    here = Here(tmp_path)
    run = kill_the_driver(here, "alone", "quick", "silent", "silent", "quick")
    assert [trial.state for trial in here.optuna("alone").trials[1:3]] == [TrialState.RUNNING] * 2
    here.write("go", "")
    outcomes = [run / "trials" / str(number) / "outcome-1.json" for number in (1, 2)]
    until(lambda: all(path.exists() for path in outcomes), "the workers have written both outcomes")

    # At once, while workers of the dead campaign are still there.
    assert "4: 4 complete" in here.run("run", "alone.yaml").stdout
    trials = here.optuna("alone").trials
    assert [trial.value for trial in trials] == [0, 1, 2, 3]
    assert [trial.user_attrs["pilotune:attempts"] for trial in trials[:3]] == [1, 1, 1]
    assert sorted(number for number, _ in done(here)) == [0, 1, 2, 3]


def test_running_trials_go_on_as_new_attempts_from_their_checkpoints_and_no_process_is_left(killed: Here) -> None:
    here = killed
    assert "died at" in here.run("status", "killed").stdout
    first = {trial.number: dict(trial.intermediate_values) for trial in here.optuna("killed").trials}
    until(lambda: not processes(here), "workers have noticed that their driver is gone, and ended")

    here.write("go", "")
    assert "4: 4 complete" in here.run("resume", "killed").stdout
    again = {each.number: each for each in begun(here) if each.attempt == 2}
    assert set(again) >= {1, 2}
    assert [number for number, _ in sorted(done(here))] == [0, 1, 2, 3]
    for number in (1, 2):
        assert again[number].first > 1
        # Reports that the dead driver had recorded are unchanged; those on the way are there too.
        steps = here.optuna("killed").trials[number].intermediate_values
        assert first[number].items() <= steps.items()
