"""Ranks that a launcher starts: a small one of these tests, which starts them on this host, as mpiexec does."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from pilotune.pipeline.trial.files import TrialFiles
from pilotune.pipeline.trial.protocol import Message, Report, Stop
from pilotune.pipeline.worker.node.posix import parents
from pilotune.pipeline.worker.ranks import launched
from pilotune.pipeline.worker.run_attempt import run_attempt

from ...support.local import until
from ...support.rank_objectives import FAILURES, HOST, STEPS, begun, living, told
from ...support.trial_driver import go_on, stop_at_start, verdict_at

LAUNCHER = """
    import os, signal, subprocess, sys, time
    ranks, program = int(sys.argv[2]), sys.argv[3:]
    children = []
    def end(*_):
        for child in children:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
        os._exit(143)
    signal.signal(signal.SIGTERM, end)
    for rank in range(ranks):
        if f"without {rank}" in os.environ.get("LAUNCHER", ""):
            program = ["sleep", "600"]
        number = {"NO_RANK": "x"} if "no number" in os.environ.get("LAUNCHER", "") else {"PMI_RANK": str(rank)}
        if "all the same" in os.environ.get("LAUNCHER", ""):
            number = {"PMI_RANK": "0"}
        children.append(subprocess.Popen(program, env={**os.environ, **number}, start_new_session=True))
    print("launcher:", *sys.argv[1:3], flush=True)
    while None in [child.poll() for child in children]:
        if any(child.poll() for child in children):  # one that has failed ends all
            end()
        time.sleep(0.02)
