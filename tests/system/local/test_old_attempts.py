"""Drivers that are killed and restarted at once: attempts of both never overlap, and no process is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from ...support.local import Here, end_of, ended, processes, until

pytestmark = pytest.mark.real

TWO = ("--set", "pools.local.workers_per_node=2")

SHARED = """
import os, time
from pathlib import Path

STUDY = Path(__file__).parent

def note(path, *words):
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, (":".join(map(str, words)) + "\\n").encode())
    os.close(descriptor)

def objective(trial):
    log = trial.checkpoint_dir / "steps"
    first = len(log.read_text().split()) if log.exists() else 0
    before = {line.split(":")[1] for line in log.read_text().split()} if first else set()
    note(STUDY / "notes", trial.number, trial.attempt, first, len([p for p in before if Path("/proc", p).exists()]))
    for step in range(first, 10_000):
        if (STUDY / "go").exists():
            break
        note(log, trial.attempt, os.getpid())
        time.sleep(0.01)
    return float(trial.number)
"""
"""Appends a line for each step to a file in the checkpoint folder; never reports, so that it does not yield.

It notes ``number:attempt:steps found:processes of earlier attempts that still run``.
"""

LONELY = """
import os, signal, subprocess, sys, time
from pathlib import Path

STUDY = Path(__file__).parent
DAEMON = '''
import os, signal, time
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        time.sleep(600)
'''

def objective(trial):
    subprocess.run([sys.executable, "-c", DAEMON], check=True)
    if trial.params["mode"] == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (STUDY / f"begun-{trial.number}").touch()
    while trial.params["mode"] == "deaf" or not trial.should_yield():
        time.sleep(0.05)
    (trial.checkpoint_dir / "saved").touch()
    raise __import__("pilotune").TrialYield("saved")
"""
"""Starts daemons, and yields when asked to; a deaf trial ends only by SIGKILL."""

LONELY_STUDY = """
direction: maximize
space: {mode: {choice: [deaf, patient]}}
start_from: {enqueue: [{mode: deaf}, {mode: patient}]}
budget: {trials: 2}
"""


@pytest.fixture(scope="module")
def lonely(tmp_path_factory: pytest.TempPathFactory) -> Here:
    """A campaign whose driver was killed before the tests, and that is not resumed."""
    here = Here(tmp_path_factory.mktemp("lonely"))
    here.study("lonely", LONELY, LONELY_STUDY)
    with ended(here.start("run", "lonely.yaml", *TWO)) as process:
        until(lambda: all((here.folder / f"begun-{number}").exists() for number in (0, 1)), "both trials run")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    return here


@pytest.mark.exhaustive
@pytest.mark.usefixtures("lonely")
def test_attempts_of_a_dead_driver_and_of_the_next_never_share_a_folder(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.study(
        "shared", SHARED, "direction: maximize\nspace: {n: {int: [0, 9]}}\nsampler: random\nbudget: {trials: 2}\n"
    )
    for attempt in (1, 2):
        with ended(here.start("run", "shared.yaml", *TWO)) as process:
            until(lambda each=2 * attempt: len(here.lines("notes")) == each, f"attempt {attempt} of both has begun")
            if attempt == 2:
                place = f"process {process.pid} on {socket.gethostname()}"
                assert f"is running already ({place})" in here.run("run", "shared.yaml", code=2).stderr
                elsewhere = ("--runs", here.folder / "elsewhere", "--storage", f"sqlite:///{here.runs}/shared/study.db")
                refused = here.run("run", "shared.yaml", *elsewhere, code=2).stderr
                assert f"is being worked on by {place}, and an SQLite database takes one driver at a time" in refused
                here.write("go", "")
                assert "2: 2 complete" in end_of(process).stdout
            else:
                os.kill(process.pid, signal.SIGKILL)  # and on with the next at once
                process.wait()
    assert here.run("verify", "shared").returncode == 0

    attempts = [tuple(map(int, line.split(":"))) for line in here.lines("notes")]
    assert sorted(each[:2] for each in attempts) == [(n, k) for n in (0, 1) for k in (1, 2)]
    assert not any(alive for *_, alive in attempts), "an attempt began while an earlier one still ran"
    found = defaultdict(list)
    for number, attempt, steps, _ in attempts:
        found[number].append((attempt, steps))
    for number, trial in enumerate(here.optuna("shared").trials):
        folder = Path(trial.user_attrs["pilotune:directory"])
        assert [path.name for path in folder.glob("checkpoint-*")] == ["checkpoint-2"]
        written = [int(line.split(":")[0]) for line in (folder / "checkpoint" / "steps").read_text().split()]
        assert written == sorted(written), "an old attempt wrote beside its successor"
        assert [(attempt, sum(each < attempt for each in written)) for attempt in (1, 2)] == sorted(found[number])
    until(lambda: not processes(here), "all processes have ended")


def test_all_processes_of_a_dead_driver_end_and_its_trials_save_their_state(lonely: Here) -> None:
    until(lambda: not processes(lonely), "all processes have ended, daemons and the deaf trial too")
    (saved,) = lonely.runs.glob("lonely/*/trials/1/checkpoint/saved")
    outcome = saved.parent.parent / "outcome-1.json"
    assert '"kind": "yielded"' in outcome.read_text()
    assert "resume lonely continues trials 0 and 1" in lonely.run("verify", "lonely").stdout


def test_a_block_that_starts_after_its_driver_died_ends_at_once(lonely: Here) -> None:
    (launch,) = lonely.runs.glob("lonely/*/blocks/local.json")
    command = [sys.executable, "-m", "pilotune.providers.node.agent", str(launch), "9"]
    done = subprocess.run(command, env=lonely.environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 75
    assert "block 9 has lost its driver, whose host refuses connections, so it ends" in done.stderr
    assert not processes(lonely)
