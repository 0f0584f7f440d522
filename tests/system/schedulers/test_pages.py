"""The documentation's pages on clusters, run on a real Slurm: their files and commands work as they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from ...support import slurm
from ...support.campaigns import LONG, campaign
from ...support.local import processes, until
from ...support.pages import run_page
from .lab import SLURM, Lab

pytestmark = [pytest.mark.real, pytest.mark.heavy, pytest.mark.parametrize("lab", [SLURM], ids=["slurm"])]

CHANGES = {"account: m1234": f"account: {slurm.ACCOUNTS[0]}\npoll: 1s", "queue: debug": f"queue: {SLURM.queue}"}
"""What this Slurm calls otherwise."""


def page_on(lab: Lab, folder: Path, page: str) -> str:
    with lab.all_nodes(folder) as user:
        printed = run_page(page, user.here, CHANGES)
        until(lambda: not processes(user.here), "no process of the user is left", LONG)
    return printed


def page_of_first_steps(folder: Path, lab: Lab) -> str:
    return page_on(lab, folder, "start/cluster.md")


def page_of_several_nodes(folder: Path, lab: Lab) -> str:
    return page_on(lab, folder, "how-to/several-nodes.md")


@campaign(page_of_first_steps)
def test_the_first_steps_on_a_cluster_work(result: str, lab: Lab) -> None:
    assert "#SBATCH --partition=" in result
    assert "the budget of 12 trials is used up" in result


@campaign(page_of_several_nodes)
def test_a_trial_on_two_nodes_works_as_the_page_says(result: str, lab: Lab) -> None:
    assert "the budget of 4 trials is used up" in result
