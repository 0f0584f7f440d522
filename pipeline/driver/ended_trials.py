"""What follows the end of trials beside the campaign: callbacks, artifacts, loggers, and Optuna's terminator."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ...errors import RecordAway
from ..campaign.events import StopRequested
from ..record import DueCallbacks, LeaseLost, RecordStorage
from ..studyfile import StudyFile, make_callbacks, make_terminator, terminator_in_words
from .after_trials import AfterTrials
from .artifacts import ArtifactKeeper

if TYPE_CHECKING:
    from pathlib import Path

    import optuna

    from .logger_feed import LoggerFeed

log = logging.getLogger(__name__)

LONGEST_WAIT = 60.0
"""Seconds that a callback may run on after the campaign has ended; then it is left to the next campaign."""


class EndedTrials:
    """Hands trials that have ended to their callbacks, and remembers in the database whose callbacks are still due.

    It also has their artifacts kept. All methods are called from the driver's loop. A study without callbacks, loggers,
    artifacts and terminator costs next to nothing.

    Args:
        study_file: Its ``callbacks`` and ``budget.terminator``, which are imported here, and its ``loggers``.
        storage: The record.
        study: The study, claimed.
        campaign: The campaign's id.
        folder: The study's folder of the run directories.

    Attributes:
        artifacts: Keeps the files of complete trials.
        loggers: What is sent to loggers; None where there are none.
        due: The trials whose callbacks are due, for the campaign to add to; None where there are no callbacks.
        lost: A sentence about the trials whose callbacks were given up, or left to the next campaign.

    Raises:
        UserError: A callback or the terminator cannot be imported or created.
    """

    def __init__(self, study_file: StudyFile, storage: RecordStorage, study: optuna.Study, campaign: str, folder: Path):
        self._storage, self._study = storage, study
        budget, terminator = study_file.budget, study_file.budget.terminator
        callbacks = make_callbacks(study_file)
        self._after = AfterTrials(
            study,
            callbacks,
            None if terminator is None else make_terminator(terminator, study_file.folder),
            "" if terminator is None else terminator_in_words(terminator),
            only_terminator=budget.trials is None and budget.time is None and budget.patience is None,
        )
        self.due = DueCallbacks(storage, study._study_id, campaign) if callbacks else None
        self.artifacts = ArtifactKeeper(storage, study, campaign, folder, study_file.trial.keep.artifacts)
        self.loggers: LoggerFeed | None = None
        if study_file.loggers:
            from .logger_feed import LoggerFeed

            self.loggers = LoggerFeed(study_file, storage, study, campaign, folder)
        self.lost = ""

    def start(self, wake: Callable[[], None]) -> None:
        """Begin, and ask the terminator, which may end a resumed study at once. ``wake`` ends the loop's wait."""
        self._after.wake = wake
        self._after.judge()
        self.artifacts.start()
        if self.loggers:
            self.loggers.start()

    def put(self, numbers: Sequence[int]) -> None:
        """The ends of these trials are committed."""
        self._after.put(numbers)
        self.artifacts.on_ended(numbers)
        if self.loggers:
            self.loggers.put_ended(numbers)

    def take_over(self) -> None:
        """Call what the drivers that have ended or died left. Raises RecordAway where the database does not answer."""
        if self.due is None:
            return
        taken, given_up = self.due.take_over(self._study)
        self._after.put(taken)
        if given_up:
            numbers = ", ".join(map(str, given_up))
            self.lost = f"the callbacks of trials {numbers} are given up: each driver that called them died"
            log.warning(self.lost)

    def requests(self) -> list[StopRequested]:
        """Stage that callbacks have returned; requests to end since the last call."""
        self._settle(self._after.returned())
        return self._after.stop_requests()

    def _settle(self, returned: Sequence[int]) -> None:
        if self.due is not None:
            for number in returned:
                self.due.remove(number)

    @property
    def trouble(self) -> str:
        """Which callback takes long, as a sentence; empty while all are quick."""
        return self._after.trouble()

    @property
    def warnings(self) -> list[str]:
        """A sentence for each callback, logger or terminator that failed, and about what was not called or written."""
        logged = self.loggers.warnings if self.loggers else []
        return [*self._after.warnings, *self.artifacts.warnings, *logged, *([self.lost] if self.lost else [])]

    def finish(self, stopped: Callable[[], bool], tell: Callable[[str], None]) -> None:
        """Wait for the callbacks of the last trials, and commit what they have written; then for artifacts and loggers.

        Args:
            stopped: Whether the user wants to wait no longer.
            tell: Called all the time with a sentence to show; it also keeps the campaign's lease alive.
        """
        if self._after.needed:
            self._finish_callbacks(stopped, tell)
        self.artifacts.finish(stopped, tell)
        if self.loggers:
            self.loggers.finish(stopped, tell)

    def _finish_callbacks(self, stopped: Callable[[], bool], tell: Callable[[str], None]) -> None:
        self._after.close()
        last = time.monotonic()  # when a callback returned last
        while self._after.busy:
            returned = self._after.returned()
            if returned:
                last = time.monotonic()
                self._settle(returned)
            if stopped() or time.monotonic() - last > LONGEST_WAIT:
                self.lost = (
                    f"a callback was still running {time.monotonic() - last:.0f} s after the end; the next campaign "
                    "calls the callbacks that are left"
                )
                log.warning(self.lost)
                break
            tell(self._after.trouble() and f"waiting for callbacks: {self._after.trouble()}")
            time.sleep(0.05)
        self._settle(self._after.returned())
        try:
            self._storage.commit(limit=0)
        except (RecordAway, LeaseLost) as error:
            log.warning("what the last callbacks wrote was not committed: %s", error)
