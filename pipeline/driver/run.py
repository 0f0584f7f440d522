"""Starts a campaign. Its workers boot while the study is opened, so that neither waits for the other."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import RecordStarting, SiteError
from ...filesystems import NO_ROOM, why_not
from ..record import RunDirectory, new_campaign_id
from ..record.password import hidden_password
from .control import Control
from .settings import RunSettings
from .workers import boot_workers

if TYPE_CHECKING:
    from .status import Status


def run_campaign(
    settings: RunSettings,
    listener: Callable[[Status], None] = lambda status: None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> Status:
    """Run a campaign until its budget is used up, it is stopped, or it cannot go on.

    It makes a run directory, boots the pool, opens and claims the study, and then runs the driver's loop in this
    thread. In the main thread SIGINT, SIGTERM and SIGHUP stop it meanwhile: the first lets running trials finish, the
    second makes them yield, the third kills them.

    Example::

        settings = RunSettings(load_study_file("study.yaml"), load_site("local"), "sqlite:///study.db", Path("runs"))
        status = run_campaign(settings, listener=lambda status: print(status.complete, status.best_values))
        print(status.code, status.reason)

    Args:
        settings: What to run and where.
        listener: Called with a snapshot, at most four times a second, from the driver's loop.
        tell: Called with a sentence on what is waited for before the campaign can begin.

    Returns:
        The last snapshot; its ``code`` is the exit code, see :mod:`pilotune.exit_codes`.

    Raises:
        UserError: The input cannot be run: another study has this name, another driver works on it, or there is no such
            database.
        SiteError: The site would not start workers, or the disk has no space for the campaign's files.
        RecordStarting: The database's server was not ready within two minutes.
        RecordAway: The database does not answer, or accepts no writes.
    """
    from ...providers.htex.interchange_start import interchange_ahead
    from ...providers.schedulers.file_limits import many_descriptors

    began, campaign_id = time.time(), new_campaign_id()
    run = RunDirectory(settings.runs / settings.study_file.name / campaign_id)
    run.create()
    with (
        private_files(),
        hidden_password(),
        many_descriptors(),
        disk_full_is_refusal(run.path),
        logging_to(run.log),
        Control(run.stop, settings.slot) as control,
        interchange_ahead(run.blocks) as interchange,
    ):
        metered = frozenset[str]()
        if settings.study_file.budget.accounts:
            from .hours import hours_plan, paid_site

            settings = replace(settings, site=paid_site(settings.study_file, settings.site, settings.storage_url))
            metered = hours_plan(settings.study_file, settings.site).metered_pools
        # The pool boots while the study is opened; it asks for no block before the study is claimed.
        pool = boot_workers(settings, run, campaign_id, interchange, metered)
        claimed_study = False
        try:
            # Imported here because it loads Optuna and SQLAlchemy, for half a second in which the pool boots already.
            from .campaign_setup import list_study, remember
            from .claimed_study import claimed
            from .driver import Driver

            notes: list[str] = []
            asked = lambda: bool(control.stop_requests())  # noqa: E731
            with claimed(settings, run, campaign_id, notes, tell, asked) as (storage, study, lease):
                claimed_study = True
                remember(settings, run)
                driver = Driver(settings, storage, study, run, lease, began, listener, notes)
                driver.drive(pool, control)
                pool.close()
                driver.on_closed(pool.charges(), pool.views(time.time()), pool.left)
                driver.finish_callbacks()
                return driver.show(time.time())
        except RecordStarting:
            if not claimed_study:
                list_study(settings, run)
            raise
        finally:
            pool.close()
            if not claimed_study:  # the campaign never began, so nothing is left of it
                shutil.rmtree(run.path, ignore_errors=True)


@contextlib.contextmanager
def private_files() -> Iterator[None]:
    """Inside, all files are created for this user only, those of Parsl too."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def disk_full_is_refusal(folder: Path) -> Iterator[None]:
    """Turn a full disk at the start of a campaign into a SiteError; it is not a failure of Pilotune's."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise SiteError(f"the run directory cannot be written: {why_not(error, folder)}") from error


class LogFile(logging.FileHandler):
    """A log file that drops the lines it cannot write: a full disk or a deleted folder must not stop the campaign."""

    def __init__(self, path: Path):
        # Messages may hold file names that are not UTF-8.
        super().__init__(path, delay=True, encoding="utf-8", errors="backslashreplace")

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
    """Inside, the driver's log goes to ``path``.

    Parsl's log goes to ``parsl.log`` beside it, since it has a traceback for every lost task.
    """
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
