"""Objectives with mpi4py, under Debian's own mpiexec of MPICH and of Open MPI."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pilotune.pipeline.trial.files import TrialFiles
from pilotune.pipeline.trial.protocol import ObjectiveSpec
from pilotune.pipeline.worker.run_attempt import run_attempt

from ...support.rank_objectives import HOST, living
from ...support.trial_driver import make_spec, verdict_at

pytest.importorskip("mpi4py")
pytestmark = [pytest.mark.real, pytest.mark.slow]

OBJECTIVE = """
    import os
    from mpi4py import MPI

    def objective(trial):
        comm = MPI.COMM_WORLD
        if (comm.rank, comm.size) != (trial.rank, trial.world_size):
            raise RuntimeError(f"rank {comm.rank} of {comm.size}")
        for step in range(1, 4):
            total = comm.allreduce(trial.params["x"] * (comm.rank + 1))
            trial.report(total, step)
            if trial.number == 9 and comm.rank == 1:
                raise ValueError("no data")
            if trial.number == 10 and comm.rank == 1:
                os._exit(3)
        return {"value": total, "vendor": MPI.get_vendor()[0]}
"""

LIBRARIES = {"mpiexec.hydra": ("MPICH", "libmpich.so.12"), "mpiexec.openmpi": ("Open MPI", "")}
"""Debian's launchers -> their vendor, and its library where that is not named as mpi4py looks for it."""


@pytest.fixture(params=LIBRARIES)
def vendor(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Makes ``mpiexec`` that of an MPI, and mpi4py take its library; returns its name."""
    program, (name, library) = request.param, LIBRARIES[request.param]
    if shutil.which(program) is None:
        assert not os.environ.get("CI"), f"{program} is not installed"
        pytest.skip(f"{program} is not installed; tests/support/setup.sh does it")
    for folder in ("bin", "lib"):
        (tmp_path / folder).mkdir()
    (tmp_path / "bin" / "mpiexec").write_text(f'#!/bin/sh\nexec {program} "$@"\n')
    (tmp_path / "bin" / "mpiexec").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("MPI4PY_MPIABI", "mpich" if library else "openmpi")
    if library:
        found = next(Path("/usr/lib").glob(f"*/{library}"))
        (tmp_path / "lib" / "libmpi.so.12").symlink_to(found)
        monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path / "lib"))
    return name


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    (tmp_path / "ours.py").write_text(textwrap.dedent(OBJECTIVE))
    objective = ObjectiveSpec(file=str(tmp_path / "ours.py"), function="objective")

    def start(ranks: int, number: int = 7, **changes: Any) -> dict[str, Any]:
        fields = {"ranked": True, "ranks": ranks, "ranks_per_node": ranks, "launcher": "mpiexec", **changes}
        return run_attempt(make_spec(tmp_path, objective, number=number, **fields))

    return start


def test_ranks_use_mpi_and_all_are_pruned_and_end_as_mpi_wants(
    run: Any, vendor: str, tmp_path: Path, driver: Any
) -> None:
    outcome = run(3)
    assert (outcome["kind"], outcome["values"], outcome["reason"]) == ("complete", [9.0], "")
    assert outcome["user_attrs"] == {"vendor": vendor}
    pruned = run(3, number=8, channel=driver(verdict_at(2, "prune")).address)
    assert (pruned["kind"], pruned["reason"]) == ("pruned", "pruned at step 2")
    for number in (7, 8):  # a launcher says so where a rank has not called MPI_Finalize
        assert TrialFiles(tmp_path / "trials" / str(number)).launcher_output(1).read_text() == ""


def test_a_rank_that_raises_ends_those_that_wait_for_it(run: Any, vendor: str, tmp_path: Path) -> None:
    outcome = run(2, number=9, grace=0.5)
    assert (outcome["kind"], outcome["reason"]) == ("failed", f"rank 1 on node {HOST}: ValueError: no data")
    assert living(TrialFiles(tmp_path / "trials/9")) == []


@pytest.mark.exhaustive
def test_a_rank_that_exits_is_named_though_its_launcher_ends_the_others(run: Any, vendor: str, tmp_path: Path) -> None:
    outcome = run(3, number=10, grace=0.5)
    assert (outcome["kind"], outcome["failure"]) == ("failed", "exit")
    assert outcome["reason"] == f"rank 1 on node {HOST}: the process exited with 3 before it returned a value"
    assert living(TrialFiles(tmp_path / "trials/10")) == []
