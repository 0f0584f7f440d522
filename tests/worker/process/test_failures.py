"""Every kind of failure ends only its own attempt, with a reason; on real processes."""

from __future__ import annotations

import json
import os
import signal
import textwrap
import time
from pathlib import Path

import pytest

from pilotune.pipeline.trial.files import TrialFiles
from pilotune.pipeline.trial.protocol import ObjectiveSpec
from pilotune.pipeline.worker.node.output_files import LONGEST_NOTE, cut
from pilotune.pipeline.worker.process import forked
from pilotune.pipeline.worker.run_attempt import run_attempt

from ...support.trial_driver import make_spec

OBJECTIVE = """
    import os, signal, subprocess, sys, time
    from pathlib import Path

    def fine(trial):
        print("printed")
        return trial.params["x"]

    def raises(trial):
        raise RuntimeError("the data are gone\\nsecond line")

    def segfault(trial):
        os.kill(os.getpid(), signal.SIGSEGV)

    def exits(trial):
        os._exit(3)

    def sys_exits(trial):
        sys.exit(4)

    def eats(trial):
        kept = []
        while True:
            kept.append(bytearray(10_000_000))

    def killed(trial):
        os.kill(os.getpid(), signal.SIGKILL)

    def hangs(trial):
        time.sleep(600)

    def hangs_ignoring(trial):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)

    def prints(trial):
        os.write(1, b"head\\n" + b"x" * 1_500_000 + b"tail\\n")  # at once: it ends before its output is looked at
        return 1.0

    def prints_for_ever(trial):
        while True:
            print("x" * 100_000)

    def leaves_children(trial):
        for session in (False, True):
            child = subprocess.Popen(["sleep", "600"], start_new_session=session)
            with open(trial.checkpoint_dir / "pids", "a") as file:
                file.write(f"{child.pid}\\n")
        return 1.0

    def kills_server(trial):
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)
"""


@pytest.fixture
def objective(tmp_path):
    path = tmp_path / "study" / "failing.py"
    path.parent.mkdir()
    path.write_text(textwrap.dedent(OBJECTIVE))
    return lambda function: ObjectiveSpec(file=str(path), function=function, folder=str(path.parent))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_a_good_attempt_is_complete_and_its_outcome_lies_on_disk(tmp_path, objective):
    outcome = run_attempt(make_spec(tmp_path, objective("fine")))
    assert (outcome["kind"], outcome["values"], outcome["failure"]) == ("complete", [1.5], "")
    files = TrialFiles(tmp_path / "trials" / "7")
    assert json.loads(files.outcome(1).read_text()) == outcome
    assert files.stdout(1).read_text() == "printed\n"


@pytest.mark.parametrize(
    ("function", "failure", "reason"),
    [
        ("segfault", "signal", "killed by SIGSEGV (signal 11)"),
        ("exits", "exit", "the process exited with 3 before it returned a value"),
        ("sys_exits", "exit", "the objective called sys.exit(4)"),
        ("raises", "exception", "RuntimeError: the data are gone"),
        ("killed", "signal", "killed by SIGKILL (signal 9), perhaps by the system because memory was short"),
    ],
)
def test_a_crash_is_named(tmp_path, objective, function, failure, reason):
    outcome = run_attempt(make_spec(tmp_path, objective(function)))
    assert (outcome["kind"], outcome["failure"], outcome["reason"]) == ("failed", failure, reason)


def test_the_traceback_starts_in_the_objective(tmp_path, objective):
    outcome = run_attempt(make_spec(tmp_path, objective("raises")))
    first = outcome["traceback"].splitlines()[1]
    assert "failing.py" in first
    assert "in raises" in first
    assert outcome["traceback"] in TrialFiles(tmp_path / "trials" / "7").stderr(1).read_text()


def test_memory_without_end_meets_the_limit(tmp_path, objective):
    outcome = run_attempt(make_spec(tmp_path, objective("eats"), memory=300_000_000))
    assert (outcome["failure"], outcome["reason"]) == ("memory", "MemoryError")


def test_a_kill_under_a_memory_limit_is_taken_as_one_for_memory(tmp_path, objective):
    assert run_attempt(make_spec(tmp_path, objective("killed"), memory=2**33))["failure"] == "memory"


@pytest.mark.parametrize("function", ["hangs", "hangs_ignoring"])
def test_a_hang_ends_at_the_timeout(tmp_path, objective, function):
    outcome = run_attempt(make_spec(tmp_path, objective(function), timeout=0.3, grace=0.3))
    assert (outcome["failure"], outcome["reason"]) == ("timeout", "it ran longer than its timeout of 0.3 s")


