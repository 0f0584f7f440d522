"""Keeps the artifacts of trials that have completed, and deletes those that the study file's rule leaves no place for.

What is kept is decided in the driver's loop, from committed trials only. A thread moves and deletes the files, so that
no file system holds up the loop.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from ...errors import RecordAway
from ...grammar import count
from ..attributes import ARTIFACTS, ATTEMPTS, COPIED, DIRECTORY, LEARNED, OWNER
from ..record import Lease, RecordStorage, artifacts, study_leases
from ..record.best_first import best_first
from ..study_changes import FINISHED, StudyWatch
from ..trial.files import TrialFiles

log = logging.getLogger(__name__)

LONGEST_WAIT = 60.0
"""Seconds without progress after which the artifacts that are left are left to the next campaign."""


class ArtifactKeeper:
    """The artifacts of one study, as one of its drivers keeps them. Its methods are called from the driver's loop.

    The rule is about all trials of the study, whoever ran them; the files are those in this driver's folder of the run
    directories. Several drivers may share it: each operation is a rename, which one of them does.

    Args:
        storage: The record.
        study: The study, claimed.
        campaign: The campaign's id.
        folder: The study's folder of the run directories, ``<runs>/<name>``.
        most: Of how many trials artifacts are kept, the best ones; None: of all.

    Attributes:
        home: The folder of the artifacts.
        lost: A sentence about what is left to the next campaign; empty while all is well.
    """

    def __init__(self, storage: RecordStorage, study: optuna.Study, campaign: str, folder: Path, most: int | None):
        self._storage, self._study, self._campaign, self._most = storage, study, campaign, most
        self.home = artifacts.artifacts_folder(folder)
        self._watch = StudyWatch()
        self._chosen: dict[int, FrozenTrial] = {}  # those whose artifacts are to be kept, by number
        self._surplus: set[int] = set()  # complete ones whose artifacts are not
        self._lock = threading.Lock()
        self._sizes: dict[int, int] = {}  # bytes of those that lie in the folder, by number
        self._failures: dict[int, str] = {}
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._waiting = self._done = 0
        self._thread: threading.Thread | None = None
        self.lost = ""

    # -- decisions ----------------------------------------------------------------------------------------------------

    def on_ended(self, numbers: Sequence[int]) -> None:
        """The ends of these trials, which this campaign ran, are committed."""
        ended = [self._trial(number) for number in numbers]
        if any(ARTIFACTS in trial.system_attrs for trial in ended) or self._chosen:
            self._learn()
        for trial in ended:
            if trial.number in self._chosen:
                self._do(trial.number, self._keep, trial)
            elif self._may_have_left(trial):
                self._do(trial.number, self._drop, trial)

    def reconcile(self) -> None:
        """Make the folder what the rule says, with what dead drivers have left; only the trials of the study count."""
        self._learn()
        here = set(artifacts.kept_trials(self.home))
        for number in sorted(self._surplus & here):
            self._do(number, self._forget)
        for number, trial in sorted(self._chosen.items()):
            if number not in here and self._inside(trial):
                self._do(number, self._keep, trial)
        known = {number: self._chosen[number] for number in here if number in self._chosen}
        with self._lock:
            self._sizes = {number: size_of(trial) for number, trial in known.items()}

    def _learn(self) -> None:
        """See which trials have completed, and choose those whose artifacts are kept; the others are deleted."""
        changes = self._watch.refresh(self._study)
        if changes.whole:
            self._chosen.clear()
            self._surplus.clear()
        for trial in changes.trials:
            kept = ARTIFACTS in trial.system_attrs and trial.system_attrs[ARTIFACTS]
            if trial.state == TrialState.COMPLETE and kept and trial.number not in self._surplus:
                self._chosen[trial.number] = trial
        if self._most is None or len(self._chosen) <= self._most:
            return
        for trial in best_first(self._chosen.values(), self._study.directions)[self._most :]:
            del self._chosen[trial.number]
            self._surplus.add(trial.number)
            if not changes.whole:  # else reconcile() looks which of them there are
                self._do(trial.number, self._forget)

    @staticmethod
    def _may_have_left(trial: FrozenTrial) -> bool:
        """Whether a trial that is not to be kept may have written artifacts."""
        return trial.state == TrialState.FAIL or ARTIFACTS in trial.system_attrs

    def _trial(self, number: int) -> FrozenTrial:
        study_id = self._study._study_id
        return self._storage.get_trial(self._storage.get_trial_id_from_study_id_trial_number(study_id, number))

    def _inside(self, trial: FrozenTrial) -> bool:
        """Whether the trial ran below the study's folder here: another's files are none of this driver's business."""
        if COPIED in trial.system_attrs or LEARNED in trial.user_attrs:
            return False
        place = os.path.normpath(str(trial.user_attrs.get(DIRECTORY, "")))
        return place.startswith(f"{self.home.parent}{os.sep}")

    # -- what happens to files, in the thread -------------------------------------------------------------------------

    def _keep(self, trial: FrozenTrial) -> None:
        source = source_of(trial)
        if artifacts.keep(source, self.home, trial.number, self._campaign):
            with self._lock:
                self._sizes[trial.number] = size_of(trial)
            artifacts.drop_attempts(source.parent)

    def _drop(self, trial: FrozenTrial) -> None:
        directory = trial.user_attrs.get(DIRECTORY)
        if directory:
            artifacts.drop_attempts(Path(directory))

    def _forget(self, number: int) -> None:
        artifacts.forget(self.home, number)
        with self._lock:
            self._sizes.pop(number, None)

    def _do(self, number: int, what: Callable[..., None], trial: FrozenTrial | None = None) -> None:
        """Let the thread do something about the artifacts of a trial."""

        def job() -> None:
            try:
                what(number if trial is None else trial)
            except OSError as error:
                log.warning("artifacts of trial %d", number, exc_info=error)
                with self._lock:
                    self._failures[number] = str(error.strerror or error)
            else:
                with self._lock:
                    self._failures.pop(number, None)

        self._submit(job)

    def _submit(self, job: Callable[[], None]) -> None:
        with self._lock:
            self._waiting += 1
        self._jobs.put(job)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="artifacts", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:  # nothing may end this thread
                log.exception("artifacts")
            with self._lock:
                self._waiting -= 1
                self._done += 1

    # -- begin and end ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Do what dead drivers have left."""
        leases = study_leases(self._storage, self._study)
        if self.home.is_dir():
            self._set_strangers_aside()
            running = {each.campaign for each in leases if each.state == "running"}
            self._submit(lambda: _log_swept(artifacts.sweep(self.home, running - {self._campaign})))
        self.reconcile()
        if self._chosen:
            self._drop_of_dead(leases)

    def _drop_of_dead(self, leases: Sequence[Lease]) -> None:
        """Delete what lies in the folders of trials whose driver died after their commit, and is not to be kept."""
        now = self._storage.database.clock()
        dead = {each.campaign for each in leases if each.state != "ended" and not each.alive(now)}
        for trial in self._study.get_trials(deepcopy=False, states=FINISHED) if dead - {self._campaign} else ():
            own = trial.system_attrs.get(OWNER) in dead and trial.number not in self._chosen
            if own and self._may_have_left(trial) and self._inside(trial):
                self._do(trial.number, self._drop, trial)

    def _set_strangers_aside(self) -> None:
        """Set aside what lies under the numbers of trials that this study has not completed: it was another's.

        ``pilotune delete --keep-files`` leaves such a folder to the next study of the same name.
        """
        here = artifacts.kept_trials(self.home)
        try:
            self._storage.sync()  # what another driver has moved meanwhile is in the database already
        except RecordAway:
            return
        complete = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        strangers = sorted(set(here) - {trial.number for trial in complete})
        for number in strangers:
            try:
                artifacts.set_aside(self.home, number, self._campaign)
            except OSError as error:
                self._failures[number] = str(error.strerror or error)
        if strangers:
            log.warning("set aside the artifacts of %s in %s", count(len(strangers), "trial"), self.home)

    def finish(self, stopped: Callable[[], bool], tell: Callable[[str], None]) -> None:
        """Wait until all is done, and look once more what other drivers have completed meanwhile.

        Args:
            stopped: Whether the user wants to wait no longer.
            tell: Called all the time with a sentence to show; it also keeps the campaign's lease alive.
        """
        if self._wait(stopped, tell) and (self._chosen or self.home.is_dir()):
            try:
                self._storage.sync()
            except RecordAway as error:
                log.warning("the study was not read again for its artifacts: %s", error)
            self.reconcile()
            self._wait(stopped, tell)
        self._jobs.put(None)

    def _wait(self, stopped: Callable[[], bool], tell: Callable[[str], None]) -> bool:
        """Whether the thread has done everything."""
        last, done = time.monotonic(), -1
        while True:
            with self._lock:
                waiting, now_done = self._waiting, self._done
            if not waiting:
                return True
            if now_done != done:
                last, done = time.monotonic(), now_done
            if stopped() or time.monotonic() - last > LONGEST_WAIT:
                self.lost = "artifacts of some trials are still in their folders; the next campaign moves them"
                log.warning(self.lost)
                return False
            tell(f"waiting for the artifacts of {count(waiting, 'trial')}" if time.monotonic() - last > 1.0 else "")
            time.sleep(0.02)

    # -- what is shown ------------------------------------------------------------------------------------------------

    @property
    def kept(self) -> tuple[int, ...]:
        """Of how many trials artifacts lie in the folder, and their bytes; empty where there are none."""
        with self._lock:
            return (len(self._sizes), sum(self._sizes.values())) if self._sizes else ()

    @property
    def warnings(self) -> list[str]:
        """A sentence where artifacts could not be moved or deleted, or are left to the next campaign."""
        with self._lock:
            failures = sorted(self._failures.items())
        found = [self.lost] if self.lost else []
        if failures:
            numbers = ", ".join(str(number) for number, _ in failures[:5]) + (", ..." if len(failures) > 5 else "")
            which = f"trial {numbers}" if len(failures) == 1 else f"trials {numbers}"
            what = f"the artifacts of {which} could not be moved or deleted in {self.home} ({failures[-1][1]})"
            found.append(f"{what}; they stay where they are, and the next campaign tries again")
        return found


def _log_swept(folders: int) -> None:
    if folders:
        log.info("removed %s of artifacts that killed drivers left half-done", count(folders, "folder"))


def source_of(trial: FrozenTrial) -> Path:
    """Where the last attempt of a complete trial wrote its artifacts."""
    return TrialFiles(Path(trial.user_attrs.get(DIRECTORY, ""))).artifacts(int(trial.user_attrs.get(ATTEMPTS, 0)))


def size_of(trial: FrozenTrial) -> int:
    """Bytes of a trial's artifacts, as its attempt left them."""
    found = trial.system_attrs.get(ARTIFACTS)
    return sum(size for size in found.values() if type(size) is int) if isinstance(found, dict) else 0
