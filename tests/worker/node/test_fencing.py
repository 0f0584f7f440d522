"""Only a trial's newest attempt can write its checkpoint, even if older ones still run or begin late."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pilotune.pipeline.trial.files import TrialFiles
from pilotune.pipeline.trial.protocol import ObjectiveSpec
from pilotune.pipeline.worker.node.fencing import TakenOver, enter, taken_over
from pilotune.pipeline.worker.node.posix import process_start
from pilotune.pipeline.worker.run_attempt import run_attempt

from ...support.local import until
from ...support.trial_driver import Driver, make_spec

WORKER = """
import json, sys
from pilotune.pipeline.worker.run_attempt import run_attempt
print(json.dumps(run_attempt(json.load(sys.stdin))))
"""

OBJECTIVE = """
    import os
    import subprocess
    import time

    def lasting(trial):
        if trial.attempt > 1:
            return trial.attempt + len((trial.checkpoint_dir / "pid").read_text().split())
        descriptor = os.open(trial.checkpoint_dir / "pid", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, f"{os.getpid()} ".encode())
        time.sleep(60)

    def writing(trial):
        path = trial.checkpoint_dir / f"by-{trial.attempt}"
        while True:
            path.write_text("more")
            time.sleep(0.01)

    def deaf(trial):
        (trial.checkpoint_dir / "begun").touch()
        time.sleep(15)
        os.makedirs(trial.checkpoint_dir, exist_ok=True)
        (trial.checkpoint_dir / "survived").touch()

    def patient(trial):
        (trial.checkpoint_dir / "begun").touch()
        while not trial.should_yield():
            time.sleep(0.02)
        raise __import__("pilotune").TrialYield("saved")

    def repeated(trial):
        assert not list(trial.checkpoint_dir.iterdir())
        assert os.environ["PILOTUNE_REPEAT"] == str(trial.repeat)
        return 100.0 * trial.repeat + trial.rng_seed

    def counts(trial):
        (trial.checkpoint_dir / "ran").touch()
        return 5.0
