"""An objective in several ranks on one node: on real processes, with a driver that is a thread."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from pilotune.pipeline.trial.files import TrialFiles
from pilotune.pipeline.trial.protocol import Message, Report, Stop, Suggest
from pilotune.pipeline.worker.node.affinity import share
from pilotune.pipeline.worker.node.posix import process_start
from pilotune.pipeline.worker.process import forked
from pilotune.pipeline.worker.run_attempt import run_attempt

from ...support.local import until
from ...support.rank_objectives import FAILURES, HOST, STEPS, begun, living, told
from ...support.trial_driver import go_on, verdict_at

# -- what a rank has --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [1, 3])
def test_every_rank_knows_which_it_is_and_the_result_is_that_of_rank_0(
    spec_of: Any, files: TrialFiles, ranks: int
) -> None:
    outcome = run_attempt(spec_of("looks", ranks))
    assert (outcome["kind"], outcome["values"], outcome["user_attrs"]) == ("complete", [1.0], {"by": 0, "more": 0})
    assert outcome["memory"] > ranks * 5_000_000, "each rank is a process of Python"
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
