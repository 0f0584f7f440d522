"""Starts a campaign, in the order in which nobody waits for anybody: workers boot while the study is opened."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import SiteError
from ...filesystems import NO_ROOM, why_not
from ..record import RunDirectory, new_campaign_id
from ..record.password import hidden_password
from ..studyfile import StudyFile
from .control import Control
from .job_chain import JobSlot

if TYPE_CHECKING:
    from ...providers.blocks.resources import TrialNeeds
    from ...providers.site import Site
    from .status import Status

LABEL_LENGTH = 24
"""Characters of the study's name in a job's."""


@dataclass(frozen=True)
class RunSettings:
    """What to run and where.

    Attributes:
        study_file: The study, overrides applied.
        site: The machine.
        storage_url: Of the database, as ``normalize_url`` gives it.
        runs: Where run directories are made; on a file system that all workers see.
        shift: The job that the driver itself runs in, where it is one of ``pilotune run --in-job``.
    """

    study_file: StudyFile
    site: Site
    storage_url: str
    runs: Path
    slot: JobSlot | None = None


def run_campaign(settings: RunSettings, listener: Callable[[Status], None] = lambda status: None) -> Status:
    """Run a campaign until its budget is used, it is stopped, or nothing can go on.

    Args:
        settings: What and where.
        listener: Called with a snapshot, at most four times a second, from the driver's loop.

    Returns:
        The last snapshot; its ``code`` is the exit code.

    Raises:
        UserError: What the user gave cannot be run (other study under this name, a live driver, no database).
        SiteError: The site would not start workers, or there is no room for the campaign's files.
        RecordAway: The database does not answer, or takes no writes.
    """
    from ...providers.htex.pool import ParslPool, PoolFiles
    from ...providers.schedulers.file_limits import many_descriptors

    began, campaign_id = time.time(), new_campaign_id()
    run = RunDirectory(settings.runs / settings.study_file.name / campaign_id)
    run.create()
    with (
        private_files(),
        hidden_password(),
        many_descriptors(),
        with_room(run.path),
        logging_to(run.log),
        Control(run.stop, settings.slot) as control,
    ):
        # Boots while the study is opened; no block is asked for before the study is ours.
        files = PoolFiles(run.parsl, run.blocks, run.jobs, run.channel_key)
        pool = ParslPool(
            settings.site, files, needs_of(settings.study_file), label_of(settings.study_file, campaign_id)
        )
        refused = True
        try:
            from .driver import Driver, claimed, remember

            with claimed(settings, run, campaign_id) as (storage, study, lease):
                refused = False
                remember(settings, run)
                driver = Driver(settings, storage, study, run, lease, began, listener)
                driver.drive(pool, control)
                pool.close()
                return driver.show(time.time())
        finally:
            pool.close()
            if refused:  # no trace stays of a campaign that never was one; what boots in it has ended
                shutil.rmtree(run.path, ignore_errors=True)


def needs_of(study_file: StudyFile) -> TrialNeeds:
    """What one trial takes of a machine."""
    from ...providers.blocks.resources import TrialNeeds

    trial = study_file.trial
    return TrialNeeds(trial.cores, trial.gpus, trial.nodes, trial.ranks_per_node, trial.memory, trial.yield_before)


def label_of(study_file: StudyFile, campaign_id: str) -> str:
    """The campaign's part of its blocks' job names: short, and no other campaign's."""
    return f"{study_file.name[:LABEL_LENGTH]}-{campaign_id[-6:]}"


@contextlib.contextmanager
def private_files() -> Iterator[None]:
    """What is made meanwhile, Parsl's files too, is for its user only."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def with_room(folder: Path) -> Iterator[None]:
    """A file that finds no room while the campaign starts is the site's refusal, not a failure of Pilotune's."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise SiteError(f"the run directory cannot be written: {why_not(error, folder)}") from error


class LogFile(logging.FileHandler):
    """A log that goes without the lines it cannot write: no full disk, no deleted folder stops who has them to say."""

    def __init__(self, path: Path):
        super().__init__(
            path, delay=True, encoding="utf-8", errors="backslashreplace"
        )  # names of files in what trials say

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


@contextlib.contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """The driver's log, while the campaign runs. Parsl's words go beside it: it has a traceback for every lost task."""
    ours, parsls = LogFile(path), LogFile(path.with_name("parsl.log"))
    for handler in (ours, parsls):
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    parsl = logging.getLogger("parsl")
    logging.getLogger("pilotune").setLevel(logging.INFO)
    parsl.setLevel(logging.WARNING)
    logging.getLogger().addHandler(ours)
    parsl.addHandler(parsls)
    parsl.propagate = False
    try:
        yield
    finally:
        parsl.propagate = True
        logging.getLogger().removeHandler(ours)
        parsl.removeHandler(parsls)
        ours.close()
        parsls.close()
