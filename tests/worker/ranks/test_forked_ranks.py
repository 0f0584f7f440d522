"""An objective in several ranks on one node: on real processes, with a driver that is a thread."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pilotune.pipeline.trial.files import TrialFiles
from pilotune.pipeline.trial.protocol import Message, ObjectiveSpec, Report, Stop, Suggest
from pilotune.pipeline.worker.node.affinity import share
from pilotune.pipeline.worker.node.posix import process_start
from pilotune.pipeline.worker.process import forked
from pilotune.pipeline.worker.run_attempt import run_attempt

from ...support.local import until
from ...support.trial_driver import Driver, go_on, make_spec, verdict_at

HOST = socket.gethostname()
STEPS = "every rank calls trial.report with the same steps"

OBJECTIVE = """
    import os, signal, sys, time

    VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "OMP_NUM_THREADS")

    def tells(trial, what):
        (trial.checkpoint_dir / f"{trial.rank}").write_text(str(what))

    def looks(trial):
        seen = [os.environ[name] for name in VARIABLES]
        tells(trial, [trial.rank, trial.world_size, *seen, int(os.environ["MASTER_PORT"]) > 0, trial.params])
        print(f"out of {trial.rank}")
        print(f"err of {trial.rank}", file=sys.stderr)
        trial.set_user_attr("by", trial.rank)
        return {"value": 1.0 + trial.rank, "more": trial.rank}

    def bound(trial):
        names = ("GOMP_CPU_AFFINITY", "KMP_AFFINITY", "OMP_NUM_THREADS")
        tells(trial, [sorted(os.sched_getaffinity(0)), *map(os.environ.get, names)])
        return 1.0

    def has_daemon(trial):
        made = trial.checkpoint_dir / "made"
        while trial.rank == 1:
            if made.exists():
                return
            time.sleep(0.01)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(60)
            os._exit(0)
        os.wait()
        made.touch()
        others = [0, 0]
        while len(others) > 1:  # until rank 1 has ended
            time.sleep(0.05)
            children = open(f"/proc/{os.getppid()}/task/{os.getppid()}/children").read().split()
            others = [pid for pid in children if int(pid) != os.getpid()]
        tells(trial, others[0])
        return 1.0

    def other_values(trial):
        return 2.5 if trial.rank == 0 else "nothing that a study could keep"

    def trains(trial):
        for step in range(1, 6):
            try:
                trial.report(step + 100 * trial.rank, step)
            except BaseException as error:
                tells(trial, f"{type(error).__name__} at {step}")
                raise
        return 0.0

    def alone(trial):
        for step in range(1, 6):
            if trial.rank == 0:
                trial.report(step, step)
        while trial.rank and step:
            time.sleep(0.01)

    def suggests(trial):
        lr = trial.suggest_float("lr", 0.25, 1.0)
        kind = trial.suggest_categorical("kind", ["a", "b"])
        trial.report(lr, 1)
        tells(trial, [lr, kind, trial.should_prune(), trial.study.study_name, trial.should_yield()])
        return lr

    def raises(trial):
        if trial.rank == 1:
            raise ValueError("no data")
        time.sleep(60)

    def exits(trial):
        if trial.rank == 1:
            sys.exit(3)
        time.sleep(60)

    def vanishes(trial):
        if trial.rank == 1:
            os._exit(0)
        time.sleep(60)

    def dies(trial):
        if trial.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)

    def first_dies(trial):
        if trial.rank == 0:
            os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(60)

    def eats(trial):
        kept = [bytearray(10_000_000) for _ in range(100)] if trial.rank == 1 else 0
        time.sleep(60)

    def prints(trial):
        if trial.rank == 1:
            print("x" * 1_000_000, flush=True)
        time.sleep(60)

    def hangs(trial):
        time.sleep(600)

    def one_goes_on(trial):
        if trial.rank == 1:
            time.sleep(600)
        return 1.0

    def one_reports(trial):
        if trial.rank == 1:
            trial.report(0.5, 5)
        return 1.0

    def one_reports_and_all_wait(trial):
        if trial.rank == 1:
            trial.report(0.5, 5)
        time.sleep(600)

    def other_steps(trial):
        trial.report(0.5, 6 - trial.rank)
        return 1.0

    def other_names(trial):
        return trial.suggest_float("lr" if trial.rank else "units", 0.25, 1.0)

    def all_raise(trial):
        raise RuntimeError("the same")

    def signals(trial):
        if trial.rank == 1 and trial.attempt == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        trains(trial)

    def resumes(trial):
        saved = trial.checkpoint_dir / f"shard-{trial.rank}"
        if trial.attempt > 1:
            return float(saved.read_text()) + trial.attempt
        saved.write_text(str(trial.rank))
        (trial.checkpoint_dir / f"begun-{trial.rank}").touch()
        time.sleep(60)
