"""Quarantine on a real Slurm: one of four nodes fails every trial, and one trial always kills its process."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

import pytest
from optuna.trial import TrialState

from ...support.campaigns import LONG, Result, finish, records, running_jobs, write_site
from ...support.local import Here, ended, until
from ...support.slurm import ACCOUNTS, NODES, Lab

pytestmark = [pytest.mark.real, pytest.mark.heavy]

BAD, TRIALS, PATIENT = "n3", 120, 30

OBJECTIVE = f"""
import os, signal, socket, time
from pathlib import Path

STUDY, HOST = Path(__file__).parent, socket.gethostname()

def note(trial):
    descriptor = os.open(STUDY / "notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{{trial.number}}:{{trial.attempt}}:1:{{HOST}}::cpu\\n".encode())
    os.close(descriptor)

def hosts():
    return {{line.split(":")[3] for line in (STUDY / "notes").read_text().split()}}

def objective(trial):
    note(trial)
    while len(hosts()) < {len(NODES)}:  # the campaign begins when all nodes are there
        time.sleep(0.1)
    if trial.params["n"] == 0:
        os.kill(os.getpid(), signal.SIGBUS)
    if HOST == "{BAD}":
        raise OSError("Transport endpoint is not connected: /scratch")
    begun = time.monotonic()
    while time.monotonic() < begun + (0.2 if trial.number < {PATIENT} else 2.0) and not (STUDY / "go").exists():
        time.sleep(0.1)
    return float(trial.number)
"""

STUDY = f"""
direction: maximize
space: {{n: {{int: [0, {TRIALS}]}}}}
sampler: random
start_from: {{enqueue: [{", ".join(f"{{n: {n}}}" for n in range(1, TRIALS + 1))}]}}
budget: {{trials: {TRIALS}}}
trial: {{retries: 5}}
"""


@dataclass(frozen=True)
class Seen:
    """A campaign that has ended.

    Attributes:
        result: What it came to.
        status: Its status.json while the next block was queued.
        said: What ``pilotune status`` said then.
        kept_away: Nodes that Slurm keeps that block away from.
        audit: What ``pilotune verify`` says of it.
    """

    result: Result
    status: dict[str, Any]
    said: str
    kept_away: str
    audit: dict[str, Any]


def quarantined(here: Here) -> bool:
    """A node is, and a block was submitted after that."""
    return bool(here.status("epochs").get("quarantined")) and len(running_jobs(here)) > len(NODES)


@pytest.fixture(scope="module")
def seen(slurm_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    here = Here(tmp_path_factory.mktemp("quarantine"), **slurm_lab.environment)
    pool = {"exclusive": False, "cores_per_node": 1, "options": ["#SBATCH --gres=place:1"]}
    write_site(here, "slurm", {**pool, "blocks": {"init": 4, "max": 4}}, account=ACCOUNTS[0])
    here.study("epochs", OBJECTIVE, STUDY.replace("{n: 10}", "{n: 0}"))
    with ended(here.start("run", "epochs.yaml", "--site", "lab")) as process:
        replaced = "a node is quarantined, and a block takes the place of its own"
        until(lambda: process.poll() is not None or quarantined(here), replaced, LONG)
        job = slurm_lab.job(running_jobs(here)[-1])
        status, said = here.status("epochs"), here.run("status", "epochs").stdout
        here.write("go", "")
        result = finish(here, process)
    return Seen(result, status, said, job["ExcNodeList"], here.json("verify", "epochs"))


def test_no_trial_fails_because_of_a_bad_node(seen: Seen) -> None:
    result = seen.result
    assert result.code == 0, result.out + result.err
    states = [trial.state for trial in result.trials]
    assert len(states) == TRIALS
    assert [trial.params["n"] for trial in result.trials if trial.state == TrialState.FAIL] == [0]
    assert states.count(TrialState.COMPLETE) == TRIALS - 1
    assert {trial.user_attrs["pilotune:host"] for trial in result.trials if trial.value is not None} <= {*NODES} - {BAD}


def test_it_gets_no_more_trials_when_three_have_succeeded_elsewhere(seen: Seen) -> None:
    numbers = [each.number for each in seen.result.epochs if each.host == BAD]
    assert len(set(numbers)) == len(numbers), "a trial fails there once"
    assert 3 <= len(numbers) <= 8, "those that ran there already when the third was refuted"
    assert all(seen.result.attempts(number) >= 2 for number in numbers)


def test_its_block_ends_and_the_next_one_excludes_the_node(seen: Seen) -> None:
    assert seen.kept_away == BAD
    assert f"quarantined: {BAD}" in seen.result.log
    assert len(seen.result.jobs) == len(NODES) + 1


def test_the_user_is_shown_which_node_and_why(seen: Seen) -> None:
    why = r"trials \d+, \d+ and \d+ failed there in a row and succeeded elsewhere; the last: OSError: Transport"
    (told,) = seen.status["quarantined"]
    assert (told["host"], told["pool"]) == (BAD, "cpu")
    assert re.match(why, told["reason"])
    assert 0.0 <= time.time() - told["since"] < 3600.0
    for text in (seen.said, seen.result.err, seen.result.out):
        assert re.search(rf"host {BAD} gets no more trials: {why}", text), text
    assert re.search(rf"host {BAD} is quarantined: {why}", seen.result.log)


def test_a_trial_that_kills_its_process_on_two_nodes_is_not_tried_again(seen: Seen) -> None:
    (trial,) = [trial for trial in seen.result.trials if trial.state == TrialState.FAIL]
    hosts = [each.host for each in seen.result.epochs if each.number == trial.number]
    assert len(hosts) in (2, 3), "one on the bad node may have come after its quarantine"
    assert len(set(hosts)) == len(hosts)
    reason = trial.user_attrs["pilotune:reason"]
    assert "so it is not tried again" in reason
    assert all(f"process on {host} (killed by SIGBUS" in reason for host in hosts[-2:])


def test_nothing_of_it_is_lost_or_doubled(seen: Seen) -> None:
    assert seen.audit["ok"], seen.audit["findings"]
    assert seen.audit["outcomes"]["lost"] == seen.audit["outcomes"]["doubled"] == 0
    assert [event["event"] for event in records(seen.result.here)].count("ended") == len(NODES) + 1
