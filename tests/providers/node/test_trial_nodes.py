"""The nodes of trials that take several each, and the words with which a launcher starts ranks on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pilotune.providers.node.trial_nodes import TrialNodes, is_open_mpi

HYDRA = "mpiexec -n 4 -ppn 2 -hosts n1,n2 "
OPEN_MPI = "mpiexec -n 4 --map-by ppr:2:node:oversubscribe --bind-to none --host n1:2,n2:2"


def task(number: int, nodes: int) -> dict[str, Any]:
    wanted = {"num_nodes": nodes, "ranks_per_node": 2, "num_ranks": 2 * nodes}
    return {"task_id": number, "context": {"resource_spec": wanted}}


@pytest.fixture
def block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A block of three nodes, and a folder for its mpiexec."""
    (tmp_path / "nodes").write_text("n1\nn2\nn3\n")
    monkeypatch.delenv("SLURM_NODELIST", raising=False)
    monkeypatch.setenv("PBS_NODEFILE", str(tmp_path / "nodes"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ("HYDRA build details:\n    Version: 4.0.2", HYDRA),
        ("mpiexec (PALS) 1.2.12", HYDRA),
        ("mpiexec.openmpi (OpenRTE) 4.1.4", OPEN_MPI),
        ("mpirun (Open MPI) 5.0.6", OPEN_MPI),
    ],
)
def test_each_mpiexec_gets_its_own_options(block: Path, says: str, words: str) -> None:
    (block / "mpiexec").write_text(f'#!/bin/sh\n[ "$*" = --version ] && echo "{says}"\n')
    (block / "mpiexec").chmod(0o700)
    nodes = TrialNodes("mpiexec")
    variables = nodes.take(task(1, 2))
    assert variables is not None
    assert (variables["PARSL_MPI_PREFIX"], variables["PARSL_MPI_NODELIST"]) == (words, "n1,n2")
    assert nodes.take(task(2, 2)) is None
    nodes.give_back(task(1, 2))
    assert nodes.take(task(2, 2)) is not None


def test_other_launchers_are_not_asked_and_one_that_is_missing_is_not_open_mpi(block: Path) -> None:
    (block / "srun").write_text("#!/bin/sh\nexit 3\n")
    variables = TrialNodes("srun").take(task(1, 2))
    assert variables is not None
    assert variables["PARSL_MPI_PREFIX"] == "srun --ntasks 4 --ntasks-per-node 2 --nodelist n1,n2 --nodes 2 "
    assert not is_open_mpi(str(block / "mpiexec"))
