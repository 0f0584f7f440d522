"""What several ranks say, as one trial: every rank hears what rank 0 has heard, and none is left waiting."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotune.pipeline.trial.protocol import Message
from pilotune.pipeline.worker.dialogue import Answer, ValueAnswer, VerdictAnswer
from pilotune.pipeline.worker.objective.ending import Ending, crash
from pilotune.pipeline.worker.process.messages import (
    AttrSet,
    Garbled,
    ObjectiveEnded,
    ParamRequested,
    Reported,
    StudyAsked,
    YieldWanted,
)
from pilotune.pipeline.worker.ranks.collective import SETTLE, Collective

TIMEOUT, GRACE = 600.0, 10.0
GO_ON = VerdictAnswer()
COMPLETE = Ending("complete", values=[0.5])
PRUNED, YIELDED = Ending("pruned", reason="pruned at step 1"), Ending("yielded", reason="asked to yield at step 1")
RAISED = Ending("failed", failure="exception", reason="ValueError: no data", traceback="Traceback")
BROKEN = Ending("failed", failure="exception", reason="RuntimeError: Connection closed by peer")
KILLED = crash(-9, memory_limit=None, stderr="")


@pytest.fixture
def ranks() -> Collective:
    return Collective(["n1", "n1", "n2", "n2"], TIMEOUT, GRACE)


def report(ranks: Collective, rank: int, step: int, now: float = 0.0) -> None:
    ranks.receive(rank, Reported(step, 0.25), now)


def end(ranks: Collective, rank: int, ending: Ending, now: float = 0.0, at: float = 0.0) -> None:
    ranks.receive(rank, ObjectiveEnded(ending, at), now)


def result(ranks: Collective, now: float = 0.0) -> Ending | None:
    ranks.tick(now)
    return ranks.result


# -- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", ["", "prune", "yield"])
def test_every_rank_hears_the_verdict_of_rank_0_whoever_comes_first(ranks: Collective, stop: str) -> None:
    for rank in (2, 1, 0, 3):
        report(ranks, rank, 1)
    assert ranks.take_messages() == [Reported(1, 0.25)]
    assert ranks.take_answers() == []
    verdict = VerdictAnswer(stop)  # type: ignore[arg-type]
    ranks.answer(verdict)
    assert ranks.take_answers() == [(0, verdict), (2, verdict), (1, verdict), (3, verdict)]


def test_a_rank_that_is_behind_hears_the_verdict_that_rank_0_had_at_that_report(ranks: Collective) -> None:
    for step, verdict in ((1, GO_ON), (2, GO_ON), (3, VerdictAnswer("prune"))):
        report(ranks, 0, step)
        ranks.answer(verdict)
    ranks.take_answers()
    for step in (1, 2, 3):
        report(ranks, 3, step)
    assert ranks.take_answers() == [(3, GO_ON), (3, GO_ON), (3, VerdictAnswer("prune"))]


def test_a_request_to_yield_is_the_next_verdict(ranks: Collective) -> None:
    report(ranks, 0, 1)
    ranks.answer(GO_ON)
    ranks.ask_to_yield()
    report(ranks, 1, 1)
    assert ranks.take_answers() == [(0, GO_ON), (1, GO_ON)]
    for rank in (1, 0):
        report(ranks, rank, 2)
    ranks.answer(GO_ON)
    assert ranks.take_answers() == [(0, VerdictAnswer("yield")), (1, VerdictAnswer("yield"))]


def test_sigterm_to_any_rank_asks_all_to_yield(ranks: Collective) -> None:
    ranks.receive(3, YieldWanted(), 0.0)
    report(ranks, 0, 1)
    ranks.answer(GO_ON)
    assert ranks.take_answers() == [(0, VerdictAnswer("yield"))]


def test_a_verdict_of_the_driver_counts_more_than_a_request_to_yield(ranks: Collective) -> None:
    ranks.ask_to_yield()
    report(ranks, 0, 1)
    ranks.answer(VerdictAnswer("prune"))
    assert ranks.take_answers() == [(0, VerdictAnswer("prune"))]


@pytest.mark.parametrize(("ending", "stop"), [(PRUNED, "prune"), (YIELDED, "yield")])
def test_after_rank_0_was_pruned_or_yielded_a_further_report_hears_of_it(
    ranks: Collective, ending: Ending, stop: str
) -> None:
    report(ranks, 1, 1)
    end(ranks, 0, ending)
    report(ranks, 2, 1)
    assert ranks.take_answers() == [(1, VerdictAnswer(stop)), (2, VerdictAnswer(stop))]  # type: ignore[arg-type]


# -- values -----------------------------------------------------------------------------------------------------------


def test_every_rank_gets_the_value_that_was_suggested_to_rank_0(ranks: Collective) -> None:
    lr, units = ParamRequested("lr", "{}"), ParamRequested("units", "{}")
    ranks.receive(1, lr, 0.0)
    ranks.receive(0, lr, 0.0)
    ranks.answer(ValueAnswer(0.1))
    ranks.receive(0, units, 0.0)
    ranks.receive(1, units, 0.0)
    ranks.answer(ValueAnswer(32))
    ranks.receive(2, lr, 0.0)
    assert ranks.take_messages() == [lr, units]
    assert ranks.take_answers() == [
        (0, ValueAnswer(0.1)),
        (1, ValueAnswer(0.1)),
        (0, ValueAnswer(32)),
        (1, ValueAnswer(32)),
        (2, ValueAnswer(0.1)),
    ]


def test_every_rank_gets_the_answers_that_rank_0_had_about_the_study(ranks: Collective) -> None:
    asked = StudyAsked("best_trials", {"after": -1})
    ranks.receive(0, asked, 0.0)
    ranks.answer(ValueAnswer({"trials": []}))
    ranks.receive(3, asked, 0.0)
    assert ranks.take_messages() == [asked]
    assert ranks.take_answers() == [(0, ValueAnswer({"trials": []})), (3, ValueAnswer({"trials": []}))]


def test_the_attributes_of_rank_0_are_kept(ranks: Collective) -> None:
    ranks.receive(0, AttrSet("a", 1), 0.0)
    ranks.receive(1, AttrSet("a", 2), 0.0)
    assert ranks.take_messages() == [AttrSet("a", 1)]


def test_a_question_that_rank_0_gave_up_has_no_answer_for_others(ranks: Collective) -> None:
    ranks.receive(0, ParamRequested("lr", "{}"), 0.0)
    ranks.receive(0, ParamRequested("lr", "{}"), 0.0)
    ranks.answer(ValueAnswer(0.1))
    ranks.receive(1, ParamRequested("lr", "{}"), 0.0)
    assert ranks.take_answers() == [(0, ValueAnswer(0.1)), (1, ValueAnswer(0.1))]


def test_a_report_that_rank_0_was_interrupted_in_lets_the_others_go_on(ranks: Collective) -> None:
    report(ranks, 0, 1)
    report(ranks, 1, 1)
    ranks.receive(0, StudyAsked("n_trials", {}), 0.0)
    assert ranks.take_answers() == [(1, GO_ON)]


def test_a_rank_whose_message_is_none_is_told(ranks: Collective) -> None:
    ranks.receive(2, Garbled("not a message"), 0.0)
    ((rank, answer),) = ranks.take_answers()
    assert (rank, answer.error) == (2, "the worker could not handle what the trial sent: not a message")
    ranks.receive(0, Garbled("not a message"), 0.0)
    assert ranks.take_messages() == [Garbled("not a message")], "the supervisor answers rank 0"


# -- rules that ranks break -------------------------------------------------------------------------------------------

FLOAT = '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": true}}'
INT = '{"name": "IntDistribution", "attributes": {"log": false, "step": 2, "low": 0, "high": 8}}'
ODD = '{"name": "NoDistribution"}'
STEPS = "every rank calls trial.report with the same steps"
NAMES = "every rank suggests the same parameters in the same order, or rank 0 alone does"
DIFFERENT: Sequence[tuple[Message, Message, str]] = [
    (Reported(6, 0.0), Reported(5, 0.0), f"reported step 5, but rank 0 reported step 6; {STEPS}"),
    (ParamRequested("units", INT), ParamRequested("lr", FLOAT),
     f"suggested 'lr', but rank 0 suggested 'units'; {NAMES}"),
    (ParamRequested("lr", INT), ParamRequested("lr", FLOAT),
     "suggested 'lr', but rank 0 gave another range or other choices: int from 0 to 8, step 2, "
     f"not float from 0.5 to 1.0, log; {NAMES}"),
    (ParamRequested("lr", ODD), ParamRequested("lr", FLOAT),
     f"suggested 'lr', but rank 0 gave another range or other choices: {ODD}, not float from 0.5 to 1.0, log; {NAMES}"),
    (StudyAsked("trials", {}), StudyAsked("n_trials", {}), "asked the study for 'n_trials', but rank 0 asked for "
     "'trials'; every rank asks the same questions in the same order, or rank 0 alone does"),
]  # fmt: skip


@pytest.mark.parametrize("rank_0_first", [True, False])
@pytest.mark.parametrize(("first", "other", "sentence"), DIFFERENT)
def test_a_rank_that_differs_from_rank_0_fails_the_trial(
    ranks: Collective, first: Message, other: Message, sentence: str, rank_0_first: bool
) -> None:
    for rank, message in ((0, first), (3, other)) if rank_0_first else ((3, other), (0, first)):
        ranks.receive(rank, message, 0.0)
    failed = Ending("failed", failure="exception", reason=f"rank 3 on node n2 {sentence}")
    assert (ranks.over, ranks.result) == (True, failed)
    assert ranks.take_messages()[-1] == ObjectiveEnded(failed)


def test_a_report_of_one_rank_alone_fails_the_trial_when_rank_0_has_ended(ranks: Collective) -> None:
    report(ranks, 3, 5)
    assert result(ranks, TIMEOUT - 1) is None
    end(ranks, 0, COMPLETE, TIMEOUT - 1)
    found = result(ranks, TIMEOUT - 1)
    assert found is not None
    assert found.reason == f"rank 3 on node n2 reported step 5, but rank 0 has ended without that; {STEPS}"


def test_a_rank_waits_for_rank_0_no_longer_than_the_timeout(ranks: Collective) -> None:
    report(ranks, 3, 5, now=100.0)
    assert result(ranks, 100.0 + TIMEOUT - 1) is None
    found = result(ranks, 100.0 + TIMEOUT)
    assert found is not None
    assert found.reason == (
        f"rank 3 on node n2 reported step 5, and rank 0 did not within 600 s (trial.rank_timeout); {STEPS}"
    )


def test_waiting_for_the_driver_is_not_waiting_for_rank_0(ranks: Collective) -> None:
    report(ranks, 3, 5)
    report(ranks, 0, 5)
    assert result(ranks, 10 * TIMEOUT) is None


def test_seconds_for_which_the_ranks_were_stopped_do_not_count(ranks: Collective) -> None:
    report(ranks, 3, 5)
    ranks.shift(1000.0)
    assert result(ranks, 1000.0 + TIMEOUT - 1) is None
    assert result(ranks, 1000.0 + TIMEOUT) is not None


# -- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0)])
@pytest.mark.parametrize("ending", [COMPLETE, PRUNED, YIELDED])
def test_the_result_is_that_of_rank_0_when_all_have_ended(
    ranks: Collective, ending: Ending, order: tuple[int, ...]
) -> None:
    for rank in order:
        assert ranks.result is None
        end(ranks, rank, ending if rank == 0 or ending is not COMPLETE else Ending("complete"))
    assert ranks.result == ending
    assert ranks.take_messages() == [ObjectiveEnded(ending)]


def test_a_rank_that_raises_ends_all_with_its_number_node_and_traceback(ranks: Collective) -> None:
    end(ranks, 2, RAISED, now=1.0)
    assert result(ranks, 1.0 + SETTLE / 2) is None, "another rank may be found dead"
    found = result(ranks, 1.0 + SETTLE)
    assert found == Ending(
        "failed", failure="exception", reason="rank 2 on node n2: ValueError: no data", traceback="Traceback"
    )


def test_of_ranks_that_raise_the_first_to_do_so_is_named(ranks: Collective) -> None:
    end(ranks, 1, BROKEN, now=1.0, at=1700000000.5)
    end(ranks, 0, BROKEN, now=1.0, at=1700000000.4)
    end(ranks, 2, RAISED, now=1.1, at=1700000000.3)
    found = result(ranks, 1.0 + SETTLE)
    assert found is not None
    assert found.reason.startswith("rank 2 on node n2: ValueError")


def test_a_rank_that_was_killed_is_named_rather_than_those_whose_connections_broke(ranks: Collective) -> None:
    end(ranks, 0, BROKEN, now=1.0, at=1700000000.0)
    ranks.on_exit(3, KILLED, 1.2)
    found = result(ranks, 1.2)
    assert found is not None
    assert found.reason.startswith("rank 3 on node n2: killed by SIGKILL")


LOST = Ending("failed", failure="lost", reason="the connection to it broke")
EXITED = Ending("failed", failure="exit", reason="the process exited with 3 before it returned a value")


@pytest.mark.parametrize(
    ("raised", "exits", "blamed"),
    [
        (None, [(0, LOST, 7.2), (1, LOST, 7.1), (2, LOST, 7.3)], "rank 1 on node n1: the connection"),
        (7.0, [(0, LOST, 7.1), (1, LOST, 7.2)], "rank 2 on node n2: ValueError"),
        (7.2, [(0, LOST, 7.1), (1, LOST, 7.0)], "rank 1 on node n1: the connection"),
        (7.0, [(0, LOST, 6.9), (1, EXITED, 7.1)], "rank 1 on node n1: the process exited with 3"),
        (None, [(0, KILLED, 7.2), (1, EXITED, 7.1)], "rank 1 on node n1: the process exited with 3"),
        (None, [(0, EXITED, 7.2), (1, KILLED, 7.1)], "rank 1 on node n1: killed by SIGKILL"),
    ],
)
def test_the_rank_to_blame_failed_by_itself_or_first(
    ranks: Collective, raised: float | None, exits: list[tuple[int, Ending, float]], blamed: str
) -> None:
    """A launcher that finds one rank dead ends the others and their programs."""
    if raised is not None:
        end(ranks, 2, RAISED, now=1.0, at=raised)
    for rank, ending, at in exits:
        ranks.on_exit(rank, ending, 1.1, at=at, by_itself=ending is not LOST)
    found = result(ranks, 1.1 + SETTLE)
    assert found is not None
    assert found.reason.startswith(blamed)


def test_nothing_more_is_waited_for_when_all_processes_have_ended(ranks: Collective) -> None:
    for rank in range(4):
        end(ranks, rank, RAISED)
        ranks.on_exit(rank, KILLED, 0.0)
    assert result(ranks, 0.0) is not None


@pytest.mark.parametrize("ending", [COMPLETE, YIELDED])
def test_a_rank_that_raises_after_rank_0_has_ended_fails_the_trial(ranks: Collective, ending: Ending) -> None:
    for rank in range(4):
        report(ranks, rank, 1)
    ranks.answer(VerdictAnswer("yield" if ending is YIELDED else ""))
    end(ranks, 0, ending)
    end(ranks, 1, RAISED)
    found = result(ranks, SETTLE)
    assert found is not None
    assert found.reason.startswith("rank 1 on node n1: ValueError")


@pytest.mark.parametrize("ending", [PRUNED, YIELDED])
@pytest.mark.parametrize("raised_first", [True, False])
def test_ranks_that_rank_0_has_left_may_fail(ranks: Collective, ending: Ending, raised_first: bool) -> None:
    if raised_first:
        end(ranks, 1, BROKEN)
    end(ranks, 0, ending)
    if not raised_first:
        end(ranks, 1, BROKEN)
    ranks.on_exit(2, KILLED, SETTLE)
    assert result(ranks, GRACE - 1) is None
    assert result(ranks, GRACE) == ending, "rank 3 still runs"


@pytest.mark.parametrize("told", [True, False])
def test_ranks_that_were_told_to_yield_have_the_timeout_to_save(ranks: Collective, told: bool) -> None:
    for rank in range(4 if told else 1):
        report(ranks, rank, 1)
    ranks.answer(VerdictAnswer("yield"))
    end(ranks, 0, YIELDED)
    found = result(ranks, GRACE)
    assert found == (None if told else YIELDED)
    found = result(ranks, TIMEOUT)
    assert found is not None
    assert found.kind == ("failed" if told else "yielded")


def test_a_rank_that_does_not_end_after_rank_0_fails_the_trial(ranks: Collective) -> None:
    for rank in (0, 1, 3):
        end(ranks, rank, COMPLETE, now=5.0)
    assert result(ranks, 5.0 + TIMEOUT - 1) is None
    reason = "rank 2 on node n2 had not ended 600 s after rank 0 (trial.rank_timeout)"
    assert result(ranks, 5.0 + TIMEOUT) == Ending("failed", failure="timeout", reason=reason)


def test_a_rank_that_ends_otherwise_than_rank_0_fails_the_trial(ranks: Collective) -> None:
    end(ranks, 1, PRUNED)
    for rank in (0, 2, 3):
        end(ranks, rank, COMPLETE)
    assert ranks.result is not None
    assert ranks.result.reason == (
        "rank 1 on node n1 was pruned, but rank 0 has completed the trial; every rank ends in the same way"
    )


def test_a_rank_that_a_later_attempt_has_fenced_off_ends_the_attempt_without_blame(ranks: Collective) -> None:
    stopped = Ending("stopped", reason="attempt 2 of the trial has begun")
    end(ranks, 3, stopped)
    assert ranks.result == stopped


def test_ranks_that_are_ended_from_outside_do_not_fail(ranks: Collective) -> None:
    ranks.closing = True
    for rank in range(4):
        ranks.on_exit(rank, KILLED, 0.0)
    assert result(ranks, TIMEOUT) is None


# -- any order --------------------------------------------------------------------------------------------------------


@st.composite
def programs(draw: st.DrawFn) -> list[Message]:
    """What every rank does: reports, suggestions and questions."""
    found: list[Message] = []
    for place in range(draw(st.integers(1, 6))):
        kinds = [Reported(place, 0.5), ParamRequested(f"p{place}", "{}"), StudyAsked("n_trials", {"n": place})]
        found.append(draw(st.sampled_from(kinds)))
    return found


class Rank:
    """One rank of a program, which goes on when it is answered."""

    def __init__(self, program: Sequence[Message]) -> None:
        self.left = list(program)
        self.waits = False
        self.heard: list[Answer] = []
        self.ended = False

    def step(self) -> Message:
        """The next message."""
        stopped = bool(self.heard) and isinstance(self.heard[-1], VerdictAnswer) and bool(self.heard[-1].stop)
        if stopped or not self.left:
            self.ended = True
            kind = self.heard[-1].stop if stopped else ""  # type: ignore[union-attr]
            return ObjectiveEnded({"prune": PRUNED, "yield": YIELDED, "": COMPLETE}[kind])
        self.waits = True
        return self.left.pop(0)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), programs(), st.integers(1, 5), st.booleans())
def test_in_any_order_every_rank_hears_the_same_and_none_is_left_waiting(
    seed: int, program: list[Message], size: int, alone: bool
) -> None:
    """``alone``: rank 0 alone reports and asks. ``seed``: of the order, and of the driver's answers."""
    random = Random(seed)
    ranks = [Rank(program if rank == 0 or not alone else ()) for rank in range(size)]
    collective = Collective(["n"] * size, TIMEOUT, GRACE)
    unanswered: list[Message] = []
    while not collective.over:
        able = [rank for rank, each in enumerate(ranks) if not each.waits and not each.ended]
        chosen = random.choice([*able, *([None] if unanswered else [])])
        if chosen is None:
            question = unanswered.pop()
            reported = isinstance(question, Reported)
            verdict = VerdictAnswer(random.choice(["", "", "", "prune", "yield"]))
            collective.answer(verdict if reported else ValueAnswer(len(ranks[0].heard)))
        elif random.random() < 0.05:
            collective.ask_to_yield()
        else:
            collective.receive(chosen, ranks[chosen].step(), 0.0)
        for rank, answer in collective.take_answers():
            assert ranks[rank].waits, "an answer that nobody waits for"
            ranks[rank].waits = False
            ranks[rank].heard.append(answer)
        unanswered += [each for each in collective.take_messages() if not isinstance(each, ObjectiveEnded)]
        collective.tick(0.0)
    assert all(each.ended for each in ranks), "nobody is left waiting"
    assert all(each.heard == ranks[0].heard for each in ranks[1:] if not alone)
    assert collective.result in (PRUNED, YIELDED, COMPLETE)
    assert collective.result is not None
    assert collective.result.kind != "failed"
