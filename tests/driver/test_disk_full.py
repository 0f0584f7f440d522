"""What a campaign does while a disk is full: that of its database, of its trials, or of its run directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from pilotune.errors import RecordAway, RecordLost, RecordStuck
from pilotune.pipeline.campaign.disk_backoff import PATIENCE, TRIES, DiskBackoff
from pilotune.pipeline.campaign.events import Capacity, StopAttempt, StopRequested, Submit
from pilotune.pipeline.campaign.flight import Flight, pause_before
from pilotune.pipeline.driver.loop import COLLECTED, STUCK, STUCK_PAUSE, CampaignLoop
from pilotune.pipeline.driver.run_storage_watch import RESERVE, DiskReserve, StorageWatch
from pilotune.pipeline.record import RunDirectory
from tests.support.campaign_bench import Bench, benches, over, started
from tests.support.small_disks import fill, small_disk


class ManualPool:
    """Returns prepared events; time passes while the loop pauses."""

    def __init__(self) -> None:
        self.clock, self.ready, self.performed = 1000.0, [], []

    def now(self) -> float:
        return self.clock

    def wait(self, timeout: float) -> list[Any]:
        self.clock += max(timeout, 0.01)
        ready, self.ready = self.ready, []
        return ready

    def pause(self, seconds: float) -> None:
        self.clock += seconds

    def perform(self, actions: list[Any]) -> None:
        self.performed += actions

    def of(self, kind: type) -> list[Any]:
        return [action for action in self.performed if isinstance(action, kind)]


class Refusing:
    """Replaces the record's commit; it raises ``error`` while there is one."""

    def __init__(self, bench: Bench):
        self.error: Exception | None = None
        self.calls, self._commit = 0, bench.storage.commit
        bench.storage.commit = self

    def __call__(self, limit: int | None = None) -> Any:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return self._commit(limit)


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    return benches(tmp_path)


def begun(bench: Bench, **services: Any) -> tuple[CampaignLoop, ManualPool, Refusing, list[str]]:
    """A campaign of two workers, each with a trial, and the list of the problems that it reports.

    ``services`` replace methods of its DriverServices.
    """
    pool, problems = ManualPool(), []
    for name, service in {"report_status": problems.append, **services}.items():
        setattr(bench, name, service)
    loop = CampaignLoop(bench.campaign, pool, bench.storage, bench, limit=9)
    commit = Refusing(bench)
    loop.tick([Capacity(2)])
    loop.tick([started(submit.spec) for submit in pool.of(Submit)])
    problems.clear()
    return loop, pool, commit, problems


FULL = RecordStuck("the database /d/study.db cannot be written: the file system /d is full (0 B left)")


def test_a_full_disk_of_the_database_is_reported_at_once_and_waited_for_two_minutes(bench) -> None:
    campaign = bench(trials=9)
    loop, pool, commit, problems = begun(campaign)
    first, _ = pool.of(Submit)
    commit.error, began = FULL, pool.clock
    loop.tick([over(first.spec)])
    assert problems[0] == f"{FULL}; retrying for 120 s, results are kept meanwhile"
    assert STUCK <= pool.clock - began < STUCK + STUCK_PAUSE + 1
    assert commit.calls > STUCK / STUCK_PAUSE
    finish = campaign.campaign.finished
    assert finish.code == 3
    assert finish.reason == f"{FULL}; fix this, then run pilotune resume; {COLLECTED}"
    assert len(pool.of(Submit)) == 2, "nothing is submitted that is not committed"


def test_space_that_is_freed_in_time_lets_the_campaign_go_on_without_a_loss(bench) -> None:
    campaign = bench(trials=9)
    loop, pool, commit, problems = begun(campaign)
    first, _ = pool.of(Submit)
    commit.error = FULL

    def recover(seconds: float) -> None:
        pool.clock += seconds
        if pool.clock > 1100.0:
            commit.error = None

    pool.pause = recover
    loop.tick([over(first.spec, value=0.5, started=0.0, finished=100.0)])
    assert problems[-1] == ""
    assert campaign.campaign.finished is None
    assert [trial.value for trial in campaign.trials()] == [0.5, None, None]
    assert len(pool.of(Submit)) == 3


