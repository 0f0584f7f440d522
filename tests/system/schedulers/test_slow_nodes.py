"""Placement on a real Slurm where one pool's blocks get a tenth of a core: trials that compute go to the other pool."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.trial import FrozenTrial

from pilotune.pipeline.attributes import details_of

from ...support import slurm
from ...support.campaigns import LONG, campaign
from ...support.local import Here, ended
from ...support.slow_cpu import Unavailable, slow_cpu
from .lab import NOT_ON_N4, SLURM, SlurmLab

pytestmark = [pytest.mark.real, pytest.mark.heavy, pytest.mark.parametrize("lab", [SLURM], ids=["slurm"])]

WORKS = """
import time

def objective(trial):
    if trial.params["model"] == "waits":
        time.sleep(0.8)
    while trial.params["model"] == "computes" and time.process_time() < 0.3:
        pass
    return trial.params["x"]
"""
WORK = ("waits", "computes")

SETUP = """
case $SLURM_JOB_NAME in *-slow-*) echo $$ > "{slow}" ;; esac
renice -n -10 -p $$ || true
"""
"""Only the quota is to make trials slow, not the other work of this machine; some containers forbid it."""

PART = 0.1
TRIALS, LEARNED = 80, 50
"""Trials, and those from which on costs are known: 20 of them wait while others are tried in both pools."""


def ran(folder: Path, lab: SlurmLab, policy: str) -> Here | str:
    """A campaign on a slow and a fast pool; why there is none, where nodes cannot be made slow."""
    machine = lab.slurm
    assert machine is not None
    here = Here(folder, **machine.environment)
    pool = {
        "queue": "batch",
        "walltime": "10m",
        "exclusive": False,
        "cores_per_node": 1,
        "workers_per_node": 1,
        "options": [NOT_ON_N4],
    }
    try:
        with slow_cpu(PART) as slow:
            site = {
                "name": "lab",
                "scheduler": "slurm",
                "account": slurm.ACCOUNTS[0],
                "poll": "1s",
                "runs": str(here.runs),
                "setup": SETUP.format(slow=slow),
                "pools": {"slow": pool, "fast": pool},
            }
            here.write("lab.yaml", yaml.safe_dump(site, sort_keys=False))
            here.study(
                "mixed",
                WORKS,
                f"direction: minimize\nspace: {{x: {{float: [0, 1]}}, model: {{choice: {json.dumps(WORK)}}}}}\n"
                f"sampler: {{name: random, seed: 0}}\nbudget: {{trials: {TRIALS}}}\nplacement: {{policy: {policy}}}\n",
            )
            with ended(here.start("run", "mixed.yaml", "--site", "lab")) as process:
                out, err = process.communicate(timeout=2 * LONG)
                assert process.returncode == 0, out + err
    except Unavailable as reason:
        return str(reason)
    return here


def learned(folder: Path, lab: SlurmLab) -> Here | str:
    return ran(folder, lab, "learned")


def first_come(folder: Path, lab: SlurmLab) -> Here | str:
    return ran(folder, lab, "fifo")


def trials_of(result: Here | str) -> list[FrozenTrial]:
    if isinstance(result, str):
        if os.environ.get("CI"):
            pytest.fail(result)
        pytest.skip(result)
    found = result.optuna("mixed").trials
    assert len(found) == TRIALS
    return found


@campaign(learned)
def test_trials_that_compute_leave_the_slow_nodes(result: Here | str) -> None:
    trials = trials_of(result)
    assert isinstance(result, Here)
    late = [(each.params["model"], details_of(each)["pool"]) for each in trials[LEARNED:]]
    counts = Counter(late)
    on_slow = {each: counts[each, "slow"] / (counts[each, "slow"] + counts[each, "fast"]) for each in WORK}
    # Some may compute there: a worker never stays idle, and other work of this machine can slow down the fast nodes.
    assert 2 * on_slow["computes"] < on_slow["waits"], counts
    found = json.loads(result.run("plan", "mixed", "--json").stdout)
    computing = next(kind for kind in found["kinds"] if "computes" in kind["name"])
    assert computing["seconds"]["slow"] > 1.3 * computing["seconds"]["fast"], "by how much, other work decides, too"


def busy_span(trials: list[FrozenTrial]) -> float:
    """Seconds from the begin of the first trial on the slow nodes, which start late, to the end of the last trial."""
    began = min(each.datetime_start for each in trials if details_of(each)["pool"] == "slow" and each.datetime_start)
    return (max(each.datetime_complete for each in trials if each.datetime_complete) - began).total_seconds()


def slow_ones(trials: list[FrozenTrial]) -> int:
    """How many trials that compute ran on the slow nodes, of those that began when costs could be known."""
    late = [each for each in trials[LEARNED:] if each.params["model"] == "computes"]
    return sum(details_of(each)["pool"] == "slow" for each in late)


@pytest.mark.exhaustive
@campaign(first_come, learned)
def test_fewer_trials_compute_on_slow_nodes_than_with_first_come(
    result: Here | str, lab: SlurmLab, campaigns: Callable[[Any, SlurmLab], Any]
) -> None:
    first, placed = trials_of(result), trials_of(campaigns(learned, lab))
    times = busy_span(first), busy_span(placed)
    print("first-come took {:.1f} s, placement {:.1f} s: {:.2f} times as long".format(*times, times[0] / times[1]))
    assert slow_ones(placed) < slow_ones(first)