"""
"""Kills its ranks on SIGTERM and when one fails, and leaves them running when it is killed."""


@pytest.fixture(autouse=True)
def mpiexec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "mpiexec"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{textwrap.dedent(LAUNCHER)}")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


OFTEN = ("dies", "other_steps")
"""Failures that are tested often; the others differ in nothing that a launcher has to do with."""

SOME_FAILURES = [
    pytest.param(*each, id=each[0], marks=() if each[0] in OFTEN else pytest.mark.exhaustive) for each in FAILURES
]


def run(spec_of: Any, function: str, ranks: int = 2, **changes: Any) -> dict[str, Any]:
    return run_attempt(spec_of(function, ranks, launcher="mpiexec", **changes))


def left(files: TrialFiles) -> list[int]:
    """Processes of an attempt that run, among them its launcher, and the programs of its ranks."""
    return sorted({*living(files), *(pid for pid in parents() if str(files.meeting(1)) in words_of(pid))})


def words_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


# -- as ranks that are forked -----------------------------------------------------------------------------------------


def test_every_rank_knows_which_it_is_and_the_result_is_that_of_rank_0(spec_of: Any, files: TrialFiles) -> None:
    outcome = run(spec_of, "looks", 3)
    assert (outcome["kind"], outcome["values"], outcome["user_attrs"]) == ("complete", [1.0], {"by": 0, "more": 0})
    assert outcome["memory"] > 3 * 5_000_000, "each rank is a process of Python"
    assert told(files) == {
        str(rank): str([rank, 3, f"{rank}", f"{rank}", "3", "3", "127.0.0.1", "2", True, {"x": 1.5}])
        for rank in range(3)
    }
    assert (files.stdout(1).read_text(), files.stderr(1).read_text()) == ("out of 0\n", "err of 0\n")
    lines = sorted(files.rank_output(1, HOST).read_text().splitlines())
    assert lines == ["err of 1", "err of 2", "out of 1", "out of 2"]
    assert files.launcher_output(1).read_text() == "launcher: -n 3\n"
    assert left(files) == []
    assert not files.meeting(1).exists()


def test_all_ranks_are_pruned_at_the_same_step(spec_of: Any, files: TrialFiles, driver: Any) -> None:
    outcome = run(spec_of, "trains", 3, channel=driver(verdict_at(3, "prune")).address)
    assert (outcome["kind"], outcome["reason"]) == ("pruned", "pruned at step 3")
    assert [step for step, _ in outcome["reports"]] == [1, 2, 3]
    assert told(files) == dict.fromkeys("012", "TrialPruned at 3")


def test_all_ranks_yield_at_the_same_step(spec_of: Any, files: TrialFiles, driver: Any) -> None:
    def answer(message: Message) -> Any:
        replies = go_on(message)
        return [Stop(message.token, "yield"), replies] if isinstance(message, Report) else replies

    outcome = run(spec_of, "trains", 3, channel=driver(answer).address)
    assert outcome["kind"] == "yielded"
    assert len(set(told(files).values())) == 1


def test_a_yield_that_is_asked_for_before_the_ranks_are_there_is_their_first_verdict(
    spec_of: Any, files: TrialFiles, driver: Any
) -> None:
    outcome = run(spec_of, "trains", channel=driver(stop_at_start("yield")).address)
    assert outcome["kind"] == "yielded"
    assert told(files) == dict.fromkeys("01", "TrialYield at 1")


def test_every_rank_is_suggested_the_same(spec_of: Any, files: TrialFiles, driver: Any) -> None:
    fields = {"params": {}, "defines_space": True, "space_names": [], "channel": driver().address}
    outcome = run(spec_of, "suggests", **fields)
    assert outcome["params"] == {"lr": 0.25, "kind": "a"}
    assert told(files) == dict.fromkeys("01", str([0.25, "a", False, "test", False]))


@pytest.mark.parametrize(("function", "failure", "reason"), SOME_FAILURES)
def test_a_failure_of_one_rank_ends_all_and_names_it(
    spec_of: Any, files: TrialFiles, driver: Any, function: str, failure: str, reason: str
) -> None:
    outcome = run(spec_of, function, grace=0.5, channel=driver().address)
    assert (outcome["kind"], outcome["failure"]) == ("failed", failure)
    assert reason.format(host=HOST, steps=STEPS) in outcome["reason"]
    assert left(files) == []


def test_the_timeout_ends_all_ranks(spec_of: Any, files: TrialFiles) -> None:
    outcome = run(spec_of, "hangs", grace=0.5, timeout=0.5)
    assert (outcome["kind"], outcome["failure"]) == ("failed", "timeout")
    assert left(files) == []


# -- ranks that do not come -------------------------------------------------------------------------------------------


def test_a_launcher_that_fails_is_quoted(tmp_path: Path, spec_of: Any, files: TrialFiles) -> None:
    (tmp_path / "bin" / "mpiexec").write_text("#!/bin/sh\necho mpiexec: no slots >&2\nexit 7\n")
    outcome = run(spec_of, "looks", 3)
    assert (outcome["kind"], outcome["failure"]) == ("failed", "setup")
    assert outcome["reason"] == (
        f"rank 0 on node {HOST} and 2 further ranks did not connect to the worker, and the launcher mpiexec exited "
        "with 7: mpiexec: no slots"
    )
    assert not files.meeting(1).exists()


def test_a_launcher_that_is_missing_is_named(
    tmp_path: Path, spec_of: Any, files: TrialFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = run(spec_of, "looks")
    assert outcome["reason"] == "the launcher of the ranks cannot be started: mpiexec: No such file or directory"
    assert not files.meeting(1).exists()


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("no number", "this launcher does not tell ranks their number: OMPI_COMM_WORLD_RANK, PMIX_RANK"),
        ("all the same", "the worker refused it: rank 0 is connected already; does the launcher tell each rank its"),
    ],
)
def test_ranks_without_a_number_of_their_own_say_so(
    spec_of: Any, files: TrialFiles, monkeypatch: pytest.MonkeyPatch, how: str, reason: str
) -> None:
    monkeypatch.setenv("LAUNCHER", how)
    outcome = run(spec_of, "looks")
    assert (outcome["kind"], outcome["failure"]) == ("failed", "setup")
    assert reason in outcome["reason"]
    assert left(files) == []


def test_a_rank_that_never_comes_is_named(spec_of: Any, files: TrialFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAUNCHER", "without 1")
    monkeypatch.setattr(launched, "NEXT_RANK_LIMIT", 0.3)
    outcome = run(spec_of, "looks")
    assert outcome["reason"] == (
        f"rank 1 on node {HOST} did not connect to the worker within 0.3 s, and its launcher mpiexec has not ended: "
        "launcher: -n 2"
    )
    assert left(files) == []


def test_ranks_that_are_not_on_their_nodes_are_refused(
    tmp_path: Path, spec_of: Any, files: TrialFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARSL_MPI_PREFIX", "mpiexec -n 2")
    monkeypatch.setenv("PARSL_MPI_NODELIST", f"{HOST},nowhere")
    outcome = run(spec_of, "looks", 2, nodes=2, ranks_per_node=1)
    assert outcome["reason"] == (
        f"the launcher mpiexec has started 2 ranks on node {HOST}, and the trial has 2 nodes with 1 rank each"
    )
    assert left(files) == []


# -- signals, and what is left behind ---------------------------------------------------------------------------------


def test_an_attempt_that_is_stopped_before_its_ranks_are_there_leaves_nothing(
    spec_of: Any, files: TrialFiles, driver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUNCHER", "without 1")
    outcome = run(spec_of, "hangs", grace=0.5, channel=driver(stop_at_start("kill")).address)
    assert outcome["kind"] == "stopped"
    assert left(files) == []


def kill_at_report(files: TrialFiles, which: Any) -> Any:
    """A driver's answers: at the first report it kills a process of the attempt."""

    def answer(message: Message) -> Any:
        if isinstance(message, Report):
            os.kill(which(files), signal.SIGKILL)
        return go_on(message)

    return answer