def test_an_unreachable_database_is_waited_for_as_long_as_it_takes(bench) -> None:
    campaign = bench(trials=9)
    loop, pool, commit, problems = begun(campaign)
    commit.error = RecordAway("connection refused")

    def recover(seconds: float) -> None:
        pool.clock += seconds
        if pool.clock > 1000.0 + 10 * STUCK:
            commit.error = None

    pool.pause = recover
    loop.tick([over(pool.of(Submit)[0].spec)])
    assert campaign.campaign.finished is None
    assert "database unreachable for" in problems[-2]


def test_a_server_that_restarts_meanwhile_gets_its_two_minutes_again(bench) -> None:
    campaign = bench(trials=9)
    loop, pool, commit, _ = begun(campaign)
    errors = [*[FULL] * 20, RecordAway("starting up"), *[FULL] * 20, None]

    def commit_next(limit: int | None = None) -> Any:
        commit.error = errors.pop(0)
        return Refusing.__call__(commit, limit)

    campaign.storage.commit = commit_next
    began = pool.clock
    loop.tick([over(pool.of(Submit)[0].spec)])
    assert campaign.campaign.finished is None
    assert pool.clock - began > STUCK


def test_a_broken_database_ends_the_campaign_at_once(bench) -> None:
    campaign = bench(trials=9)
    loop, pool, commit, _ = begun(campaign, save_study=lambda: "; it is saved elsewhere")
    commit.error, began = RecordLost("the database is broken"), pool.clock
    loop.tick([over(pool.of(Submit)[0].spec)])
    assert pool.clock == began
    finish = campaign.campaign.finished
    assert (finish.code, finish.reason) == (3, "the database is broken; it is saved elsewhere")


def test_on_the_reserved_space_running_trials_yield_and_everything_is_committed(bench) -> None:
    campaign = bench(trials=9)

    def free_reserve() -> bool:
        commit.error = None
        return True

    loop, pool, commit, _ = begun(campaign, free_reserve=free_reserve)
    first, second = pool.of(Submit)
    commit.error = FULL
    pool.ready = [over(first.spec, value=0.5, started=0.0, finished=100.0)]
    stops = []

    def perform(actions: list[Any]) -> None:
        pool.performed += actions
        if pool.of(StopAttempt) and not stops:
            stops.extend(pool.of(StopAttempt))
            pool.ready = [over(second.spec, "yielded", started=0.0, finished=100.0)]

    pool.perform = perform
    finish = loop.run()
    assert (finish.code, finish.reason) == (3, f"{FULL}; fix this, then run pilotune resume")
    assert StopAttempt(second.spec.token, "yield") in stops
    assert [(trial.state.name, trial.value) for trial in campaign.trials()] == [
        ("COMPLETE", 0.5),
        ("RUNNING", None),
        ("RUNNING", None),
    ]


def test_a_disk_that_fills_up_again_after_that_is_not_waited_for_again(bench) -> None:
    reserved = [4_000_000]

    def free_reserve() -> bool:
        if reserved:
            commit.error = None
        return bool(reserved and reserved.pop())

    loop, pool, commit, _ = begun(bench(trials=9), free_reserve=free_reserve)
    commit.error = FULL
    pool.ready = [StopRequested("finish")]

    def perform(actions: list[Any]) -> None:
        pool.performed += actions
        commit.error = FULL

    pool.perform = perform
    finish = loop.run()
    assert (finish.code, finish.reason) == (3, f"{FULL}; fix this, then run pilotune resume; {COLLECTED}")
    assert pool.clock - 1000.0 < STUCK + 4 * STUCK_PAUSE


# -- trials whose disk is full -----------------------------------------------------------------------------------------


def disk_full(spec: Any) -> Any:
    return over(spec, "failed", failure="disk", reason="the file system /d is full")


def rounds(campaign: Bench, spec: Any, seconds: float = 12.0) -> Iterator[Any]:
    """Let a trial fail for lack of disk space again and again; yields its next attempts."""
    while not campaign.campaign.finished:
        actions = campaign.turn(started(spec), disk_full(spec), after=seconds)
        while not (again := [each.spec for each in actions if isinstance(each, Submit)]):
            if campaign.campaign.finished:
                return
            actions = campaign.turn()
        (spec,) = again
        yield spec


def test_trials_whose_disk_is_full_are_retried_for_two_minutes_and_left_to_be_resumed(bench) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    began, attempts = campaign.now, list(rounds(campaign, spec))
    assert [each.attempt for each in attempts] == list(range(2, len(attempts) + 2))
    assert 4 <= len(attempts) < TRIES
    assert PATIENCE <= campaign.now - began < PATIENCE + 40
    assert campaign.campaign.finished.code == 3
    assert campaign.campaign.finished.reason == "the file system /d is full; free disk space, then run pilotune resume"
    (trial,) = campaign.trials()
    assert trial.state.name == "RUNNING"


