"""Callbacks and the terminator: called as Optuna calls them, and what they may not do to the driver."""

from __future__ import annotations

import threading
from collections.abc import Callable

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from pilotune.pipeline.driver import after_trials
from pilotune.pipeline.driver.after_trials import AfterTrials, short
from pilotune.pipeline.studyfile import Callback

optuna.logging.set_verbosity(optuna.logging.WARNING)


def study_of(*values: float | None) -> optuna.Study:
    study = optuna.create_study()
    for value in values:
        trial = study.ask()
        if value is None:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, value)
    return study


def run(study: optuna.Study, numbers: list[int], *functions: Callable[..., object], **options: object) -> AfterTrials:
    """Call the functions after these trials, and wait for the end."""
    after = AfterTrials(study, [Callback(f"mine.py:{f.__name__}", f) for f in functions], **options)
    after.put(numbers)
    after.close()
    assert after._thread is not None
    after._thread.join(timeout=60)
    assert not after.busy
    assert after.returned() == numbers
    return after


def test_callbacks_get_the_study_and_a_copy_of_the_trial_in_order():
    study = study_of(1.0, None, 3.0)
    seen: list[tuple[str, int, TrialState]] = []

    def first(study: optuna.Study, trial: FrozenTrial) -> None:
        assert isinstance(study, optuna.Study)
        assert isinstance(trial, FrozenTrial)
        seen.append(("first", trial.number, trial.state))
        trial.user_attrs["mine"] = 1
        study.set_user_attr("last", trial.number)

    def second(study: optuna.Study, trial: FrozenTrial) -> None:
        seen.append(("second", trial.number, trial.state))
        assert trial.user_attrs == {}, "each has a copy of its own, as in Optuna"

    after = run(study, [0, 1, 2], first, second)
    states = [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]
    assert seen == [(name, n, states[n]) for n in range(3) for name in ("first", "second")]
    assert after.warnings == []
    assert study.user_attrs == {"last": 2}


@pytest.mark.parametrize("error", [KeyError("odd"), SystemExit(3)], ids=repr)
def test_a_callback_that_raises_costs_a_warning_and_the_next_is_called(error):
    called = []

    def bad(study: optuna.Study, trial: FrozenTrial) -> None:
        if trial.number != 1:
            raise error

    def good(study: optuna.Study, trial: FrozenTrial) -> None:
        called.append(trial.number)

    after = run(study_of(1.0, 2.0, 3.0), [0, 1, 2], bad, good)
    assert called == [0, 1, 2]
    (warning,) = after.warnings
    text = f"{type(error).__name__}: {error}"
    assert warning.startswith(f"the callback mine.py:bad failed 2 times, at last after trial 2: {text} ({__file__}:")
    assert after.stop_requests() == []


def test_stop_in_a_callback_ends_the_campaign_as_a_budget_does():
    def stopper(study: optuna.Study, trial: FrozenTrial) -> None:
        if trial.number == 1:
            study.stop()

    after = run(study_of(1.0, 2.0, 3.0), [0, 1, 2], stopper)
    (stop,) = after.stop_requests()
    assert (stop.how, stop.code) == ("finish", 0)
    assert stop.reason == "the callback mine.py:stopper stopped the study after trial 1"


def test_what_a_callback_prints_is_not_on_stdout(capsys):
    run(study_of(1.0), [0], lambda study, trial: print("hello"))
    out, err = capsys.readouterr()
    assert (out, err) == ("", "hello\n")


def test_a_slow_callback_does_not_hold_the_caller_and_is_told(monkeypatch):
    monkeypatch.setattr(after_trials, "SLOW", 0.0)
    goes_on, began = threading.Event(), threading.Event()

    def slow(study: optuna.Study, trial: FrozenTrial) -> None:
        began.set()
        goes_on.wait(60)

    after = AfterTrials(study_of(1.0, 2.0, 3.0), [Callback("/home/me/mine.py:slow", slow)])
    after.put([0, 1, 2])  # returns at once
    assert began.wait(60)
    assert after.busy
    trouble = after.trouble()
    assert trouble.startswith("the callback mine.py:slow has been running for 0 s (trial 0), and 2 more trials wait")
    goes_on.set()
    after.close()
    assert after._thread is not None
    after._thread.join(60)
    assert after.trouble() == ""


class Terminator(optuna.pruners.BasePruner):
    """Ends a study at its third trial, or raises."""

    def __init__(self, error: Exception | None = None):
        self.error = error
        self.asked: list[int] = []

    def prune(self, study, trial):
        return False

    def should_terminate(self, study: optuna.Study) -> bool:
        self.asked.append(len(study.trials))
        if self.error:
            raise self.error
        return len(study.trials) >= 3


def test_the_terminator_is_asked_after_trials_and_ends_the_study(monkeypatch):
    monkeypatch.setattr(after_trials, "TERMINATOR_SHARE", 0.0)
    study, terminator = study_of(1.0, 2.0, 3.0), Terminator()
    after = run(study, [0, 1, 2], terminator=terminator, terminator_name="Optuna's terminator (emmr)")
    assert terminator.asked == [3], "once for three trials that had ended already"
    (stop,) = after.stop_requests()
    assert (stop.how, stop.code) == ("finish", 0)
    assert stop.reason == "Optuna's terminator (emmr) found with 3 complete trials that nothing is left to gain"


def test_a_terminator_is_asked_before_a_resumed_study_goes_on():
    after = AfterTrials(study_of(1.0, 2.0, 3.0), [], Terminator(), "the terminator")
    after.judge()
    assert len(after.stop_requests()) == 1
    fresh = AfterTrials(study_of(), [], Terminator(), "the terminator")
    fresh.judge()
    assert fresh.stop_requests() == []


@pytest.mark.parametrize("only", [True, False])
def test_a_terminator_that_fails_ends_the_study_only_where_nothing_else_does(only):
    terminator = Terminator(ValueError("no scores"))
    after = run(study_of(1.0), [0], terminator=terminator, terminator_name="the terminator", only_terminator=only)
    (warning,) = after.warnings
    assert warning.startswith("the terminator failed with 1 complete trials: ValueError: no scores (")
    stops = after.stop_requests()
    assert [stop.code for stop in stops] == ([1] if only else [])
    assert all("and nothing else ends this study" in stop.reason for stop in stops)


def test_names_are_shown_short():
    assert short("/home/me/study/notify.py:post") == "notify.py:post"
    assert short("package.module:post") == "package.module:post"