"""

WORKER = """
import json, sys
from pilotune.pipeline.worker.run_attempt import run_attempt
print(json.dumps(run_attempt(json.load(sys.stdin))), flush=True)
"""


@pytest.fixture
def files(tmp_path: Path) -> TrialFiles:
    return TrialFiles(tmp_path / "trials" / "7")


@pytest.fixture
def spec_of(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    path = tmp_path / "ours.py"
    path.write_text(textwrap.dedent(OBJECTIVE))

    def make(function: str, ranks: int = 2, **changes: Any) -> dict[str, Any]:
        objective = ObjectiveSpec(file=str(path), function=function)
        fields = {"ranked": True, "ranks": ranks, "ranks_per_node": ranks, "cores": 2 * ranks, **changes}
        return make_spec(tmp_path, objective, **fields)

    return make


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    """Starts a driver that answers by a function."""
    started: list[Driver] = []

    def start(answer: Callable[[Message], Any] = go_on) -> Driver:
        started.append(Driver(tmp_path, answer))
        return started[-1]

    yield start
    for each in started:
        each.close()


def told(files: TrialFiles) -> dict[str, str]:
    """What each rank has told."""
    return {path.name: path.read_text() for path in files.checkpoint_of(1).iterdir()}


def living(files: TrialFiles, attempt: int = 1) -> list[int]:
    """The processes of an attempt that run, from their notes."""
    found = []
    for number, path in files.processes():
        pid, start = map(int, path.read_text().split()[-2:])
        if number == attempt and process_start(pid) == start:
            found.append(pid)
    return found


# -- what a rank has --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [1, 3])
def test_every_rank_knows_which_it_is_and_the_result_is_that_of_rank_0(
    spec_of: Any, files: TrialFiles, ranks: int
) -> None:
    outcome = run_attempt(spec_of("looks", ranks))
    assert (outcome["kind"], outcome["values"], outcome["user_attrs"]) == ("complete", [1.0], {"by": 0, "more": 0})
    assert told(files) == {
        str(rank): str([rank, ranks, f"{rank}", f"{rank}", f"{ranks}", f"{ranks}", "127.0.0.1", "2", True, {"x": 1.5}])
        for rank in range(ranks)
    }
    assert (files.stdout(1).read_text(), files.stderr(1).read_text()) == ("out of 0\n", "err of 0\n")
    others = files.rank_output(1, HOST)
    lines = sorted(others.read_text().split("\n")) if others.exists() else [""]
    assert lines == ["", *(f"{what} of {rank}" for what in ("err", "out") for rank in range(1, ranks))]
    assert living(files) == []


def test_the_end_of_one_rank_ends_no_daemon_of_another(spec_of: Any, files: TrialFiles) -> None:
    assert run_attempt(spec_of("has_daemon", 2))["kind"] == "complete"
    pid = int(told(files)["0"])
    until(lambda: process_start(pid) is None, "the daemon is gone")


def test_ranks_of_a_worker_that_is_bound_to_cores_share_them(
    spec_of: Any, files: TrialFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    cores = sorted(os.sched_getaffinity(0))
    listed = ",".join(map(str, cores))
    monkeypatch.setenv("GOMP_CPU_AFFINITY", listed)
    monkeypatch.setenv("KMP_AFFINITY", f"explicit,proclist=[{listed}]")
    assert run_attempt(spec_of("bound", 2, cores=2))["kind"] == "complete"
    threads = str(max(1, len(cores) // 2))
    assert told(files) == {str(rank): str([share(cores, rank, 2), None, None, threads]) for rank in (0, 1)}


def test_what_other_ranks_return_is_nobodys_business(spec_of: Any) -> None:
    outcome = run_attempt(spec_of("other_values"))
    assert (outcome["kind"], outcome["values"]) == ("complete", [2.5])


def test_every_rank_is_suggested_the_same_and_asks_once(spec_of: Any, files: TrialFiles, driver: Any) -> None:
    started = driver()
    outcome = run_attempt(
        spec_of("suggests", 3, params={}, defines_space=True, space_names=[], channel=started.address)
    )
    assert outcome["params"] == {"lr": 0.25, "kind": "a"}
    assert told(files) == dict.fromkeys(["0", "1", "2"], str([0.25, "a", False, "test", False]))
    assert [message.name for message in started.of(Suggest)] == ["lr", "kind"]


# -- reports ----------------------------------------------------------------------------------------------------------


def test_rank_0_reports_for_all(spec_of: Any, files: TrialFiles, driver: Any) -> None:
    started = driver()
    outcome = run_attempt(spec_of("trains", 4, channel=started.address))
    expected = [[step, float(step)] for step in range(1, 6)]
    assert (outcome["kind"], outcome["reports"]) == ("complete", expected)
    assert [list(each) for message in started.of(Report) for each in message.reports] == expected
    assert len(files.report_log(1).read_text().splitlines()) == 5


def test_all_ranks_are_pruned_at_the_same_step(spec_of: Any, files: TrialFiles, driver: Any) -> None:
    outcome = run_attempt(spec_of("trains", 4, channel=driver(verdict_at(3, "prune")).address))
    assert (outcome["kind"], outcome["reason"]) == ("pruned", "pruned at step 3")
    assert told(files) == dict.fromkeys("0123", "TrialPruned at 3")


def test_all_ranks_yield_at_the_same_step(spec_of: Any, files: TrialFiles, driver: Any) -> None:
    def answer(message: Message) -> Any:
        replies = go_on(message)
        return [Stop(message.token, "yield"), replies] if isinstance(message, Report) else replies

    outcome = run_attempt(spec_of("trains", 4, channel=driver(answer).address))
    assert outcome["kind"] == "yielded"
    assert len(set(told(files).values())) == 1
    assert told(files)["3"].startswith("TrialYield at ")


def test_sigterm_to_one_rank_lets_all_yield(spec_of: Any, files: TrialFiles, driver: Any) -> None:
    outcome = run_attempt(spec_of("signals", 3, channel=driver().address))
    assert outcome["kind"] == "yielded"
    assert len(set(told(files).values())) == 1


def test_where_rank_0_alone_reports_a_verdict_ends_the_others(spec_of: Any, driver: Any) -> None:
    outcome = run_attempt(spec_of("alone", 3, grace=0.3, channel=driver(verdict_at(2, "prune")).address))
    assert (outcome["kind"], outcome["reason"]) == ("pruned", "pruned at step 2")


# -- failures ---------------------------------------------------------------------------------------------------------

FAILURES = [
    ("raises", "exception", "rank 1 on node {host}: ValueError: no data"),
    ("exits", "exit", "rank 1 on node {host}: the objective called sys.exit(3)"),
    ("vanishes", "exit", "rank 1 on node {host}: the process exited with 0 before it returned a value"),
    ("dies", "signal", "rank 1 on node {host}: killed by SIGKILL (signal 9), perhaps by the system because memory was "
     "short"),
    ("first_dies", "signal", "rank 0 on node {host}: killed by SIGSEGV (signal 11)"),
    ("other_steps", "exception", "rank 1 on node {host} reported step 5, but rank 0 reported step 6; {steps}"),
    ("one_reports", "exception", "rank 1 on node {host} reported step 5, but rank 0 has ended without that; {steps}"),
    ("no_such_function", "setup", "{host}: "),
]  # fmt: skip


@pytest.mark.parametrize(("function", "failure", "reason"), FAILURES, ids=[each[0] for each in FAILURES])
def test_a_failure_of_one_rank_ends_all_and_names_it(
    spec_of: Any, files: TrialFiles, driver: Any, function: str, failure: str, reason: str
) -> None:
    outcome = run_attempt(spec_of(function, 2, grace=0.5, channel=driver().address))
    assert (outcome["kind"], outcome["failure"]) == ("failed", failure)
    assert reason.format(host=HOST, steps=STEPS) in outcome["reason"]
    assert living(files) == []


def test_the_traceback_of_the_rank_is_kept(spec_of: Any, files: TrialFiles) -> None:
    outcome = run_attempt(spec_of("raises", grace=0.5))
    assert 'raise ValueError("no data")' in outcome["traceback"]
    assert 'raise ValueError("no data")' in files.rank_output(1, HOST).read_text()


def test_ranks_that_suggest_different_parameters_fail_the_trial(spec_of: Any, driver: Any) -> None:
    fields = {"params": {}, "defines_space": True, "space_names": [], "channel": driver().address}
    outcome = run_attempt(spec_of("other_names", **fields))
    assert outcome["reason"] == (
        f"rank 1 on node {HOST} suggested 'lr', but rank 0 suggested 'units'; every rank suggests the same parameters "
        "in the same order, or rank 0 alone does"
    )


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("one_goes_on", "rank 1 on node {host} had not ended 0.3 s after rank 0 (trial.rank_timeout)"),
        ("one_reports_and_all_wait", "rank 1 on node {host} reported step 5, and rank 0 did not within 0.3 s "
         "(trial.rank_timeout); {steps}"),
    ],
)  # fmt: skip
def test_ranks_do_not_wait_for_each_other_for_ever(spec_of: Any, files: TrialFiles, function: str, reason: str) -> None:
    outcome = run_attempt(spec_of(function, grace=0.5, rank_timeout=0.3))
    assert (outcome["kind"], outcome["reason"]) == ("failed", reason.format(host=HOST, steps=STEPS))
    assert living(files) == []


def test_the_timeout_ends_all_ranks(spec_of: Any, files: TrialFiles) -> None:
    outcome = run_attempt(spec_of("hangs", 3, grace=0.5, timeout=0.5))
    assert (outcome["kind"], outcome["failure"]) == ("failed", "timeout")
    assert living(files) == []


def test_a_rank_has_its_share_of_the_memory(spec_of: Any) -> None:
    outcome = run_attempt(spec_of("eats", 2, grace=0.5, memory=1_600_000_000))
    assert (outcome["kind"], outcome["failure"]) == ("failed", "memory")
    assert outcome["reason"].startswith(f"rank 1 on node {HOST}: MemoryError")


def test_what_the_other_ranks_print_is_limited_too(spec_of: Any, files: TrialFiles) -> None:
    outcome = run_attempt(spec_of("prints", grace=0.5, max_output=100_000))
    assert (outcome["kind"], outcome["failure"]) == ("failed", "output")
    assert outcome["reason"].startswith(f"it wrote more than 100000 bytes to ranks-1-{HOST}.txt")
    assert files.rank_output(1, HOST).stat().st_size < 101_000


# -- what is left behind ----------------------------------------------------------------------------------------------


@pytest.fixture
def worker() -> Iterator[Callable[[dict[str, Any]], subprocess.Popen[str]]]:
    """Starts a worker process for an attempt; it prints the outcome."""
    started: list[subprocess.Popen[str]] = []

    def start(spec: dict[str, Any]) -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        process = subprocess.Popen([sys.executable, "-c", WORKER], **pipes)  # type: ignore[call-overload]
        started.append(process)
        process.stdin.write(json.dumps(spec))
        process.stdin.close()
        process.stdin = None
        return process  # type: ignore[no-any-return]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def begun(files: TrialFiles, ranks: int) -> bool:
    return len(list(files.directory.glob("checkpoint-1/begun-*"))) == ranks


def test_a_worker_that_is_killed_takes_all_ranks_with_it(spec_of: Any, files: TrialFiles, worker: Any) -> None:
    process = worker(spec_of("resumes", 3))
    until(lambda: begun(files, 3), "the ranks run")
    assert len(living(files)) == 3
    process.kill()
    until(lambda: living(files) == [], "the ranks are gone")


def test_the_next_attempt_ends_all_ranks_of_the_last_one_and_goes_on_from_what_they_saved(
    spec_of: Any, files: TrialFiles, worker: Any
) -> None:
    worker(spec_of("resumes", 3))
    until(lambda: begun(files, 3), "the ranks run")
    outcome = run_attempt(spec_of("resumes", 3, attempt=2, token="7.2.c"))
    assert (outcome["kind"], outcome["values"]) == ("complete", [2.0])
    assert living(files) == []
    assert [path.name for _, path in files.processes()] == ["process-2", "process-2-1", "process-2-2"]


def test_a_fork_server_that_is_killed_ends_the_attempt_and_the_next_one_runs(
    spec_of: Any, files: TrialFiles, driver: Any
) -> None:
    def answer(message: Message) -> Any:
        if isinstance(message, Report) and forked._server is not None:
            os.kill(forked._server.process.pid, signal.SIGKILL)
        return go_on(message)

    outcome = run_attempt(spec_of("trains", 3, channel=driver(answer).address))
    assert (outcome["kind"], outcome["failure"]) == ("failed", "lost")
    assert "the fork server was killed by SIGKILL (signal 9) and took the trial with it" in outcome["reason"]
    assert living(files) == []
    assert run_attempt(spec_of("other_values", number=8))["kind"] == "complete"


def test_the_fork_server_is_used_again(spec_of: Any) -> None:
    assert run_attempt(spec_of("other_values"))["kind"] == "complete"
    server = forked._server
    assert run_attempt(spec_of("other_values", number=8))["kind"] == "complete"
    assert forked._server is server
