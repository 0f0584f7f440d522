"""Campaigns of the study ``digits`` whose files are written as their drivers would write them."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pilotune.pipeline.driver.status import Status
from pilotune.pipeline.record import RunDirectory, known_studies

NOBODY = 2**22 + 1  # above the kernel's largest process id


@pytest.fixture(name="runs")
def runs_(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def status_of(run: Path, **changes: object) -> Status:
    now = time.time()
    status = Status(
        study="digits",
        campaign=run.name,
        state="running",
        host=socket.gethostname(),
        pid=os.getpid(),
        started=now - 60,
        updated=now,
        workers=2,
        running=2,
        complete=20,
        pruned=12,
        failed=2,
        total=36,
        budget=60,
        best_number=14,
        best_values=[0.9731],
        best_params={"lr": 0.01},
        rate=23.0,
        utilization=0.97,
        time_left=62.0,
        storage="sqlite:////x/study.db",
        run_dir=str(run),
        rungs={"3": 8, "9": 4},
        running_trials=[{"number": 34, "attempt": 1, "host": "n1", "seconds": 2.0}],
    )
    return replace(status, **changes)  # type: ignore[arg-type]


Campaign = Callable[..., Path]


@pytest.fixture(name="campaign")
def campaign_(runs: Path) -> Campaign:
    """Writes a campaign of the study ``digits`` as its driver would, and remembers it."""

    def make(name: str = "20260101-120000-aaaaaa", **changes: object) -> Path:
        run = RunDirectory(runs / "digits" / name)
        run.create()
        status = status_of(run.path, **changes)
        run.status.write_text(status.to_json())
        known_studies.save(
            name="digits", study_file=runs / "s.yaml", storage=status.storage, runs=runs, site="local", run_dir=run.path
        )
        return run.path

    return make


@pytest.fixture(name="driver")
def driver_() -> Iterator[int]:
    """The number of a process that lives as long as the test."""
    process = subprocess.Popen(["sleep", "600"])
    yield process.pid
    process.kill()
    process.wait()