def test_while_others_succeed_a_trial_is_retried_ten_times_after_longer_and_longer_pauses() -> None:
    backoff, flight = DiskBackoff(), Flight(trial=None, params={})  # type: ignore[arg-type]
    pauses = []
    for number in range(TRIES - 1):
        assert not backoff.on_disk_full(flight, "full", now=100.0 * number)
        pauses.append(pause_before(flight))
        backoff.on_success()
    assert backoff.on_disk_full(flight, "full", now=100.0 * TRIES)
    assert pauses == [1.0, 2.0, 4.0, 8.0, *[10.0] * (TRIES - 5)]


def test_failures_of_the_disk_do_not_count_as_failures_of_trials(bench) -> None:
    campaign = bench(trials=9, failures=2)
    (spec,) = campaign.specs(Capacity(1))
    *_, spec = islice(rounds(campaign, spec, 1.0), 4)
    campaign.turn(started(spec), over(spec, value=2.0))
    assert campaign.campaign.ending is None
    assert campaign.campaign.outcomes.disk_backoff.trouble == ""
    assert campaign.trials()[0].value == 2.0


# -- the run directory and the reserve --------------------------------------------------------------------------------


def test_a_reserve_holds_its_space_and_frees_it(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "8m") as disk:
        database = disk / "study.db"
        with DiskReserve(database, "s") as reserve:
            held = database.with_name("study.db-reserve-s")
            assert (held.stat().st_size, held.stat().st_mode & 0o777) == (RESERVE, 0o600)
            fill(disk)
            assert reserve.free()
            (disk / "last words").write_bytes(b"x" * (RESERVE - 8192))
            assert not reserve.free()
        assert not held.exists()


def test_a_reserve_that_a_dead_driver_left_is_taken_over(tmp_path: Path) -> None:
    database = tmp_path / "study.db"
    DiskReserve(database, "s").__enter__()
    (held,) = tmp_path.iterdir()
    before = held.stat().st_mtime_ns
    with DiskReserve(database, "s"):
        assert [path.stat().st_mtime_ns for path in tmp_path.iterdir()] == [before]
    assert not list(tmp_path.iterdir())


def test_a_campaign_does_not_begin_without_space_for_its_reserve(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "8m") as disk:
        fill(disk, leave=RESERVE // 2)
        with (
            pytest.raises(RecordStuck, match=r"study\.db has no space to grow: .* at least 4 MB"),
            DiskReserve(disk / "study.db", "s"),
        ):
            pass
        assert [path.name for path in disk.iterdir()] == ["filler"], "the space that it could get is free again"


def test_a_database_on_a_server_needs_no_reserve() -> None:
    with DiskReserve(None, "s") as reserve:
        assert not reserve.free()


def test_a_run_directory_that_is_deleted_ends_the_campaign_after_what_runs(bench, tmp_path: Path) -> None:
    campaign, run, now = bench(trials=9), RunDirectory(tmp_path / "runs" / "s" / "c"), [0.0]
    run.create()
    run.channel_key.touch()
    watch = StorageWatch(run, campaign.storage, clock=lambda: now[0])

    def check() -> list[StopRequested]:
        now[0] += 1.0
        return watch.stop_requests()

    assert check() == check() == []
    run.channel_key.unlink()
    assert check() == [], "one check may fail by chance"
    run.channel_key.touch()
    assert check() == check() == []
    run.channel_key.unlink()
    assert check() == []
    (request,) = check()
    assert (request.how, request.code) == ("finish", 3)
    assert request.reason.startswith(f"the run directory {run.path} was deleted;")
    assert check() == check() == []


def test_a_database_that_was_written_again_ends_the_campaign_once(bench, tmp_path: Path) -> None:
    campaign, run = bench(trials=9), RunDirectory(tmp_path / "runs" / "s" / "c")
    run.create()
    run.channel_key.touch()
    watch = StorageWatch(run, campaign.storage)
    assert watch.stop_requests() == []
    (tmp_path / "study.db").unlink()
    campaign.turn(Capacity(1))
    (request,) = watch.stop_requests()
    assert (request.how, request.code) == ("finish", 3)
    assert "its content has been written there again; pilotune resume continues" in request.reason
    assert watch.stop_requests() == []
    campaign.turn(request)
    assert campaign.campaign.ending.code == 3
