"""One campaign on two sites at once: the tests' Slurm, and an emulated PBS."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from pilotune.pipeline.attributes import details_of

from ...support import slurm
from ...support.campaigns import LONG, records
from ...support.emulators.install import Emulated, install
from ...support.local import NOTE, Here, end_of, ended, processes, until
from .lab import NOT_ON_N4, PBS

pytestmark = [pytest.mark.real, pytest.mark.heavy]

MEET = (
    NOTE
    + """
import time

def objective(trial):
    note(os.environ["PILOTUNE_POOL"])
    trial.report(0.0, step=1)
    while len(set((STUDY / "notes").read_text().split())) < 2 or not (STUDY / "go").exists():
        time.sleep(0.1)
    return trial.params["x"]
"""
)
"""A trial waits until trials run in two pools, and for the file ``go``."""

POOL = {"walltime": "10m", "workers_per_node": 1, "cores_per_node": 1}
BOTH = ["--site", "slurm", "--site", "pbs"]


class Login(NamedTuple):
    """A login node from which both schedulers are reachable."""

    here: Here
    slurm: slurm.Lab
    pbs: Emulated

    def left(self) -> list[str]:
        """The campaigns' jobs that a scheduler still has, and processes of the user."""
        mine = {event["job"] for event in records(self.here) if event["event"] == "submitted"}
        queued = self.slurm.run("squeue", "-h", "-o", "%i").stdout.split()
        living = [job.number for job in self.pbs.jobs() if job.phase != "ended"]
        return [*(mine & set(queued)), *map(str, living), *processes(self.here).values()]


@pytest.fixture
def login(slurm_lab: slurm.Lab, tmp_path: Path) -> Iterator[Login]:
    with install(tmp_path / "pbs", "pbs", **{**PBS.machine, "nodes": 1}) as pbs:
        here = Here(tmp_path / "home", **{**slurm_lab.environment, **pbs.env})
        for name, account, pool, network in (
            ("slurm", slurm.ACCOUNTS[0], {"exclusive": False, "options": [NOT_ON_N4]}, slurm_lab.head),
            ("pbs", "", {}, "127.0.0.1"),
        ):
            site: dict[str, Any] = {"scheduler": name, "poll": "1s", "network": {"address": network}}
            site |= {"account": account} if account else {}
            here.write(f"{name}.yaml", yaml.safe_dump({**site, "pools": {"cpu": {**POOL, **pool}}}))
        text = "direction: minimize\nspace: {x: {float: [0, 1]}}\nsampler: random\nbudget: {trials: 4}\n"
        here.study("epochs", MEET, text)
        yield Login(here, slurm_lab, pbs)


def test_a_campaign_runs_on_slurm_and_pbs_at_once(login: Login) -> None:
    login.here.write("go", "")
    result = login.here.run("run", "epochs.yaml", *BOTH)
    trials = login.here.optuna("epochs").trials
    pools = Counter(details_of(trial)["pool"] for trial in trials)
    assert set(pools) == {"slurm.cpu", "pbs.cpu"}, result.stderr
    assert pools.total() == 4
    status = login.here.status("epochs")
    for part in ("blocks", "hours"):
        assert {each["pool"] for each in status[part]} == {"slurm.cpu", "pbs.cpu"}
    assert {event["scheduler"] for event in records(login.here)} == {"slurm", "pbs"}
    until(lambda: not login.left(), "nothing is left at either scheduler", LONG)


@pytest.mark.exhaustive
def test_jobs_at_both_schedulers_are_ended_after_the_driver_was_killed(login: Login) -> None:
    with ended(login.here.start("run", "epochs.yaml", *BOTH)) as process:
        until(lambda: len(set(login.here.lines("notes"))) == 2, "both sites run trials", LONG)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(LONG)
    found = login.here.json("clean", "epochs")["jobs"]
    assert {job["scheduler"] for job in found} == {"slurm", "pbs"}
    until(lambda: not login.left(), "nothing is left at either scheduler", LONG)
    login.here.write("go", "")
    resumed = end_of(login.here.start("resume", "epochs"))
    assert "4 complete" in resumed.stdout
    until(lambda: not login.left(), "nothing is left at either scheduler", LONG)