@pytest.mark.parametrize("function", ["prints", "prints_for_ever"])
def test_too_much_output_fails_and_is_cut(tmp_path, objective, function):
    outcome = run_attempt(make_spec(tmp_path, objective(function), max_output=1_000_000))
    assert outcome["failure"] == "output"
    assert "stdout-1.txt" in outcome["reason"]
    text = TrialFiles(tmp_path / "trials" / "7").stdout(1).read_text()
    assert len(text) < 1_000_100
    assert "bytes of output were cut out here" in text
    if function == "prints":
        assert text.startswith("head\n")
        assert text.endswith("tail\n")


@pytest.mark.parametrize("over", [1, 10, 100, 5000])
def test_output_that_is_hardly_too_long_is_cut_as_well(tmp_path, over):
    file = tmp_path / "stdout"
    file.write_bytes(b"head\n" + b"x" * (1000 + over - 10) + b"tail\n")
    cut(file, 1000)
    text = file.read_text()
    assert len(text) <= 1000 + LONGEST_NOTE
    assert "bytes of output were cut out here" in text
    assert (text[:5], text[-5:]) == ("head\n", "tail\n")


def test_what_an_attempt_leaves_running_is_killed(tmp_path, objective):
    outcome = run_attempt(make_spec(tmp_path, objective("leaves_children")))
    assert outcome["kind"] == "complete"
    pids = [int(p) for p in (tmp_path / "trials" / "7" / "checkpoint" / "pids").read_text().split()]
    assert len(pids) == 2
    assert not any(alive(pid) for pid in pids)


def test_the_fork_server_is_kept_between_attempts_and_replaced_when_it_died(tmp_path, objective):
    run_attempt(make_spec(tmp_path, objective("fine")))
    first = forked._server.process.pid
    run_attempt(make_spec(tmp_path, objective("fine"), number=8))
    assert forked._server.process.pid == first
    os.kill(first, signal.SIGKILL)
    assert wait_until(lambda: not alive(first))
    assert run_attempt(make_spec(tmp_path, objective("fine"), number=9))["kind"] == "complete"
    assert forked._server.process.pid != first


def test_a_fork_server_killed_under_a_trial_loses_that_attempt_alone(tmp_path, objective):
    outcome = run_attempt(make_spec(tmp_path, objective("kills_server")))
    assert (outcome["kind"], outcome["failure"]) == ("failed", "lost")
    assert "SIGKILL" in outcome["reason"]
    assert run_attempt(make_spec(tmp_path, objective("fine"), number=8))["kind"] == "complete"


def test_a_changed_objective_file_is_imported_anew(tmp_path, objective):
    assert run_attempt(make_spec(tmp_path, objective("fine")))["values"] == [1.5]
    path = Path(objective("fine").file)
    path.write_text("def fine(trial):\n    return -2\n")
    os.utime(path, ns=(0, 0))
    assert run_attempt(make_spec(tmp_path, objective("fine"), number=8))["values"] == [-2.0]


def test_a_trial_folder_that_cannot_be_made_is_an_outcome_and_no_exception(tmp_path, objective):
    (tmp_path / "trials").write_text("a file where a folder should be")
    outcome = run_attempt(make_spec(tmp_path, objective("fine")))
    assert (outcome["kind"], outcome["failure"]) == ("failed", "setup")
    assert "could not be written" in outcome["reason"]


def test_a_description_of_another_version_is_an_outcome_and_no_exception():
    outcome = run_attempt({"token": "1.1.c"})
    assert (outcome["token"], outcome["kind"], outcome["failure"]) == ("1.1.c", "failed", "setup")


@pytest.mark.parametrize("preload", [True, False])
def test_an_import_that_kills_the_process_is_named(tmp_path, preload):
    path = tmp_path / "bad.py"
    path.write_text("import os\nos._exit(5)\n")
    spec = make_spec(tmp_path, ObjectiveSpec(file=str(path), function="f"), preload=preload)
    outcome = run_attempt(spec)
    assert outcome["failure"] == "exit"
    assert "exited with 5" in outcome["reason"]


def test_the_child_dies_with_its_worker(tmp_path, objective):
    spec = make_spec(tmp_path, ObjectiveSpec(file=objective("fine").file, function="hangs"))
    worker = os.fork()
    if worker == 0:
        os.setsid()
        try:
            run_attempt(spec)
        finally:
            os._exit(1)

    def workers() -> list[int]:
        """Processes that work in the attempt's folder."""
        folder = str(tmp_path / "trials" / "7")
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.readlink(entry / "cwd").startswith(folder):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    assert wait_until(lambda: bool(workers()))
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    assert wait_until(lambda: not workers())