"""


@pytest.fixture
def files(tmp_path: Path) -> TrialFiles:
    made = TrialFiles(tmp_path / "trials" / "7")
    made.directory.mkdir(parents=True)
    return made


@pytest.fixture
def objective(tmp_path: Path) -> Callable[[str], ObjectiveSpec]:
    path = tmp_path / "fenced.py"
    path.write_text(textwrap.dedent(OBJECTIVE))
    return lambda function: ObjectiveSpec(file=str(path), function=function)


@pytest.fixture
def worker() -> Iterator[Callable[[dict[str, Any]], subprocess.Popen[str]]]:
    """Starts a worker process for an attempt; it prints the outcome."""
    started: list[subprocess.Popen[str]] = []

    def start(spec: dict[str, Any]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdin
        process.stdin.write(json.dumps(spec))
        process.stdin.close()
        process.stdin = None
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def attempt(folder: Path, number: int, objective: ObjectiveSpec, **changes: Any) -> dict[str, Any]:
    return make_spec(folder, objective, attempt=number, token=f"7.{number}.c", **changes)


def folders(files: TrialFiles) -> list[str]:
    return sorted(path.name for path in files.directory.glob("checkpoint-*"))


# -- the folder -------------------------------------------------------------------------------------------------------


def test_the_folder_goes_from_attempt_to_attempt_and_the_link_shows_the_newest(files: TrialFiles) -> None:
    enter(files, 1)
    (files.checkpoint_of(1) / "state").write_text("one")
    enter(files, 3)  # attempt 2 never began
    assert folders(files) == ["checkpoint-3"]
    assert (files.checkpoint / "state").read_text() == "one"
    assert os.readlink(files.checkpoint) == "checkpoint-3"
    assert files.holds_checkpoint()
    enter(files, 3)
    assert folders(files) == ["checkpoint-3"]


def test_a_repetition_begins_with_an_empty_folder_and_leaves_the_earlier_one(files: TrialFiles) -> None:
    enter(files, 2)
    (files.checkpoint_of(2) / "state").write_text("first")
    enter(files, 3, since=3)
    assert folders(files) == ["checkpoint-2", "checkpoint-3"]
    assert (list(files.checkpoint.iterdir()), os.readlink(files.checkpoint)) == ([], "checkpoint-3")
    (files.checkpoint_of(3) / "state").write_text("second")
    enter(files, 4, since=3)
    assert folders(files) == ["checkpoint-2", "checkpoint-4"]
    assert (files.checkpoint / "state").read_text() == "second"
    with pytest.raises(TakenOver):
        enter(files, 3, since=3)


def test_a_repetition_whose_first_attempt_never_began_takes_nothing_of_the_earlier_one(files: TrialFiles) -> None:
    enter(files, 1)
    (files.checkpoint_of(1) / "state").write_text("first")
    enter(files, 3, since=2)
    assert list(files.checkpoint.iterdir()) == []


def test_an_attempt_whose_worker_died_before_it_began_leaves_the_folder_to_the_next(files: TrialFiles) -> None:
    enter(files, 1)
    (files.checkpoint_of(1) / "state").write_text("one")
    files.checkpoint_of(1).rename(files.checkpoint_of(2))  # and nothing after that
    assert taken_over(files, 1)
    enter(files, 3)
    assert (files.checkpoint_of(3) / "state").read_text() == "one"


def test_a_folder_without_a_number_is_taken_over(files: TrialFiles) -> None:
    files.checkpoint.mkdir()
    (files.checkpoint / "state").write_text("old")
    assert files.holds_checkpoint()
    enter(files, 4)
    assert (files.checkpoint_of(4) / "state").read_text() == (files.checkpoint / "state").read_text() == "old"
    assert files.checkpoint.is_symlink()


def test_a_late_start_of_an_old_attempt_takes_nothing(files: TrialFiles) -> None:
    enter(files, 2)
    (files.checkpoint_of(2) / "state").write_text("two")
    with pytest.raises(TakenOver, match="attempt 2 of the trial has begun, so attempt 1 no longer counts"):
        enter(files, 1)
    assert folders(files) == ["checkpoint-2"]
    assert (files.checkpoint / "state").read_text() == "two"


def test_a_folder_that_an_old_attempt_makes_again_does_not_count(files: TrialFiles) -> None:
    enter(files, 2)
    (files.checkpoint_of(2) / "state").write_text("two")
    files.checkpoint_of(1).mkdir()
    (files.checkpoint_of(1) / "state").write_text("one")
    assert not taken_over(files, 2)
    enter(files, 3)
    assert (files.checkpoint_of(3) / "state").read_text() == "two"


def test_of_many_that_begin_at_once_the_newest_has_what_was_saved(tmp_path: Path) -> None:
    for turn in range(40):
        files = TrialFiles(tmp_path / str(turn))
        files.checkpoint_of(1).mkdir(parents=True)
        (files.checkpoint_of(1) / "state").write_text("one")
        numbers = [2, 3, 4, 5, 6]
        Random(turn).shuffle(numbers)
        ready, refused = threading.Barrier(len(numbers)), []

        def begin(number: int, files: TrialFiles = files, ready: Any = ready, refused: Any = refused) -> None:
            ready.wait()
            try:
                enter(files, number)
            except TakenOver:
                refused.append(number)

        threads = [threading.Thread(target=begin, args=(number,)) for number in numbers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 6 not in refused
        assert (files.checkpoint_of(6) / "state").read_text() == "one"
        assert folders(files) == ["checkpoint-6"]
        assert os.readlink(files.checkpoint) == "checkpoint-6"
        assert not list(files.directory.glob(".checkpoint*"))


def test_a_trial_whose_folder_is_gone_was_not_taken_over(files: TrialFiles) -> None:
    enter(files, 1)
    files.checkpoint.unlink()
    files.checkpoint_of(1).rmdir()
    assert not taken_over(files, 1)
    files.directory.rmdir()
    assert not taken_over(files, 1)
    assert not files.holds_checkpoint()


# -- attempts that still run ------------------------------------------------------------------------------------------


def running(files: TrialFiles, pattern: str = "*") -> list[int]:
    """The processes of the trial's attempts that run, from their notes."""
    try:
        notes = [path.read_text().split()[-2:] for path in files.directory.glob(f"process-{pattern}")]
        return [int(pid) for pid, start in notes if process_start(int(pid)) == int(start)]
    except (OSError, ValueError):
        return []


