"""Second opinions on failures, quarantined hosts, and trials that kill their process or worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from pilotune.pipeline.campaign.events import Capacity, Lost, Quarantine, StopRequested, Submit
from pilotune.pipeline.campaign.quarantine import IN_A_ROW, row_by_chance
from pilotune.pipeline.driver.stall_report import waiting
from pilotune.pipeline.driver.status import Status, snapshot
from pilotune.pipeline.record import Orphan
from pilotune.pipeline.trial.protocol import AttemptSpec
from tests.support.campaign_bench import Bench, benches, over, started


class Cluster:
    """A campaign with workers on several hosts; the test decides which host runs which trial."""

    def __init__(self, bench: Bench, *hosts: str):
        self.bench, self.hosts = bench, frozenset(hosts)
        self.quarantines: list[Quarantine] = []
        self.waiting: list[AttemptSpec] = []
        self.resize(1)

    def resize(self, workers: int, *hosts: str) -> None:
        """Change the number of workers, and the hosts where any are given."""
        self.hosts = frozenset(hosts) or self.hosts
        self.turn(Capacity(workers, hosts=self.hosts))

    def turn(self, *events: Any) -> None:
        actions = self.bench.turn(*events)
        self.waiting += [action.spec for action in actions if isinstance(action, Submit)]
        self.quarantines += [action for action in actions if isinstance(action, Quarantine)]

    def next(self) -> AttemptSpec:
        return self.waiting.pop(0)

    def run(self, host: str, kind: str = "complete", spec: AttemptSpec | None = None, **fields: Any) -> AttemptSpec:
        """Let the next attempt, or this one, begin and end on a host."""
        spec = spec or self.next()
        usual = {"failure": "exception", "reason": f"it raised on {host}"} if kind == "failed" else {}
        self.turn(started(spec, host), over(spec, kind, host=host, **{**usual, **fields}))
        return spec

    def again(self, spec: AttemptSpec) -> AttemptSpec:
        """Pop the next attempt of the same trial."""
        (found,) = [each for each in self.waiting if each.number == spec.number]
        self.waiting.remove(found)
        return found

    def refute(self, bad: str, good: str) -> None:
        """Let the next trial fail on one host and succeed on another."""
        self.run(good, spec=self.again(self.run(bad, "failed")))

    def confirm(self, one: str, other: str) -> None:
        """Let the next trial fail on both hosts."""
        self.run(other, "failed", spec=self.again(self.run(one, "failed")))

    def trial(self, number: int) -> Any:
        return self.bench.trials()[number]


@pytest.fixture
def cluster(tmp_path: Path) -> Callable[..., Cluster]:
    make = benches(tmp_path)
    return lambda *hosts, campaign="c1", **rules: Cluster(make(campaign, **{"trials": 100, **rules}), *hosts)


# Second opinions


def test_on_a_single_host_a_failure_counts_at_once(cluster) -> None:
    only = cluster("a")
    only.run("a", "failed")
    assert (only.trial(0).state, only.trial(0).user_attrs["pilotune:attempts"]) == (TrialState.FAIL, 1)


def test_a_trial_that_fails_on_two_hosts_has_failed(cluster) -> None:
    two = cluster("a", "b")
    second = two.again(two.run("a", "failed"))
    assert (two.trial(0).state, second.attempt, second.avoid) == (TrialState.RUNNING, 2, ["a"])
    two.run("b", "failed", spec=second)
    trial = two.trial(0)
    assert (trial.state, trial.user_attrs["pilotune:reason"]) == (TrialState.FAIL, "it raised on b")
    assert trial.user_attrs["pilotune:attempts"] == 2


@pytest.mark.parametrize("failure", ["exception", "signal", "exit", "setup", "memory"])
def test_a_failure_that_may_be_the_nodes_fault_is_tried_elsewhere(cluster, failure: str) -> None:
    two = cluster("a", "b")
    two.run("b", spec=two.again(two.run("a", "failed", failure=failure)))
    assert two.trial(0).state == TrialState.COMPLETE


@pytest.mark.parametrize("failure", ["value", "output", "timeout"])
def test_a_failure_that_is_the_trials_own_fault_counts_at_once(cluster, failure: str) -> None:
    two = cluster("a", "b")
    two.run("a", "failed", failure=failure)
    assert two.trial(0).user_attrs["pilotune:attempts"] == 1


def test_a_timeout_is_in_doubt_where_the_trial_before_it_failed_too(cluster) -> None:
    two = cluster("a", "b")
    two.refute("a", "b")
    again = two.again(two.run("a", "failed", failure="timeout"))
    assert again.avoid == ["a"]


def test_the_second_opinion_of_a_doubtful_host_deserves_a_third(cluster) -> None:
    three = cluster("a", "b", "c")
    three.resize(2)
    one, other = three.next(), three.next()
    three.run("a", "failed", spec=one)
    second = three.again(one)
    three.run("b", "failed", spec=other)
    assert three.again(other).avoid == ["a", "b"], "a failed the last trial too"
    three.run("b", "failed", spec=second)
    third = three.again(one)
    assert (third.attempt, third.avoid) == (3, ["a", "b"])
    three.run("c", spec=third)
    assert three.trial(0).state == TrialState.COMPLETE


def test_when_three_in_a_row_were_confirmed_only_hosts_with_two_failures_are_doubted(cluster) -> None:
    two = cluster("a", "b")
    two.run("a"), two.run("b")
    for _ in range(3):
        two.confirm("a", "b")
    first = two.run("a", "failed")
    assert two.trial(first.number).state == TrialState.FAIL
    second = two.run("a", "failed")
    two.run("b", spec=two.again(second))
    third = two.again(two.run("b", "failed"))
    assert third.avoid == ["b"], "a refuted failure makes all failures suspicious again"


def test_where_only_avoided_hosts_are_left_the_trial_runs_there(cluster) -> None:
    two = cluster("a", "b")
    spec = two.again(two.run("a", "failed"))
    two.resize(1, "a")
    two.turn(over(spec, "declined", host="a"))
    again = two.again(spec)
    assert (again.attempt, again.avoid) == (2, [])
    two.run("a", "failed", spec=again)
    assert two.trial(0).state == TrialState.FAIL


def test_a_trial_that_waits_for_another_host_is_reported(cluster) -> None:
    two = cluster("a", "b")
    spec = two.again(two.run("a", "failed"))
    for _ in range(70):
        two.turn(over(spec, "declined", host="a"))
        spec = next((each for each in two.waiting if each.number == 0), spec)
    assert "failed on a, and are to be tried on another host" in waiting(two.bench.campaign)


def test_a_campaign_that_ends_asks_for_no_second_opinions(cluster) -> None:
    two = cluster("a", "b")
    spec = two.next()
    two.turn(started(spec, "a"), StopRequested("finish"))
    two.turn(over(spec, "failed", host="a", failure="exception"))
    assert two.trial(0).state == TrialState.FAIL


def test_the_recorded_attempt_number_never_goes_back(cluster) -> None:
    two = cluster("a", "b")
    spec = two.again(two.run("a", "failed"))
    two.turn(over(spec, "declined", host="a"), StopRequested("finish"))
    assert two.trial(0).system_attrs["pilotune:attempt"] == 2


def test_trials_on_several_nodes_count_against_none_of_them(cluster) -> None:
    two = cluster("a", "b", second_opinions=False)
    two.run("a", "failed")
    assert two.trial(0).state == TrialState.FAIL


# Quarantine


def test_three_refuted_failures_in_a_row_quarantine_a_host(cluster) -> None:
    two = cluster("a", "b")
    for _ in range(IN_A_ROW - 1):
        two.refute("a", "b")
        assert two.quarantines == []
    two.refute("a", "b")
    why = "trials 0, 1 and 2 failed there in a row and succeeded elsewhere; the last: it raised on a"
    assert two.quarantines == [Quarantine("a", why)]
    status = snapshot(two.bench.campaign, storage="", run_dir="")
    assert status.quarantined == [{"host": "a", "pool": "", "reason": why, "since": two.bench.now}]
    assert Status.from_json(status.to_json()) == status
    two.run("b")
    assert two.next().avoid == ["a"]
    assert {trial.state for trial in two.bench.trials()[:4]} == {TrialState.COMPLETE}


def test_a_success_on_the_host_ends_the_row(cluster) -> None:
    two = cluster("a", "b")
    for _ in range(4):
        two.refute("a", "b")
        two.refute("a", "b")
        two.run("a")
    assert two.quarantines == []


def test_a_refutation_that_comes_after_a_success_does_not_count(cluster) -> None:
    two = cluster("a", "b")
    two.resize(4)
    failed = [two.again(two.run("a", "failed")) for _ in range(IN_A_ROW)]
    two.run("a")
    for spec in failed:
        two.run("b", spec=spec)
    assert two.quarantines == []


def test_bad_configurations_in_between_do_not_save_a_bad_host(cluster) -> None:
    two = cluster("a", "b")
    two.run("b")
    for _ in range(IN_A_ROW):
        two.refute("a", "b"), two.confirm("a", "b")
    assert [each.host for each in two.quarantines] == ["a"]


def test_what_still_runs_on_a_quarantined_host_is_tried_elsewhere_when_it_fails(cluster) -> None:
    two = cluster("a", "b", "c")
    two.resize(2)
    late = two.next()
    two.turn(started(late, "a"))
    for _ in range(IN_A_ROW):
        two.refute("a", "b")
    assert len(two.quarantines) == 1
    for host, failure in (("a", "value"), ("b", "exception")):
        two.turn(over(late, "failed", host=host, failure=failure, reason="no"))
        late = two.again(late)
        two.turn(started(late, "b"))
    assert (late.attempt, late.avoid) == (3, ["a", "b"]), "the failure on a does not count, that on b is the first one"


def test_the_last_host_is_not_quarantined(cluster) -> None:
    two = cluster("a", "b")
    for _ in range(IN_A_ROW):
        two.refute("a", "b")
    for _ in range(IN_A_ROW):
        two.run("b", "failed")
    assert [each.host for each in two.quarantines] == ["a"]
    status = snapshot(two.bench.campaign, storage="", run_dir="")
    assert "since no other is left" in status.spared
    assert "3 trials in a row failed on b as well; the last: it raised on b" in status.spared


def test_where_trials_fail_by_chance_the_row_is_longer(cluster) -> None:
    assert [row_by_chance(rate) for rate in (0.0, 0.01, 0.046)] == [IN_A_ROW] * 3
    assert [row_by_chance(rate) for rate in (0.05, 0.1, 0.5)] == [4, 4, 14]
    assert row_by_chance(1.0) == float("inf")
    two = cluster("a", "b")
    for _ in range(2):
        two.refute("b", "a"), two.run("b")
    for _ in range(IN_A_ROW):
        two.refute("a", "b")
    assert two.quarantines == [], "on b one in three fails by chance as well"


# Trials that kill their process or worker


def test_a_trial_that_kills_its_process_on_two_hosts_is_not_tried_again_whatever_the_retries(cluster) -> None:
    two = cluster("a", "b", retries=9)
    second = two.again(two.run("a", "failed", failure="signal", reason="killed by SIGSEGV (signal 11)"))
    assert second.avoid == ["a"]
    two.run("b", "failed", spec=second, failure="memory", reason="killed by SIGKILL (signal 9)")
    trial = two.trial(0)
    assert (trial.state, trial.user_attrs["pilotune:attempts"]) == (TrialState.FAIL, 2)
    assert trial.user_attrs["pilotune:reason"] == (
        "it killed its process on a (killed by SIGSEGV (signal 11)) and its process on b (killed by SIGKILL "
        "(signal 9)), so it is not tried again"
    )


def test_a_trial_that_kills_its_worker_on_two_hosts_is_not_tried_again(cluster) -> None:
    two = cluster("a", "b")
    spec = two.next()
    for host in ("a", "b"):
        two.turn(started(spec, host))
        two.turn(Lost(spec.token, f"its worker was lost on {host}", killed=True, host=host))
        spec = two.again(spec) if host == "a" else spec
    trial = two.trial(0)
    assert (trial.state, trial.user_attrs["pilotune:exit"]) == (TrialState.FAIL, "lost")
    assert "its worker on a" in trial.user_attrs["pilotune:reason"]
    assert "its worker on b" in trial.user_attrs["pilotune:reason"]


def test_on_a_single_host_it_is_retried_as_often_as_the_study_file_says(cluster) -> None:
    only = cluster("a", retries=2)
    spec = only.run("a", "failed", failure="signal")
    for _ in range(2):
        only.run("a", "failed", spec=only.again(spec), failure="signal")
    assert only.trial(0).user_attrs["pilotune:attempts"] == 3


def test_the_end_of_a_block_does_not_count_as_a_kill(cluster) -> None:
    two = cluster("a", "b")
    spec = two.next()
    for host in ("a", "b", "a"):
        two.turn(started(spec, host))
        two.turn(Lost(spec.token, "its block ended"))
        spec = two.again(spec)
    assert (spec.attempt, spec.avoid) == (4, [])


def test_the_next_driver_knows_where_a_trial_killed_its_worker(cluster) -> None:
    dead = cluster("a", "b")
    first = dead.run("a", "failed", failure="signal", reason="killed by SIGSEGV")
    second = dead.again(first)
    dead.bench.storage.close()
    heir = cluster("b", "c", campaign="c2")
    assert heir.bench.campaign.adopt(Orphan(0, 2, "c1", "/tmp", second.params)) == second.token
    heir.turn(over(second, "failed", host="b", failure="signal", reason="killed by SIGBUS"))
    trial = heir.trial(0)
    assert trial.state == TrialState.FAIL
    assert "process on a (killed by SIGSEGV) and its process on b" in trial.user_attrs["pilotune:reason"]


def test_a_kill_on_a_quarantined_host_does_not_count(cluster) -> None:
    two = cluster("a", "b", "c")
    two.resize(2)
    late = two.next()
    two.turn(started(late, "a"))
    for _ in range(IN_A_ROW):
        two.refute("a", "b")
    two.turn(over(late, "failed", host="a", failure="signal", reason="no"))
    again = two.again(late)
    two.run("b", "failed", spec=again, failure="signal")
    assert two.again(again).avoid == ["a", "b"]
