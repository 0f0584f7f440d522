"""A slow driver holds up no trial: reports made meanwhile are sent in one message, and none is lost."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path

import pytest

from pilotune.pipeline.trial.protocol import ObjectiveSpec, Report, Verdict
from pilotune.pipeline.worker import dialogue
from pilotune.pipeline.worker.run_attempt import run_attempt

from ...support.trial_driver import Driver, go_on, make_spec

OBJECTIVE = """
    import signal
    import time
    from pathlib import Path

    HERE = Path(__file__).parent

    def catches_up(trial):
        for step in range(1, 6):
            trial.report(step / 10, step)
        (HERE / "said").touch()
        while not (HERE / "heard").exists():
            trial.should_yield()
            time.sleep(0.01)
        for _ in range(100):  # the answer is on its way
            trial.should_yield()
            time.sleep(0.01)
        trial.report(0.6, 6)
        return 0.5

    def goes_on(trial):
        for step in range(1, 10_000):
            trial.report(0.5, step)
            if step == 5:
                (HERE / "said").touch()
            time.sleep(0.01)
        return 0.5

    def interrupted(trial):
        def stop(*_):
            raise TimeoutError

        before = signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        try:
            trial.report(0.1, 1)
        except TimeoutError:
            pass
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        trial.report(0.2, 2)
        return 0.5

    def ends(trial):
        for step in range(1, 4):
            trial.report(step / 10, step)
        return 0.5
"""

both = pytest.mark.parametrize("isolate", [True, False], ids=["isolated", "inline"])


@pytest.fixture
def attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs a function of OBJECTIVE with a driver that answers so; returns the driver and the outcome."""
    monkeypatch.setattr(dialogue, "PATIENCE", 0.05)
    (tmp_path / "ours.py").write_text(textwrap.dedent(OBJECTIVE))

    def run(function: str, answer, isolate: bool):
        driver = Driver(tmp_path, answer)
        try:
            spec = ObjectiveSpec(file=str(tmp_path / "ours.py"), function=function)
            return driver, run_attempt(make_spec(tmp_path, spec, channel=driver.address, isolate=isolate))
        finally:
            driver.close()

    return run


def late(folder: Path, stop: str = ""):
    """Answers the first report only after the fifth was made."""

    def answer(message):
        if isinstance(message, Report) and message.step == 1:
            while not (folder / "said").exists():
                time.sleep(0.01)
            return Verdict(message.token, message.request, stop)
        if isinstance(message, Report):
            (folder / "heard").touch()
        return go_on(message)

    return answer


@both
def test_reports_made_while_the_driver_is_silent_come_in_one_message(tmp_path: Path, attempt, isolate: bool) -> None:
    driver, outcome = attempt("catches_up", late(tmp_path), isolate)
    assert outcome["kind"] == "complete", outcome["reason"]
    first, second, third = driver.of(Report)
    assert [step for step, _ in first.reports] == [1]
    assert [list(report) for report in second.reports] == [[step, step / 10] for step in range(2, 6)]
    assert [step for step, _ in third.reports] == [6]
    assert [step for step, _ in outcome["reports"]] == [1, 2, 3, 4, 5, 6]


@both
def test_a_verdict_that_comes_late_is_heard_at_the_next_report(tmp_path: Path, attempt, isolate: bool) -> None:
    driver, outcome = attempt("goes_on", late(tmp_path, "prune"), isolate)
    assert outcome["kind"] == "pruned", outcome["reason"]
    assert len(outcome["reports"]) >= 5, "it went on meanwhile"
    sent = [step for message in driver.of(Report) for step, _ in message.reports]
    assert sent == list(range(1, len(sent) + 1)), "in their order, each once"


@both
def test_a_late_request_to_yield_is_heard_too(tmp_path: Path, attempt, isolate: bool) -> None:
    _, outcome = attempt("goes_on", late(tmp_path, "yield"), isolate)
    assert outcome["kind"] == "yielded", outcome["reason"]
    assert len(outcome["reports"]) >= 5


@both
def test_without_any_answer_the_outcome_brings_all_reports(attempt, isolate: bool) -> None:
    driver, outcome = attempt("ends", lambda message: None, isolate)
    assert (outcome["kind"], outcome["reports"]) == ("complete", [[1, 0.1], [2, 0.2], [3, 0.3]])
    assert len(driver.of(Report)) == 1


@both
def test_a_report_that_a_signal_handler_interrupts_counts_and_so_does_the_next(attempt, isolate: bool) -> None:
    _, outcome = attempt("interrupted", lambda message: None, isolate)
    assert (outcome["kind"], outcome["reports"]) == ("complete", [[1, 0.1], [2, 0.2]]), outcome["reason"]