@pytest.mark.parametrize("form", ["process", "inline", "command"])
def test_on_the_same_host_the_old_attempts_process_is_gone_before_the_new_one_begins(
    tmp_path: Path, files: TrialFiles, objective: Any, worker: Any, form: str
) -> None:
    spec = objective("lasting")
    if form == "command":
        script = "cat {checkpoint_dir}/pid && echo '{{\"value\": 3}}' >> {reports_file}"
        first = "printf '%s ' $$ >> {checkpoint_dir}/pid; sleep 60"
        spec = ObjectiveSpec(command=f"if [ {{attempt}} -gt 1 ]; then {script}; else {first}; fi", shell=True)
    isolate = form != "inline"
    old = worker(attempt(tmp_path, 1, spec, isolate=isolate))
    saved = files.checkpoint / "pid"
    pid = int(until(lambda: saved.exists() and saved.read_text().strip(), "the old attempt runs"))
    assert running(files, "1") == [pid]

    new = json.loads(worker(attempt(tmp_path, 2, spec, isolate=isolate)).communicate(timeout=60)[0])
    assert (new["kind"], new["values"]) == ("complete", [3.0])
    assert process_start(pid) is None
    assert running(files) == []
    if isolate:
        outcome = json.loads(old.communicate(timeout=60)[0])
        assert (outcome["kind"], outcome["attempt"]) == ("stopped", 1)
        assert "attempt 2 of the trial has begun" in outcome["reason"]


def test_a_worker_that_has_run_an_attempt_itself_lives_on(tmp_path: Path, files: TrialFiles, objective: Any) -> None:
    assert run_attempt(attempt(tmp_path, 1, objective("counts"), isolate=False))["kind"] == "complete"
    assert files.process(1).read_text() == ""


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def test_a_process_of_somebody_else_that_has_the_number_now_is_left_alone(
    tmp_path: Path, files: TrialFiles, objective: Any, stranger: Any
) -> None:
    own = process_start(stranger.pid)
    enter(files, 1)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    place = f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    files.process(1).write_text(f"{place}\n{stranger.pid} {own - 1}\n")
    files.process(2).write_text(f"elsewhere\n{stranger.pid} {own}\n")
    files.process(3).write_text("rubbish")
    files.process(4).write_text(f"{place}\n{os.getpid()} {process_start(os.getpid())}\n")
    assert run_attempt(attempt(tmp_path, 5, objective("counts")))["kind"] == "complete"
    assert stranger.poll() is None
    files.process(5).write_text(f"{place}\n{stranger.pid} {own}\n")
    assert run_attempt(attempt(tmp_path, 6, objective("counts")))["kind"] == "complete"
    assert stranger.wait(10) == -9


def test_what_an_old_attempt_writes_by_path_reaches_no_checkpoint(
    tmp_path: Path, files: TrialFiles, objective: Any, worker: Any
) -> None:
    """As on another host, where the new attempt cannot kill the old process."""
    old = worker(attempt(tmp_path, 1, objective("writing")))
    until(lambda: (files.checkpoint / "by-1").exists(), "the old attempt writes")
    enter(files, 2)
    (files.checkpoint_of(2) / "by-1").unlink()
    outcome = json.loads(old.communicate(timeout=60)[0])
    assert (outcome["kind"], outcome["reason"][:40]) == ("stopped", "attempt 2 of the trial has begun, so att")
    assert list(files.checkpoint_of(2).iterdir()) == []


@pytest.mark.parametrize("number", [1, 2])
def test_an_attempt_begins_only_where_no_later_one_has(
    tmp_path: Path, files: TrialFiles, objective: Any, number: int
) -> None:
    enter(files, 2)
    outcome = run_attempt(attempt(tmp_path, number, objective("counts")))
    assert outcome["kind"] == {1: "stopped", 2: "complete"}[number]
    assert (files.checkpoint / "ran").exists() == (number == 2)
    assert json.loads(files.outcome(number).read_text())["kind"] == outcome["kind"]


