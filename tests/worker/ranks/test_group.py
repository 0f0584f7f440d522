"""Several ranks as one process: signals, suspended jobs, and what is ended when; on ranks that are no processes."""

from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pilotune.pipeline.trial.files import TrialFiles
from pilotune.pipeline.trial.protocol import AttemptSpec, Message, ObjectiveSpec
from pilotune.pipeline.worker.dialogue import VerdictAnswer
from pilotune.pipeline.worker.objective.ending import Ending
from pilotune.pipeline.worker.process.messages import ObjectiveEnded, Reported
from pilotune.pipeline.worker.ranks import group as module
from pilotune.pipeline.worker.ranks.collective import SETTLE
from pilotune.pipeline.worker.ranks.group import END_GRACE, RankGroup

from ...support.trial_driver import make_spec

RAISED = ObjectiveEnded(Ending("failed", failure="exception", reason="ValueError: no data"))
COMPLETE = ObjectiveEnded(Ending("complete", values=[1.0]))


class Rank:
    """A rank whose messages and end a test gives."""

    running, ended_at, peak_memory = True, 0.0, 0

    def __init__(self, rank: int, host: str):
        self.rank, self.host, self.pid = rank, host, 40 + rank
        self.status: int | None = None
        self.failure: Ending | None = None
        self.says: list[Message] = []
        self.got: list[Any] = []

    def descriptors(self) -> list[int]:
        return [100 + self.rank]

    def receive(self) -> list[Message]:
        says, self.says = self.says, []
        return says

    def send(self, message: Message) -> None:
        self.got.append(message)

    def terminate(self) -> None:
        self.got.append("SIGTERM")

    def kill(self) -> None:
        self.got.append("SIGKILL")

    def close(self) -> None:
        self.got.append("closed")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A group of three ranks on two nodes, and its clock, ``now``."""
    clock = SimpleNamespace(now=1000.0, released=0)
    monkeypatch.setattr(module.time, "monotonic", lambda: clock.now)
    fields = make_spec(tmp_path, ObjectiveSpec(), ranks=3, ranks_per_node=3, ranked=True, rank_timeout=60.0, grace=10.0)
    spec = AttemptSpec.from_dict(fields)
    clock.ranks = [Rank(0, "n1"), Rank(1, "n1"), Rank(2, "n2")]

    def release() -> None:
        clock.released += 1

    files = TrialFiles(Path(spec.directory))
    clock.group = RankGroup(spec, files, clock.ranks, release=release, kept=[7], more_descriptors=[5])
    return clock


def test_the_group_has_all_descriptors_files_and_ranks(lab: Any) -> None:
    group = lab.group
    assert group.descriptors() == [5, 100, 101, 102]
    assert [path.name for path in group.more_outputs] == ["ranks-1-n1.txt", "ranks-1-n2.txt"]
    assert (group.running, group.status, group.kept_pids()) == (True, None, {7})
    lab.ranks[1].running = False
    assert not group.running
    group.close()
    assert ([rank.got for rank in lab.ranks], lab.released) == ([["closed"]] * 3, 1)


def test_the_groups_memory_is_that_of_the_ranks_on_the_node_with_most_of_it(lab: Any) -> None:
    group, ranks = lab.group, lab.ranks
    assert (group.pids, group.peak_memory) == ([40, 41, 42], 0)
    for rank, memory in zip(ranks, (3, 4, 5), strict=True):
        rank.status, rank.peak_memory = 0, memory
    assert (group.pids, group.peak_memory) == ([], 7)
    ranks[2].peak_memory = 8
    assert group.peak_memory == 8
    ranks[0].peak_memory = 0
    assert group.peak_memory == 0, "that of one rank is not known"


def test_messages_and_answers_pass_through(lab: Any) -> None:
    lab.ranks[0].says = [Reported(1, 0.5)]
    lab.ranks[2].says = [Reported(1, 0.25)]
    assert lab.group.receive() == [Reported(1, 0.5)]
    lab.group.ask_to_yield()
    lab.group.answer(VerdictAnswer())
    heard = VerdictAnswer("yield")
    assert [rank.got for rank in lab.ranks] == [[heard], [], [heard]]


def test_ranks_that_go_on_when_one_has_failed_are_ended_soon(lab: Any) -> None:
    lab.ranks[1].says = [RAISED]
    assert lab.group.receive() == []
    lab.now += SETTLE
    (ended,) = lab.group.receive()
    assert ended.ending.reason == "rank 1 on node n1: ValueError: no data"
    assert [rank.got for rank in lab.ranks] == [["SIGTERM"], [], ["SIGTERM"]]
    lab.now += END_GRACE
    lab.group.receive()
    assert [rank.got for rank in lab.ranks] == [["SIGTERM", "SIGKILL"], [], ["SIGTERM", "SIGKILL"]]
    for rank in lab.ranks:
        assert lab.group.status is None
        rank.status = 0
        lab.group.receive()
    assert lab.group.status == 0


def test_ranks_that_have_ended_may_take_their_time_to_exit(lab: Any) -> None:
    for rank in lab.ranks:
        rank.says = [COMPLETE]
    assert lab.group.receive() == [COMPLETE]
    lab.now += END_GRACE
    lab.group.receive()
    assert [rank.got for rank in lab.ranks] == [[], [], []]


@pytest.mark.parametrize("yielding", [True, False])
def test_sigterm_of_a_scheduler_to_a_rank_is_the_supervisors_to_judge(lab: Any, yielding: bool) -> None:
    lab.ranks[2].status = -signal.SIGTERM
    assert lab.group.receive() == []
    assert [rank.got for rank in lab.ranks[:2]] == [["SIGTERM"], ["SIGTERM"]]
    for rank in lab.ranks[:2]:
        rank.status = -signal.SIGKILL
    lab.group.receive()
    assert lab.group.status == -signal.SIGTERM
    ending = lab.group.ending(yielding=yielding)
    assert ending is None if yielding else ending.reason == "rank 2 on node n2: killed by SIGTERM (signal 15)"


@pytest.mark.parametrize(
    ("says", "status", "blamed"),
    [
        ([RAISED], 0, "rank 2 on node n2: ValueError: no data"),
        ([], 3, "rank 2 on node n2: the process exited with 3 before it returned a value"),
        ([], -signal.SIGSEGV, "rank 2 on node n2: killed by SIGSEGV (signal 11)"),
    ],
)
@pytest.mark.parametrize("ended", [-signal.SIGTERM, "lost"])
def test_a_rank_that_failed_is_blamed_not_those_that_a_launcher_ended(
    lab: Any, says: list[Message], status: int, blamed: str, ended: Any
) -> None:
    lab.ranks[2].says, lab.ranks[2].status, lab.ranks[2].ended_at = says, status, 7.1
    for rank in lab.ranks[:2]:
        rank.status, rank.ended_at = (1 if ended == "lost" else ended), 7.2
        rank.failure = Ending("failed", failure="lost", reason="gone") if ended == "lost" else None
    lab.group.receive()
    assert lab.group.ending(yielding=False).reason == blamed


def test_of_ranks_that_were_killed_the_first_is_blamed(lab: Any) -> None:
    for rank, at in zip(lab.ranks, (7.3, 7.1, 7.2), strict=True):
        rank.status, rank.ended_at = -signal.SIGKILL, at
    lab.group.receive()
    assert lab.group.ending(yielding=False).reason.startswith("rank 1 on node n1: killed by SIGKILL")


def test_ranks_that_the_supervisor_ends_have_not_failed(lab: Any) -> None:
    lab.group.terminate()
    for rank in lab.ranks:
        assert rank.got == ["SIGTERM"]
        rank.status = -signal.SIGTERM
    assert lab.group.receive() == []
    assert (lab.group.status, lab.group.ending(yielding=False)) == (-signal.SIGTERM, None)


def test_no_deadline_passes_while_the_job_is_suspended(lab: Any) -> None:
    lab.ranks[2].says = [Reported(1, 0.5)]
    lab.group.receive()
    lab.now += 3600.0
    assert lab.group.receive() == []
    for _ in range(14):
        lab.now += 4.0
        assert lab.group.receive() == []
    lab.now += 4.0
    (ended,) = lab.group.receive()
    assert ended.ending.reason.startswith("rank 2 on node n2 reported step 1, and rank 0 did not within 60 s")
