"""Calls the user's callbacks and asks the terminator after trials have ended, in a thread beside the driver's loop."""

from __future__ import annotations

import copy
import logging
import queue
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.trial import FrozenTrial, TrialState

from ...exit_codes import FAILED, FINISHED
from ..campaign.events import StopRequested
from ..studyfile import Callback
from ..user_code.parts import said, spoken

if TYPE_CHECKING:
    from optuna.terminator import BaseTerminator

log = logging.getLogger(__name__)

SLOW = 5.0
"""Seconds after which a callback that has not returned is mentioned."""

TERMINATOR_SHARE = 10.0
"""The terminator rests for this many times as long as its last decision took: it may fit a model to all trials, and
the driver needs the processor too."""

NO_SCORES = (
    "the best trial has no cross-validation scores; call "
    "optuna.terminator.report_cross_validation_scores(trial, scores) in the objective, or write "
    "error_evaluator: {name: static, constant: 0.01} or improvement_evaluator: stagnation"
)


class AfterTrials:
    """Calls callbacks as ``Study.optimize`` does: ``callback(study, frozen_trial)``, one after the other, by trial.

    They run in a thread of their own, so that the driver answers workers and renews its lease while one takes long.
    What one raises becomes a warning. ``study.stop()`` in one becomes a request to end the campaign; so does the
    terminator's decision, which is asked for after the callbacks.

    Args:
        study: The campaign's study.
        callbacks: What to call.
        terminator: Asked after trials have ended; None for none.
        terminator_name: The terminator in words.
        only_terminator: No other condition ends the campaign, so one that fails must.
        wake: Called when there is something for the loop.

    Attributes:
        warnings: A sentence for each callback that failed, and for a terminator that did.
    """

    def __init__(
        self,
        study: optuna.Study,
        callbacks: Sequence[Callback],
        terminator: BaseTerminator | None = None,
        terminator_name: str = "",
        *,
        only_terminator: bool = False,
        wake: Callable[[], None] = lambda: None,
    ):
        self._study, self._callbacks = study, callbacks
        self._terminator, self._terminator_name, self._only = terminator, terminator_name, only_terminator
        self.wake = wake
        self._queue: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._done: list[int] = []
        self._stops: list[StopRequested] = []
        self._failures: dict[str, tuple[int, str]] = {}  # callback -> how often it failed, and how at last
        self._current: tuple[str, int, float] | None = None  # what is called, for which trial, since when
        self._waiting = 0  # trials in the queue
        self._seconds = 0.0  # that callbacks took in all
        self._calls = 0
        self._rest_until = 0.0
        self._judged = -1  # complete trials at the terminator's last decision
        self._thread: threading.Thread | None = None

    @property
    def needed(self) -> bool:
        """Whether there is anything to call."""
        return bool(self._callbacks) or self._terminator is not None

    def put(self, numbers: Iterable[int]) -> None:
        """These trials have ended, and their ends are committed."""
        if not self.needed:
            return
        for number in numbers:
            with self._lock:
                self._waiting += 1
            self._queue.put(number)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="callbacks", daemon=True)
            self._thread.start()

    def returned(self) -> list[int]:
        """Numbers of the trials whose callbacks have returned since the last call."""
        with self._lock:
            done, self._done = self._done, []
        return done

    def stop_requests(self) -> list[StopRequested]:
        """Requests to end the campaign since the last call."""
        with self._lock:
            stops, self._stops = self._stops, []
        return stops

    @property
    def busy(self) -> bool:
        """Whether callbacks are running or waiting."""
        with self._lock:
            return self._waiting > 0

    @property
    def warnings(self) -> list[str]:
        """A sentence for each callback that failed, and for a terminator that did."""
        with self._lock:
            failures = list(self._failures.items())
        return [f"{name} failed {f'{n} times, at last ' if n > 1 else ''}{how}" for name, (n, how) in failures]

    def trouble(self) -> str:
        """What callbacks take long for, as a sentence; empty while they are quick."""
        with self._lock:
            current, waiting, calls, seconds = self._current, self._waiting, self._calls, self._seconds
        if current is None:
            return ""
        name, number, since = current
        took = time.monotonic() - since
        if took < SLOW and waiting < 10:
            return ""
        mean = f"; a call takes {seconds / calls:.1f} s on average" if calls else ""
        behind = f", and {waiting - 1} more trials wait for their callbacks" if waiting > 1 else ""
        return f"{name} has been running for {took:.0f} s (trial {number}){behind}{mean}"

    def close(self) -> None:
        """Let the thread end after the call that it is in."""
        if self._thread is not None:
            self._queue.put(None)

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._study._thread_local.in_optimize_loop = True  # without it, Study.stop() refuses
        while (number := self._queue.get()) is not None:
            try:
                for callback in self._callbacks:
                    self._call(callback, self._trial(number))
                self.judge()
            except Exception:  # nothing may end this thread
                log.exception("after trial %d", number)
            with self._lock:
                self._done.append(number)
                self._waiting -= 1
            self.wake()

    def _trial(self, number: int) -> FrozenTrial:
        storage = self._study._storage
        trial_id = storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number)
        return copy.deepcopy(storage.get_trial(trial_id))

    def _call(self, callback: Callback, trial: FrozenTrial) -> None:
        name = f"the callback {short(callback.name)}"
        began = time.monotonic()
        with self._lock:
            self._current = (name, trial.number, began)
        try:
            with spoken():
                callback.function(self._study, trial)
        except BaseException as error:  # nothing may end this thread, nor the driver
            self._failed(name, f"after trial {trial.number}", error, callback.function)
        finally:
            with self._lock:
                self._current = None
                self._calls += 1
                self._seconds += time.monotonic() - began
        if self._study._stop_flag:
            self._study._stop_flag = False
            self._stop(f"{name} stopped the study after trial {trial.number}")

    def _failed(self, name: str, when: str, error: BaseException, code: object) -> None:
        how = f"{when}: {said(error, code)}"
        log.warning("%s failed %s", name, how, exc_info=error)
        with self._lock:
            count, _ = self._failures.get(name, (0, ""))
            self._failures[name] = count + 1, how

    def _stop(self, reason: str, code: int = FINISHED) -> None:
        with self._lock:
            self._stops.append(StopRequested("finish", reason, code))

    def judge(self) -> None:
        """Ask the terminator, unless nothing has changed or it has just taken long."""
        terminator, name = self._terminator, self._terminator_name
        if terminator is None or time.monotonic() < self._rest_until:
            return
        complete = len(self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
        if complete == self._judged or not complete:
            return
        self._judged, began = complete, time.monotonic()
        try:
            with spoken(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ends = terminator.should_terminate(self._study)
        except BaseException as error:
            if "Cross-validation scores have not been reported" in str(error):
                error = ValueError(NO_SCORES)
            self._failed(name, f"with {complete} complete trials", error, terminator)
            if self._only:
                self._stop(f"{name} failed, and nothing else ends this study: {said(error, terminator)}", FAILED)
            return
        finally:
            self._rest_until = time.monotonic() + TERMINATOR_SHARE * (time.monotonic() - began)
        if ends:
            self._stop(f"{name} found with {complete} complete trials that nothing is left to gain")


def short(name: str) -> str:
    """A reference with the file's name only: ``notify.py:post``."""
    target, _, function = name.rpartition(":")
    return f"{Path(target).name if '/' in target else target}:{function}"