@pytest.fixture
def lonely(tmp_path: Path, files: TrialFiles, objective: Any, worker: Any, monkeypatch: Any) -> Any:
    """An attempt that runs when its driver dies, of an objective."""
    monkeypatch.setenv("PILOTUNE_DRIVER_TIMEOUT", "600")

    def start(function: str, **changes: Any) -> subprocess.Popen[str]:
        driver = Driver(tmp_path)
        try:
            changes = {"timeout": 40, "channel": driver.address, **changes}
            process = worker(attempt(tmp_path, 1, objective(function), **changes))
            until(lambda: (files.checkpoint / "begun").exists(), "the attempt runs")
        finally:
            driver.close()
        return process

    return start


def test_without_a_driver_a_worker_sees_that_its_trial_was_taken_over(files: TrialFiles, lonely: Any) -> None:
    process = lonely("deaf")
    enter(files, 2)
    outcome = json.loads(process.communicate(timeout=60)[0])
    assert (outcome["kind"], outcome["reason"][:32]) == ("stopped", "attempt 2 of the trial has begun")
    assert not list(files.directory.glob("*/survived")), "it was ended only when it had ended by itself"


@pytest.mark.parametrize("isolate", [True, False])
def test_a_driver_whose_host_refuses_connections_is_dead(lonely: Any, isolate: bool) -> None:
    outcome = json.loads(lonely("patient", isolate=isolate).communicate(timeout=60)[0])
    assert outcome["kind"] == "yielded"


# -- attempts that have ended after all -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "runs"),
    [
        ({}, False),
        ({"kind": "pruned", "values": None}, False),
        ({"kind": "failed", "values": None}, True),
        ({"kind": "yielded", "values": None}, True),
        ({"values": [1.0, 2.0]}, True),
        ({"values": [float("nan")]}, True),
        ({"values": ["much"]}, True),
        ({"number": 8}, True),
        ({"attempt": 2}, True),
        ({"token": None, "values": {}}, True),
    ],
)
def test_the_result_of_an_attempt_that_nobody_collected_is_not_computed_again(
    tmp_path: Path, files: TrialFiles, objective: Any, changes: dict[str, Any], runs: bool
) -> None:
    first = run_attempt(attempt(tmp_path, 1, objective("counts")))
    (files.checkpoint / "ran").unlink()
    left = {**first, "values": [7.5], "reports": [[1, 0.5]], "leaving": True, **changes}
    files.outcome(1).write_text(json.dumps(left))
    second = run_attempt(attempt(tmp_path, 2, objective("counts")))
    assert (files.checkpoint / "ran").exists() == runs
    assert (second["token"], second["attempt"], second["leaving"]) == ("7.2.c", 2, False)
    if runs:
        assert second["values"] == [5.0]
    else:
        assert [second[name] for name in ("kind", "values", "reports")] == [
            left[name] for name in ("kind", "values", "reports")
        ]
        assert second["reason"] == "attempt 1 had ended when attempt 2 began; this is its result"
        assert json.loads(files.outcome(2).read_text()) == second


def test_a_result_of_an_attempt_that_another_had_superseded_counts_no_more(
    tmp_path: Path, files: TrialFiles, objective: Any
) -> None:
    first = run_attempt(attempt(tmp_path, 1, objective("counts")))
    files.outcome(1).unlink()
    files.create(2)  # it is lost later on
    files.outcome(1).write_text(json.dumps({**first, "values": [7.5]}))
    assert run_attempt(attempt(tmp_path, 3, objective("counts")))["values"] == [5.0]


def test_attempts_that_were_never_begun_lie_between(tmp_path: Path, files: TrialFiles, objective: Any) -> None:
    run_attempt(attempt(tmp_path, 1, objective("counts")))
    (files.checkpoint / "ran").unlink()
    assert run_attempt(attempt(tmp_path, 4, objective("counts")))["reason"].startswith("attempt 1 had ended")
    assert not (files.checkpoint / "ran").exists()


def test_a_repetition_computes_its_own_result_and_goes_on_from_nothing(
    tmp_path: Path, files: TrialFiles, objective: Any
) -> None:
    run_attempt(attempt(tmp_path, 1, objective("counts")))
    second = run_attempt(attempt(tmp_path, 2, objective("repeated"), repeat=1, since=2, seed=8))
    assert (second["kind"], second["values"], second["reason"]) == ("complete", [108.0], "")
    third = run_attempt(attempt(tmp_path, 3, objective("repeated"), repeat=1, since=2, seed=8))
    assert third["reason"].startswith("attempt 2 had ended"), "it belongs to the same repetition"