def launcher_of(files: TrialFiles) -> int:
    return next(int(path.read_text().split()[-2]) for _, path in files.processes() if path.name == "process-1-2")


def program_of_rank_1(files: TrialFiles) -> int:
    return parents()[int(files.process(1, 1).read_text().split()[-2])]


@pytest.mark.parametrize(
    ("which", "reason"),
    [
        (launcher_of, "the launcher mpiexec was killed by SIGKILL (signal 9)"),
        (program_of_rank_1, "the connection to it broke, and how it ended is not known"),
    ],
)
def test_a_kill_of_a_part_of_the_launch_ends_all_and_counts_as_a_loss(
    spec_of: Any, files: TrialFiles, driver: Any, which: Any, reason: str
) -> None:
    outcome = run(spec_of, "reports_and_waits", grace=0.5, channel=driver(kill_at_report(files, which)).address)
    assert (outcome["kind"], outcome["failure"]) == ("failed", "lost")
    assert reason in outcome["reason"]
    until(lambda: left(files) == [], "nothing is left")


def test_a_worker_that_is_killed_takes_all_ranks_and_the_launcher_with_it(
    spec_of: Any, files: TrialFiles, worker: Any
) -> None:
    process = worker(spec_of("resumes", 3, launcher="mpiexec"))
    until(lambda: begun(files, 3), "the ranks run")
    assert len(living(files)) == 4
    process.kill()
    until(lambda: left(files) == [], "the ranks are gone")


def test_the_next_attempt_ends_all_ranks_of_the_last_one_and_goes_on_from_what_they_saved(
    spec_of: Any, files: TrialFiles, worker: Any
) -> None:
    worker(spec_of("resumes", 2, launcher="mpiexec"))
    until(lambda: begun(files, 2), "the ranks run")
    outcome = run(spec_of, "resumes", 2, attempt=2, token="7.2.c")
    assert (outcome["kind"], outcome["values"]) == ("complete", [2.0])
    until(lambda: left(files) == [], "nothing of the first attempt is left")
