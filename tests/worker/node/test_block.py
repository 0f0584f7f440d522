"""A worker in a block: attempts yield before the block ends, and are declined where they do not fit."""

from __future__ import annotations

import json
import os
import signal
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from pilotune.pipeline.trial.files import TrialFiles
from pilotune.pipeline.trial.protocol import AttemptSpec, ObjectiveSpec, Started
from pilotune.pipeline.trial.report_log import as_ranges
from pilotune.pipeline.worker import run_attempt as runner
from pilotune.pipeline.worker.node.block import YieldTimer, busy_workers, decline, margin_of, mark_ending, marked_busy
from pilotune.pipeline.worker.node.fencing import enter
from pilotune.pipeline.worker.run_attempt import run_attempt

from ...support.trial_driver import Driver, make_spec

OBJECTIVE = """
    import time
    import pilotune

    def steps(trial):
        done = trial.checkpoint_dir / "done"
        for step in range(int(done.read_text()) if done.exists() else 0, 10_000):
            time.sleep(0.1)
            done.write_text(str(step + 1))
            trial.report(1.0, step)
        return 1.0

    def patient(trial):
        while not trial.should_yield():
            time.sleep(0.02)
        raise pilotune.TrialYield(f"{trial.time_left > 0}")

    def unchanged(trial):
        trial.suggest_float("x", 0, 2)
        for step in range(10_000):
            time.sleep(0.05)
            trial.report(1.0, step)
            if trial.should_prune():
                raise pilotune.TrialPruned

    def at_once(trial):
        return -1.0 if trial.time_left is None else trial.time_left
"""

both = pytest.mark.parametrize("isolate", [True, False], ids=["isolated", "inline"])


@pytest.fixture
def objective(tmp_path):
    (tmp_path / "ours.py").write_text(textwrap.dedent(OBJECTIVE))
    return lambda function: ObjectiveSpec(file=str(tmp_path / "ours.py"), function=function)


@pytest.fixture
def block(monkeypatch):
    """Set a block that ends in so many seconds and was given ``walltime``."""

    def begin(left, walltime=None):
        monkeypatch.setenv("PILOTUNE_BLOCK_END", str(time.time() + left))
        if walltime is not None:
            monkeypatch.setenv("PILOTUNE_WALLTIME", str(walltime))

    monkeypatch.setattr(runner, "DECLINED_PAUSE", 0.0)
    return begin


@pytest.fixture
def node_dir(tmp_path, monkeypatch):
    folder = tmp_path / "node"
    folder.mkdir()
    monkeypatch.setenv("PILOTUNE_NODE_DIR", str(folder))
    monkeypatch.setattr(
        "pilotune.pipeline.worker.node.block.process_control", lambda *_: None
    )  # in the tests' own process
    return folder


def attempt(tmp_path, **fields):
    return AttemptSpec.from_dict(make_spec(tmp_path, ObjectiveSpec(), **fields))


# -- yielding ---------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("function", ["steps", "patient", "unchanged"])
def test_an_attempt_yields_before_its_block_ends(tmp_path, objective, block, isolate, function):
    block(600, 600)
    spec = make_spec(tmp_path, objective(function), isolate=isolate, yield_before=598.5)
    outcome = run_attempt(spec)
    assert outcome["kind"] == "yielded"
    assert outcome["finished"] < float(os.environ["PILOTUNE_BLOCK_END"]) - 500


def test_the_next_attempt_goes_on_from_the_checkpoint(tmp_path, objective, block):
    steps = []
    for number in (1, 2):
        block(600)
        spec = make_spec(tmp_path, objective("steps"), yield_before=598.5, attempt=number, reported=as_ranges(steps))
        outcome = run_attempt(spec)
        assert outcome["kind"] == "yielded"
        steps += [step for step, _ in outcome["reports"]]
    assert steps == list(range(len(steps)))


def test_a_command_is_sent_sigterm_before_its_block_ends(tmp_path, block):
    block(600)
    program = """
        import os, pathlib, signal, sys, time
        def save(*_):
            pathlib.Path(os.environ["PILOTUNE_CHECKPOINT_DIR"], "saved").write_text(os.environ["PILOTUNE_BLOCK_END"])
            sys.exit(0)
        signal.signal(signal.SIGTERM, save)
        time.sleep(600)
    """
    command = ObjectiveSpec(command=[sys.executable, "-c", textwrap.dedent(program)])
    outcome = run_attempt(make_spec(tmp_path, command, yield_before=598.5))
    assert (outcome["kind"], outcome["reason"]) == ("yielded", "the command was asked to yield")
    assert (tmp_path / "trials/7/checkpoint/saved").read_text() == os.environ["PILOTUNE_BLOCK_END"]


