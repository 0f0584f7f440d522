"""The blocks of a pool over time, with a fake scheduler."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest

from pilotune.errors import SiteError
from pilotune.pipeline.worker.node.suspended import suspended_file
from pilotune.providers.blocks.block_shape import BlockShape
from pilotune.providers.blocks.job_log import JobLog, read_job_log
from pilotune.providers.blocks.pool_blocks import FAILURE_LIMIT, UNSEEN_LIMIT, PoolBlocks
from pilotune.providers.schedulers.batch import BlockFiles
from pilotune.providers.schedulers.jobs import End, Job, Phase, SchedulerUnreachable, SubmitRefused
from pilotune.providers.site import BlockCounts, PoolSpec, Site

MINUTE = 60.0


class Scheduler:
    """A fake scheduler: answers with the states in ``said``, and records what is submitted and cancelled."""

    def __init__(self, folder: Path, pool: PoolSpec):
        self.site = Site("here", "slurm", (pool,), folder)
        self.folder, self.pool = folder, pool
        self.said: dict[str, Job] = {}
        self.submitted: list[str] = []
        self.cancelled: list[str] = []
        self.refuses: SubmitRefused | None = None
        self.excludes, self.excluded, self.kept_away = False, (), []
        self.away = False
        self.takes_orders = True
        self.walltime_seconds = int(pool.walltime or 0)

    def files(self, block: str) -> BlockFiles:
        return BlockFiles(self.folder, "lab", self.pool.name, block)

    def submit(self, command: str, tasks_per_node: int, job_name: str) -> str:
        if self.refuses:
            raise self.refuses
        self.kept_away.append(self.excluded)
        job = f"j{len(self.submitted)}"
        self.submitted.append(job)
        self.said[job] = Job(job, Phase.QUEUED, reason="Priority")
        return job

    def query(self, ids: Sequence[str]) -> dict[str, Job]:
        if self.away:
            raise SchedulerUnreachable("no answer")
        return {job: self.said[job] for job in ids if job in self.said}

    def cancel(self, ids: Sequence[str]) -> list[bool]:
        self.cancelled += ids
        if not self.takes_orders:
            return [False] * len(ids)
        for job in ids:
            self.said[job] = Job(job, Phase.ENDED, End.CANCELLED)
        return [True] * len(ids)


class Lab:
    """A pool of blocks with two workers each, on virtual time."""

    def __init__(self, folder: Path, name: str = "cpu", **counts: int):
        self.pool = PoolSpec(
            name, walltime=3600.0, nodes_per_block=2, blocks=BlockCounts(**{"init": 1, "max": 3, **counts})
        )
        self.scheduler = Scheduler(folder, self.pool)
        self.job_log = JobLog(folder / "jobs.jsonl", "slurm", MINUTE)
        shape = BlockShape(self.pool, self.scheduler, trials=2)  # type: ignore[arg-type]
        self.blocks = PoolBlocks(self.pool, [shape], self.job_log, lambda block: f"run {block}")
        self.now = 1_000_000.0
        self.connected: dict[str, dict] = {}
        self.held: list[str] = []
        self.blocks.start(self.now)

    def connect(self, number: str, tasks: int = 0, idle: float = 0.0) -> None:
        job = self.blocks.blocks[int(number)].job
        self.scheduler.said[job] = Job(job, Phase.RUNNING)
        self.connected[number] = {
            "manager": f"m{number}",
            "block_id": number,
            "host": f"h{number}",
            "worker_count": 2,
            "tasks": tasks,
            "idle_duration": idle,
            "active": True,
            "draining": False,
        }

    def end(self, number: str, end: End | None = None, words: str = "") -> None:
        self.connected.pop(number, None)
        job = self.blocks.blocks[int(number)].job
        self.scheduler.said[job] = Job(job, Phase.ENDED, end, words)

    def turn(self, demand: int = 100, expected: float | None = None, seconds: float = MINUTE) -> None:
        self.now += seconds
        self.job_log.refresh(self.scheduler.query, self.now)
        self.blocks.refresh(list(self.connected.values()), self.now)
        self.blocks.scale(demand, expected, self.hold, self.now)

    def hold(self, manager: str) -> None:
        self.held.append(manager)
        for each in self.connected.values():
            if each["manager"] == manager:
                each["active"] = False

    @property
    def living(self) -> list[str]:
        return [block.number for block in self.blocks.blocks if block.living]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_one_block_is_submitted_first_and_the_others_when_its_workers_have_connected(lab):
    lab.turn()
    assert len(lab.scheduler.submitted) == 1
    assert [(view.state, view.reason) for view in lab.blocks.views(lab.now)] == [("queued", "Priority")]
    lab.connect("0")
    lab.turn()
    assert len(lab.scheduler.submitted) == 3
    assert lab.blocks.workers == 2


def test_idle_blocks_are_ended_when_there_is_less_work(lab):
    lab.connect("0", tasks=2)
    lab.turn()
    lab.connect("1", idle=100.0)
    lab.turn(demand=2)
    assert lab.scheduler.cancelled == ["j2", "j1"]
    assert lab.living == ["0"]


def test_a_block_that_ended_by_its_walltime_is_replaced_at_once(lab):
    lab.connect("0")
    lab.turn(demand=2)
    lab.blocks.attempt_ended()
    lab.end("0", End.WALLTIME, "TIMEOUT")
    lab.turn(demand=2, seconds=2 * MINUTE)
    assert lab.living == ["1"]
    assert lab.blocks.views(lab.now)[0].reason == "walltime: TIMEOUT"


def test_failed_blocks_are_replaced_after_pauses_until_the_pool_gives_up(lab):
    lab.scheduler.files("0").stderr.write_text("module: no such module\n")
    turns = 0
    while not lab.blocks.failure and turns < 60:
        for number in lab.living:
            lab.end(number, End.FAILED, "NonZeroExitCode")
        lab.turn(seconds=20.0)
        turns += 1
    assert len(lab.scheduler.submitted) == FAILURE_LIMIT
    assert "3 blocks ended in a row before any trial did" in lab.blocks.failure
    assert lab.blocks.note == "" or "next block at" in lab.blocks.note


def test_a_permanent_refusal_ends_the_pool_with_the_schedulers_words(tmp_path):
    lab = Lab(tmp_path, init=0)
    lab.scheduler.refuses = SubmitRefused("invalid partition specified: nope", transient=False)
    lab.turn()
    assert lab.blocks.failure == "the scheduler refused the block: invalid partition specified: nope"
    assert lab.blocks.views(lab.now)[0].state == "ended"


WORDS = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)"


def test_a_scheduler_that_does_not_answer_is_given_up_after_a_time_with_its_words(tmp_path):
    lab = Lab(tmp_path, init=0)
    lab.scheduler.refuses = SubmitRefused(WORDS, transient=True, away=True)
    began = lab.now
    notes = []
    while not lab.blocks.failure:
        lab.turn(seconds=2.0)
        notes.append(lab.blocks.note)
        assert lab.now < began + 700.0
    assert lab.now - began == pytest.approx(600.0, abs=5.0)
    assert lab.blocks.failure == f"the scheduler has not answered for 10m (patience in the site file): {WORDS}"
    assert len({note for note in notes if note}) == 1, "the sentence must not change with every try"
    assert f"pool cpu: the scheduler does not answer: {WORDS}; it is asked again until " in notes[0]
    assert 8 <= len(lab.blocks.blocks) <= 20, "it is asked at least once a minute, and not every two seconds"
    assert len(lab.blocks.views(lab.now)) == 1


def test_a_scheduler_that_comes_back_in_time_is_used(tmp_path):
    lab = Lab(tmp_path, init=0)
    lab.scheduler.refuses = SubmitRefused(WORDS, transient=True, away=True)
    for _ in range(9):
        lab.turn()
    lab.scheduler.refuses = None
    lab.turn()
    lab.turn()
    assert (len(lab.scheduler.submitted), lab.blocks.failure) == (1, "")
    lab.end("0")
    lab.blocks.blocks[0].released = "for the test"
    lab.scheduler.refuses = SubmitRefused(WORDS, transient=True, away=True)
    for _ in range(5):
        lab.turn()
    assert not lab.blocks.failure, "the time begins anew"


def test_blocks_that_live_are_waited_for_while_the_scheduler_does_not_answer(tmp_path):
    lab = Lab(tmp_path)
    lab.connect("0", tasks=2)
    lab.turn()
    lab.scheduler.away = True
    lab.scheduler.refuses = SubmitRefused(WORDS, transient=True, away=True)
    lab.end("1")
    lab.end("2")
    for _ in range(30):
        lab.turn()
    assert not lab.blocks.failure
    lab.connected.clear()  # its walltime is over, which the scheduler cannot say
    lab.blocks.blocks[1].end = lab.blocks.blocks[2].end = End.CANCELLED
    for _ in range(30):
        lab.turn()
        if lab.blocks.failure:
            break
    assert WORDS in lab.blocks.failure


def test_a_transient_refusal_is_retried(tmp_path):
    lab = Lab(tmp_path, init=0)
    lab.scheduler.refuses = SubmitRefused("Socket timed out", transient=True)
    lab.turn()
    lab.turn(seconds=1.0)
    assert not lab.blocks.failure
    assert "next block at" in lab.blocks.note
    lab.scheduler.refuses = None
    lab.turn(seconds=700.0)
    assert len(lab.scheduler.submitted) == 1


def test_submissions_have_a_limit_whatever_the_scheduler_says(tmp_path):
    """The scheduler reports queued blocks as preempted; nobody else sees them end."""
    lab = Lab(tmp_path)
    for _ in range(200):
        lab.blocks.attempt_ended()
        for number in lab.living:
            lab.end(number, End.PREEMPTED)
        lab.turn(seconds=1000.0)
    assert len(lab.scheduler.submitted) == 2 * 3 + UNSEEN_LIMIT
    assert "whose end only the scheduler reported" in lab.blocks.failure


def test_a_block_whose_workers_are_connected_lives_whatever_the_scheduler_says(lab):
    lab.connect("0")
    lab.turn(demand=2)
    lab.scheduler.said["j0"] = Job("j0", Phase.ENDED, End.FINISHED)
    for _ in range(5):
        lab.turn(demand=2)
    assert lab.living == ["0"]
    assert len(lab.scheduler.submitted) == 1


def test_a_released_block_makes_room_when_the_scheduler_says_so(tmp_path):
    lab = Lab(tmp_path, max=1)
    lab.connect("0", idle=1000.0)
    lab.turn(demand=0)
    assert lab.scheduler.cancelled == ["j0"]
    lab.turn()
    assert lab.connected  # Parsl does not know yet
    assert lab.living == ["1"]


def test_released_blocks_are_recorded_as_ended(lab, tmp_path):
    lab.connect("0", idle=1000.0)
    lab.turn(demand=0)
    assert lab.blocks.cancel() == []
    assert [job.ended for job in read_job_log(tmp_path / "jobs.jsonl")] == ["cancelled"]


def test_a_block_near_its_end_gets_no_more_trials_and_is_ended_when_empty(lab):
    lab.connect("0", tasks=1)
    lab.scheduler.files("0").end.write_text(str(lab.now + 500.0))
    lab.turn(demand=2, expected=600.0)
    assert lab.held == ["m0"]
    assert lab.blocks.workers == 0
    assert lab.blocks.capacity == 1, "the trial that runs is in flight"
    assert lab.living == ["0"], "its trial runs on"
    lab.connect("0", tasks=0)
    lab.connected["0"]["active"] = False
    lab.turn(demand=2, expected=600.0, seconds=2.0)
    assert lab.scheduler.cancelled == ["j0"]
    assert lab.living == ["1"]


def test_a_block_without_its_workers_is_replaced_even_if_the_scheduler_says_that_it_runs(lab):
    lab.connect("0")
    lab.turn(demand=2)
    lab.connected.clear()
    lab.turn(demand=2)
    assert lab.scheduler.cancelled == [], "the scheduler may have put it back into the queue"
    for _ in range(3):
        lab.turn(demand=2)
    assert lab.scheduler.cancelled == ["j0"]
    assert lab.living == ["1"]


def test_a_requeued_block_waits_again(lab):
    lab.connect("0")
    lab.turn(demand=2)
    lab.connected.clear()
    lab.scheduler.said["j0"] = Job("j0", Phase.QUEUED, reason="BeginTime")
    lab.turn(demand=2, seconds=5 * MINUTE)
    assert [(view.state, view.reason) for view in lab.blocks.views(lab.now)] == [("queued", "BeginTime")]
    assert len(lab.scheduler.submitted) == 1


def test_all_jobs_are_recorded_before_and_after(lab, tmp_path):
    lab.connect("0")
    lab.turn()
    assert lab.blocks.cancel() == []
    assert [(each.job, each.ended) for each in read_job_log(tmp_path / "jobs.jsonl")] == [
        ("j0", "cancelled"),
        ("j1", "cancelled"),
        ("j2", "cancelled"),
    ]
    with open(tmp_path / "jobs.jsonl", "a") as file:
        file.write('{"event": "submitt')
    assert len(read_job_log(tmp_path / "jobs.jsonl")) == 3


def test_nothing_is_submitted_that_cannot_be_recorded(tmp_path):
    with pytest.raises(SiteError, match="no block is submitted without a record of it"):
        JobLog(tmp_path / "none" / "jobs.jsonl", "slurm", MINUTE).submitting("lab-cpu-0", "cpu", "0")


def test_the_scheduler_is_asked_once_a_minute_at_most_and_less_often_without_changes(lab):
    start, queries = lab.now, []
    while lab.now < start + 3600.0:
        before = lab.job_log.queries
        lab.turn(demand=2, seconds=1.0)
        if lab.job_log.queries > before:
            queries.append(lab.now - start)
    gaps = [later - earlier for earlier, later in itertools.pairwise(queries)]
    assert min(gaps) >= MINUTE
    assert queries[0] <= 6.0, "soon after the first submission"
    assert max(gaps) == pytest.approx(5 * MINUTE, abs=2.0)


def test_a_scheduler_that_does_not_answer_is_asked_less_often_and_changes_nothing(lab):
    lab.scheduler.away = True
    for _ in range(600):
        lab.turn(demand=2, seconds=10.0)
    assert lab.job_log.unreachable == "no answer"
    assert lab.job_log.queries < 25
    assert lab.living == ["0"]
    assert len(lab.scheduler.submitted) == 1


def test_a_job_that_is_missing_from_one_answer_is_not_gone(lab):
    lab.turn(demand=2)
    managed = lab.scheduler.said.pop("j0")
    lab.turn(demand=2, seconds=2 * MINUTE)
    assert lab.living == ["0"]
    lab.scheduler.said["j0"] = managed
    lab.turn(demand=2, seconds=2 * MINUTE)
    del lab.scheduler.said["j0"]
    for _ in range(3):
        lab.turn(demand=2, seconds=10 * MINUTE)
    assert "0" not in lab.living


# -- ends -------------------------------------------------------------------------------------------------------------


def test_a_refused_release_is_repeated_after_pauses_that_double(tmp_path, caplog):
    lab = Lab(tmp_path, max=2)
    lab.scheduler.takes_orders = False
    lab.connect("0", idle=1000.0)
    lab.turn(demand=0)
    began, tries = lab.now, [0.0]
    while lab.now < began + 7200.0:
        before = len(lab.scheduler.cancelled)
        lab.turn(demand=2, seconds=2.0)
        if len(lab.scheduler.cancelled) > before:
            tries.append(lab.now - began)
    assert tries == [0.0, 60.0, 180.0, 420.0, *(720.0 + 300.0 * more for more in range(8))]
    assert lab.living == ["1"], "the block is not wanted, so it is replaced"
    assert lab.blocks.views(lab.now)[0].state == "ending"
    assert lab.blocks.cancel() == ["j0", "j1"]


def test_a_job_that_goes_on_after_its_end_was_ordered_is_ended_again(tmp_path):
    """The order fell into a rerun."""
    lab = Lab(tmp_path, max=1)
    lab.connect("0", idle=1000.0)
    lab.turn(demand=0)
    assert lab.scheduler.cancelled == ["j0"]
    lab.connected.clear()
    lab.scheduler.said["j0"] = Job("j0", Phase.QUEUED, reason="after a rerun")
    lab.turn(seconds=2 * MINUTE)
    assert lab.scheduler.cancelled == ["j0", "j0"]
    lab.turn()
    assert lab.living == ["1"]


def test_a_lost_order_is_repeated_at_the_end_of_the_campaign(lab):
    lab.connect("0", idle=1000.0)
    lab.turn(demand=0)
    lab.scheduler.said["j0"] = Job("j0", Phase.QUEUED)
    lab.job_log.refresh(lab.scheduler.query, lab.now + MINUTE)
    assert lab.blocks.cancel() == []
    assert lab.scheduler.cancelled == ["j0", "j0"]


DELETED = "Job run at Sat and terminated by hpo@head"


@pytest.mark.parametrize(
    ("end", "words", "told"),
    [
        (End.CANCELLED, DELETED, f"ended: cancelled ({DELETED})"),
        (End.WALLTIME, "exceeded resource walltime", "ended: walltime (exceeded resource walltime)"),
    ],
)
def test_what_ended_a_block_is_what_the_scheduler_says_though_it_was_drained(lab, caplog, end, words, told):
    """The scheduler ends the block; its trials yield, and then it has nothing to do before the scheduler says so."""
    lab.connect("0", tasks=2)
    lab.turn(demand=2)
    lab.blocks.on_signalled("m0")
    lab.hold("m0")
    lab.connected["0"]["tasks"] = 0
    lab.turn(demand=2, seconds=2.0)
    assert lab.scheduler.cancelled == ["j0"]
    lab.end("0", end, words)
    lab.turn(demand=2)
    assert lab.blocks.views(lab.now)[0].reason == f"{end}: {words}"
    assert told in caplog.text
    assert "It was released" not in caplog.text


def test_our_own_release_is_told_as_such_if_it_came_first(lab, caplog):
    caplog.set_level("INFO")
    lab.connect("0", idle=1000.0)
    lab.turn(demand=0)
    lab.blocks.on_signalled("m0")  # by our order
    lab.end("0", End.CANCELLED, DELETED)
    lab.turn(demand=0)
    assert "It was released: there is no work for it" in caplog.text


@pytest.mark.parametrize("end", [None, End.CANCELLED])
@pytest.mark.parametrize("began", [False, True])
def test_a_job_that_is_deleted_before_it_began_was_removed_from_the_queue(lab, caplog, end, began):
    lab.turn()
    if began:  # its set-up printed something, between two queries
        lab.scheduler.files("0").stderr.touch()
    lab.end("0", end)
    lab.turn()
    removed = "block 0 of pool cpu, job j0, was removed from the queue."
    assert (removed in caplog.text) == (not began)
    assert ("before any worker could reach the driver" in caplog.text) == (began and end is None)


# -- suspension -------------------------------------------------------------------------------------------------------


def test_a_suspended_block_keeps_its_workers_and_gets_no_trials(tmp_path):
    lab = Lab(tmp_path, max=1)
    lab.connect("0", tasks=2)
    lab.turn()
    lab.scheduler.said["j0"] = Job("j0", Phase.SUSPENDED, reason="suspended")
    for _ in range(20):
        lab.turn()
    assert [(view.state, view.reason) for view in lab.blocks.views(lab.now)] == [("suspended", "suspended")]
    assert (lab.blocks.workers, lab.blocks.capacity) == (0, 2)
    assert lab.living == ["0"], "it goes on later"
    lab.connected.clear()  # one that was lost all the same
    for _ in range(20):
        lab.turn()
    assert (lab.living, lab.scheduler.cancelled) == (["0"], [])
    lab.scheduler.said["j0"] = Job("j0", Phase.RUNNING)
    lab.turn(seconds=5 * MINUTE)
    assert lab.blocks.views(lab.now)[0].state == "disconnected"
    assert lab.scheduler.cancelled == [], "its workers have some time to connect again"
    lab.connect("0", tasks=2)
    lab.turn()
    assert (lab.blocks.views(lab.now)[0].state, lab.blocks.workers) == ("running", 2)


def test_a_suspended_block_can_end(lab):
    lab.connect("0", tasks=2)
    lab.turn(demand=2)
    lab.scheduler.said["j0"] = Job("j0", Phase.SUSPENDED)
    lab.turn(demand=2)
    marker = suspended_file(lab.scheduler.folder, "m0")
    marker.touch()  # so that its workers count as connected
    lab.scheduler.said["j0"] = Job("j0", Phase.ENDED, End.CANCELLED)
    lab.turn(demand=2, seconds=5 * MINUTE)
    assert not marker.exists()
    lab.turn(demand=2)
    assert lab.living == ["1"]


def test_no_more_blocks_are_submitted_than_a_budget_allows(lab):
    lab.connect("0")
    lab.blocks.shapes.allow({"cpu": 2}, ())
    lab.turn()
    assert (len(lab.scheduler.submitted), lab.blocks.charges()["cpu"].wanted) == (2, 1)
    assert lab.blocks.note == "", "it may be allowed in a moment"
    lab.blocks.shapes.allow({"cpu": 2}, ["cpu"])
    assert lab.blocks.scale(100, None, lab.hold, lab.now) == 4, "the rest is for other pools"
    assert lab.blocks.note == "pool cpu: the budget in node-hours pays for no further block"
    lab.blocks.shapes.allow(None, ())
    lab.turn()
    assert (len(lab.scheduler.submitted), lab.blocks.charges()["cpu"].wanted) == (3, 0)


def test_a_block_is_charged_from_the_start_to_the_end_of_its_job(lab):
    lab.connect("0")
    lab.turn(demand=2)
    began = lab.now - 45.0
    lab.scheduler.said["j0"] = Job("j0", Phase.RUNNING, began=began)
    for _ in range(9):
        lab.turn(demand=2)
    assert lab.blocks.charges()["cpu"].living == ((0.0, began),)
    lab.end("0", End.WALLTIME)
    lab.scheduler.said["j0"] = Job("j0", Phase.ENDED, End.WALLTIME, began=began, left=began + 600.0)
    for _ in range(9):
        lab.turn(demand=0)
    charge = lab.blocks.charges()["cpu"]
    assert (charge.over, charge.submitted) == (600.0, 1)


def test_blocks_that_are_ended_with_the_campaign_are_charged_until_then(lab):
    lab.connect("0")
    lab.turn(demand=2)
    lab.turn(demand=2)
    assert lab.blocks.cancel(lab.now + 30.0) == []
    charge = lab.blocks.charges()["cpu"]
    assert (charge.over, charge.living) == (90.0, ())
    (view,) = lab.blocks.views(lab.now + 31.0)
    assert (view.state, view.reason, view.left) == ("ended", "the campaign is over", lab.now + 30.0)
