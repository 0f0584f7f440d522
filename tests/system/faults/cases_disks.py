"""Full disks and deleted folders: the campaign ends by itself, and the next one completes the study."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from pilotune.exit_codes import SITE

from ...support.small_disks import fill, small_disk
from .cases import SQLITE, case
from .experiment import Experiment
from .fault_targets import running


def interrupted(
    experiment: Experiment, times: int, fault: str, act: Callable[[], AbstractContextManager[None]]
) -> None:
    """Several times: keep up a fault until the campaign has ended because of it; then complete the study."""
    for _ in range(times):
        experiment.start()
        experiment.progress(2)
        running(experiment)
        with act():
            assert experiment.wait() == SITE, experiment.printed()
        experiment.inject(fault)
    experiment.start()
    experiment.end()


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Keep a disk full: fill whatever becomes free at once."""
    over = threading.Event()

    def keep() -> None:
        while not over.wait(0.05):
            fill(disk)

    fill(disk)
    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        (disk / "filler").unlink()


@case("disk full", 2, SQLITE)
def disk_full(experiment: Experiment, times: int) -> None:
    """Run directory and database are on the full disk, as by default."""
    with small_disk(experiment.here.runs) as disk:
        interrupted(experiment, times, "disk full", lambda: full(disk))
        experiment.settle()


@case("disk full under SQLite", 2, SQLITE)
def database_disk_full(experiment: Experiment, times: int) -> None:
    with small_disk(experiment.folder / "database") as disk:
        experiment.url = f"sqlite:///{disk}/study.db"
        interrupted(experiment, times, "disk full under SQLite", lambda: full(disk))
        experiment.settle()


@case("disk full under the run directory", 2, SQLITE, needed=60, lasts=10.0)
def runs_disk_full(experiment: Experiment, times: int) -> None:
    """Results still reach the database, and the campaign continues."""
    with small_disk(experiment.here.runs) as disk:
        experiment.url = f"sqlite:///{experiment.folder}/study.db"
        experiment.start()
        for _ in range(times):
            experiment.progress(2)
            with full(disk):
                time.sleep(experiment.lasts)
            experiment.inject("disk full under the run directory")
            experiment.progress(2)
        experiment.end()
        experiment.settle()


@case("run directory deleted", 3, SQLITE, needed=30)
def run_directory_deleted(experiment: Experiment, times: int) -> None:
    experiment.checkpoints_lost = True

    @contextmanager
    def deleted() -> Iterator[None]:
        folder = Path(experiment.run_folder())
        while folder.exists():  # workers write into it meanwhile
            shutil.rmtree(folder, ignore_errors=True)
        yield

    interrupted(experiment, times, "run directory deleted", deleted)