def test_an_attempt_is_asked_early_enough_for_one_more_report(tmp_path, block, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def after(seconds):
        clock[0] += seconds
        return timer

    monkeypatch.setenv("PILOTUNE_BLOCK_END", "2000")
    timer = YieldTimer(attempt(tmp_path, yield_before=100.0))
    after(50).start()
    after(200).on_report()  # the first interval includes set-up, but is the only one so far
    assert not after(449).due()
    assert after(1).due()
    after(-450).on_report()
    timer.on_report()
    after(30).on_report()
    after(10).on_report()
    assert not after(900 - 30 - 291).due()
    assert after(1).due()


def test_without_a_block_end_an_attempt_has_all_the_time(tmp_path, objective, monkeypatch):
    monkeypatch.delenv("PILOTUNE_BLOCK_END", raising=False)
    assert not YieldTimer(attempt(tmp_path)).due()
    assert run_attempt(make_spec(tmp_path, objective("at_once")))["values"] == [-1.0]


@both
def test_a_trial_sees_the_time_left(tmp_path, objective, block, isolate):
    block(5000, 6000)
    (left,) = run_attempt(make_spec(tmp_path, objective("at_once"), isolate=isolate))["values"]
    assert 4000 < left <= 5000


@pytest.mark.parametrize(
    ("walltime", "yield_before", "seconds"),
    [(None, None, 60.0), (86_400, None, 60.0), (60, None, 6.0), (60, 20.0, 20.0), (86_400, 0.0, 0.0)],
)
def test_the_yield_margin_is_a_minute_or_a_tenth_of_a_short_block(tmp_path, block, walltime, yield_before, seconds):
    block(1000, walltime)
    assert margin_of(attempt(tmp_path, yield_before=yield_before)) == seconds


# -- declining --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "walltime", "expected", "declined"),
    [
        (1000, 3600, None, ""),
        (50, 3600, None, "its block ends in 50 s"),
        (-5, 3600, None, "its block ends in 0 s"),
        (1000, 3600, 900, ""),
        (1000, 3600, 1100, "its block ends in 1000 s, and it is expected to run 1100 s"),
        (1000, 3600, 3600, ""),  # fits in no block
        (1000, None, 1100, ""),  # perhaps in none
    ],
)
def test_an_attempt_is_begun_where_it_fits_or_no_block_is_better(tmp_path, block, left, walltime, expected, declined):
    block(left + 0.4, walltime)
    assert decline(attempt(tmp_path, expected=expected)) == declined


def test_a_declined_attempt_leaves_no_trace_and_can_be_submitted_again(tmp_path, objective, block):
    driver = Driver(tmp_path)
    try:
        spec = make_spec(tmp_path, objective("at_once"), channel=driver.address)
        block(3, 3600)
        outcome = run_attempt(spec)
        assert (outcome["kind"], outcome["token"], outcome["reason"]) == ("declined", "7.1.c", "its block ends in 3 s")
        assert not (tmp_path / "trials").exists()
        block(3000, 3600)
        assert run_attempt(spec)["kind"] == "complete"
        assert len(driver.of(Started)) == 1
    finally:
        driver.close()


def test_a_worker_that_declined_pauses_before_it_takes_more(tmp_path, objective, block, monkeypatch):
    block(3, 3600)
    paused = []
    monkeypatch.setattr(runner, "DECLINED_PAUSE", 7.0)
    monkeypatch.setattr(time, "sleep", paused.append)
    run_attempt(make_spec(tmp_path, objective("at_once")))
    assert paused == [7.0]


# -- the node's folder ------------------------------------------------------------------------------------------------


def test_a_worker_is_busy_while_it_runs_an_attempt(tmp_path, objective, node_dir):
    seen = []

    def look(message):
        seen.append(busy_workers(node_dir))

    driver = Driver(tmp_path, look)
    try:
        run_attempt(make_spec(tmp_path, objective("at_once"), channel=driver.address))
    finally:
        driver.close()
    assert seen == [[os.getpid()]]
    assert busy_workers(node_dir) == []


def test_a_worker_keeps_its_mark_between_attempts(node_dir):
    for _ in range(2):
        with marked_busy():
            (mark,) = node_dir.iterdir()
            assert busy_workers(node_dir) == [os.getpid()]
            mark.write_text("mine")
        assert busy_workers(node_dir) == []
        (mark,) = node_dir.iterdir()
        assert mark.read_text() == "mine"


def test_no_attempt_begins_on_a_node_that_is_ending(tmp_path, objective, node_dir, monkeypatch):
    monkeypatch.setattr(runner, "DECLINED_PAUSE", 0.0)
    mark_ending(node_dir)
    outcome = run_attempt(make_spec(tmp_path, objective("at_once")))
    assert (outcome["kind"], outcome["reason"]) == ("declined", "its block is being ended")
    assert busy_workers(node_dir) == []


def test_a_busy_worker_yields_at_sigterm_and_tells_its_outcome_before_it_is_free(tmp_path, objective, node_dir):
    outcome_file = tmp_path / "trials/7/outcome-1.json"
    told = []

    def end_it():
        while not busy_workers(node_dir):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        while busy_workers(node_dir):
            time.sleep(0.001)
        told.append(json.loads(outcome_file.read_text())["kind"])

    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as on a node with an agent
    thread = threading.Thread(target=end_it)
    thread.start()
    try:
        outcome = run_attempt(make_spec(tmp_path, objective("steps")))
    finally:
        thread.join()
        signal.signal(signal.SIGTERM, before)
    assert (outcome["kind"], told) == ("yielded", ["yielded"])


def test_a_folder_that_is_gone_does_not_matter(tmp_path, objective, node_dir):
    node_dir.rmdir()
    assert run_attempt(make_spec(tmp_path, objective("at_once")))["kind"] == "complete"


def test_an_outcome_tells_whether_a_yielding_attempt_has_saved_anything(tmp_path: Path) -> None:
    files = TrialFiles(tmp_path / "1")
    files.create(1)
    enter(files, 1)
    now = time.time()
    assert not files.saved_since(1, now)
    (files.checkpoint / "epochs").mkdir()
    (files.checkpoint / "epochs" / "9.pt").write_text("weights")
    assert files.saved_since(1, now)
    assert not files.saved_since(1, now + 60.0)
