"""The worker's conversation with the driver, as a state machine: no socket, no process, no clock."""

from __future__ import annotations

import pytest

from pilotune.pipeline.trial.protocol import Report, Stop, Suggest, Suggested, Verdict
from pilotune.pipeline.worker import dialogue as module
from pilotune.pipeline.worker.dialogue import (
    LONGEST_RESEND,
    PATIENCE,
    REPORTS_AT_ONCE,
    REQUEST_TRANSITIONS,
    RESEND,
    TRIAL_TRANSITIONS,
    Dialogue,
    Event,
    RequestState,
    TrialState,
    ValueAnswer,
    VerdictAnswer,
)

TOKEN = "7.1.c"


@pytest.fixture
def dialogue() -> Dialogue:
    return Dialogue(TOKEN)


def reported(dialogue: Dialogue, now: float = 0.0) -> Report:
    """The first report was made and sent."""
    dialogue.report(1, 0.1, now)
    request = dialogue.outgoing(now)
    assert isinstance(request, Report)
    return request


def asked(dialogue: Dialogue, now: float = 0.0, name: str = "x") -> Suggest:
    """A parameter was asked for, and the request sent."""
    dialogue.suggest(name, "{}")
    request = dialogue.outgoing(now)
    assert isinstance(request, Suggest)
    return request


def verdict(request: Report | Suggest, stop: str = "") -> Verdict:
    return Verdict(TOKEN, request.request, stop)  # type: ignore[arg-type]


# -- one question, one answer -----------------------------------------------------------------------------------------


def test_a_report_is_sent_and_its_verdict_reaches_the_trial_once(dialogue: Dialogue) -> None:
    request = reported(dialogue)
    assert [tuple(each) for each in request.reports] == [(1, 0.1)]
    assert (dialogue.trial, dialogue.request) == (TrialState.AWAITS_VERDICT, RequestState.REPORTS_OPEN)
    assert dialogue.take_answer(0.1) is None
    assert dialogue.receive(verdict(request))
    assert dialogue.take_answer(0.1) == VerdictAnswer("")
    assert dialogue.take_answer(9.9) is None
    assert (dialogue.trial, dialogue.request) == (TrialState.RUNNING, RequestState.NONE)


def test_a_suggested_value_reaches_the_trial_and_is_kept(dialogue: Dialogue) -> None:
    request = asked(dialogue)
    assert (request.name, dialogue.trial) == ("x", TrialState.AWAITS_VALUE)
    assert dialogue.take_answer(1000.0) is None, "for a value there is no patience"
    assert dialogue.receive(Suggested(TOKEN, request.request, 3))
    assert dialogue.take_answer(1000.0) == ValueAnswer(3)
    assert dialogue.params == {"x": 3}


def test_a_refused_suggestion_is_no_parameter(dialogue: Dialogue) -> None:
    request = asked(dialogue)
    dialogue.receive(Suggested(TOKEN, request.request, error="units was a float before"))
    assert dialogue.take_answer(0.0) == ValueAnswer(None, "units was a float before")
    assert dialogue.params == {}


def refusal(request: Report | Suggest) -> Verdict:
    return Verdict(TOKEN, request.request, error="'name' has the wrong type: int")


def test_a_request_that_the_driver_cannot_read_ends_the_wait_for_a_value(dialogue: Dialogue) -> None:
    dialogue.receive(refusal(asked(dialogue)))
    assert dialogue.take_answer(0.0) == ValueAnswer(error="'name' has the wrong type: int")
    assert (dialogue.trial, dialogue.request, dialogue.params) == (TrialState.RUNNING, RequestState.NONE, {})
    dialogue.receive(Suggested(TOKEN, asked(dialogue).request, 3))
    assert dialogue.take_answer(0.0) == ValueAnswer(3), "the next question is another one"


def test_reports_that_the_driver_cannot_handle_fail_this_report_and_all_later_questions(dialogue: Dialogue) -> None:
    dialogue.receive(refusal(reported(dialogue)))
    wrong = VerdictAnswer(error="'name' has the wrong type: int")
    assert dialogue.take_answer(0.0) == wrong
    dialogue.report(2, 0.2, 0.0)
    assert dialogue.take_answer(0.0) == wrong
    dialogue.suggest("x", "{}")
    assert dialogue.take_answer(0.0) == wrong


def test_a_refusal_that_comes_after_the_patience_is_heard_at_the_next_question(dialogue: Dialogue) -> None:
    request = reported(dialogue)
    assert dialogue.take_answer(PATIENCE) == VerdictAnswer("")
    dialogue.receive(refusal(request))
    assert dialogue.take_answer(PATIENCE) is None, "it computes"
    dialogue.report(2, 0.2, PATIENCE)
    assert dialogue.take_answer(PATIENCE) == VerdictAnswer(error="'name' has the wrong type: int")


def test_a_command_s_reports_that_are_refused_are_kept_as_an_error(dialogue: Dialogue) -> None:
    dialogue.report(1, 0.1, 0.0, waits=False)
    dialogue.receive(refusal(dialogue.outgoing(0.0)))
    assert (dialogue.error, dialogue.request) == ("'name' has the wrong type: int", RequestState.NONE)
    assert dialogue.reports == [[1, 0.1]], "the outcome brings them"


def test_requests_are_numbered_upwards(dialogue: Dialogue) -> None:
    numbers = []
    for _ in range(3):
        request = reported(dialogue)
        numbers.append(request.request)
        dialogue.receive(verdict(request))
        dialogue.take_answer(0.0)
        request = asked(dialogue)
        numbers.append(request.request)
        dialogue.receive(Suggested(TOKEN, request.request, 1))
        dialogue.take_answer(0.0)
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("first", ["report", "suggest"])
def test_a_question_takes_the_place_of_one_that_was_interrupted(dialogue: Dialogue, first: str) -> None:
    before = reported(dialogue) if first == "report" else asked(dialogue)
    dialogue.suggest("y", "{}")
    late = Suggested(TOKEN, before.request, 1) if first == "suggest" else verdict(before)
    assert dialogue.receive(late)
    assert dialogue.take_answer(0.0) is None, "the answer to the first question is not the second one's"
    request = dialogue.outgoing(0.0)
    assert isinstance(request, Suggest)
    assert request.name == "y"
    dialogue.receive(Suggested(TOKEN, request.request, 2))
    assert dialogue.take_answer(0.0) == ValueAnswer(2)


def test_a_report_after_an_interrupted_one_gets_its_verdict(dialogue: Dialogue) -> None:
    before = reported(dialogue)
    dialogue.report(2, 0.2, 0.0)
    dialogue.receive(verdict(before))
    request = dialogue.outgoing(0.0)
    assert isinstance(request, Report)
    assert [list(each) for each in request.reports] == [[2, 0.2]]
    dialogue.receive(verdict(request, "prune"))
    assert dialogue.take_answer(0.0) == VerdictAnswer("prune")


# -- patience, batching, one open request -----------------------------------------------------------------------------


def test_the_trial_goes_on_when_patience_is_over(dialogue: Dialogue) -> None:
    reported(dialogue, 10.0)
    assert dialogue.deadline() == 10.0 + PATIENCE
    assert dialogue.take_answer(10.0 + PATIENCE - 0.01) is None
    assert dialogue.take_answer(10.0 + PATIENCE) == VerdictAnswer("")
    assert dialogue.request is RequestState.REPORTS_OPEN, "the request itself stays open"


def test_a_driver_that_owes_an_answer_holds_up_no_further_report(dialogue: Dialogue) -> None:
    reported(dialogue)
    dialogue.take_answer(PATIENCE)
    dialogue.report(2, 0.2, 2.0)
    assert dialogue.take_answer(2.0) == VerdictAnswer("")
    assert dialogue.outgoing(2.0) is None, "one request at a time"


def test_reports_made_meanwhile_are_sent_as_one_message(dialogue: Dialogue) -> None:
    first = reported(dialogue)
    dialogue.take_answer(PATIENCE)
    for step in range(2, 6):
        dialogue.report(step, step / 10, 2.0)
        dialogue.take_answer(2.0)
    dialogue.receive(verdict(first))
    second = dialogue.outgoing(3.0)
    assert isinstance(second, Report)
    assert [tuple(each) for each in second.reports] == [(step, step / 10) for step in range(2, 6)]
    assert dialogue.reports == [[step, step / 10] for step in range(1, 6)]


def test_a_message_holds_at_most_so_many_reports(dialogue: Dialogue, monkeypatch: pytest.MonkeyPatch) -> None:
    assert REPORTS_AT_ONCE == 1000
    monkeypatch.setattr(module, "REPORTS_AT_ONCE", 3)
    for step in range(8):
        dialogue.report(step, 0.5, 0.0, waits=False)
    sent = []
    while (request := dialogue.outgoing(0.0)) is not None:
        assert isinstance(request, Report)
        sent.append([step for step, _ in request.reports])
        dialogue.receive(verdict(request))
    assert sent == [[0, 1, 2], [3, 4, 5], [6, 7]]


def test_a_waiting_trial_is_answered_when_the_last_of_its_reports_is_judged(dialogue: Dialogue) -> None:
    for step in range(REPORTS_AT_ONCE + 1):
        dialogue.report(step, 0.5, 0.0, waits=step == REPORTS_AT_ONCE)
    first = dialogue.outgoing(0.0)
    assert first is not None
    dialogue.receive(verdict(first))
    assert dialogue.take_answer(0.1) is None
    second = dialogue.outgoing(0.1)
    assert second is not None
    dialogue.receive(verdict(second))
    assert dialogue.take_answer(0.1) == VerdictAnswer("")


def test_a_value_is_asked_for_after_the_reports_before_it(dialogue: Dialogue) -> None:
    first = reported(dialogue)
    dialogue.take_answer(PATIENCE)
    dialogue.report(2, 0.2, 2.0)
    dialogue.take_answer(2.0)
    dialogue.suggest("x", "{}")
    assert dialogue.outgoing(2.0) is None
    dialogue.receive(verdict(first))
    second = dialogue.outgoing(2.0)
    assert isinstance(second, Report)
    dialogue.receive(verdict(second))
    assert isinstance(dialogue.outgoing(2.0), Suggest)
    assert dialogue.take_answer(99.0) is None


def test_reports_of_a_trial_that_does_not_wait_need_no_answer(dialogue: Dialogue) -> None:
    dialogue.report(1, 0.1, 0.0, waits=False)
    dialogue.report(2, 0.2, 0.0, waits=False)
    request = dialogue.outgoing(0.0)
    assert isinstance(request, Report)
    assert len(request.reports) == 2
    dialogue.receive(verdict(request, "prune"))
    assert (dialogue.take_answer(9.0), dialogue.verdict) == (None, "prune")


# -- resending --------------------------------------------------------------------------------------------------------


def test_an_unanswered_request_is_sent_again_with_doubled_pauses(dialogue: Dialogue) -> None:
    request = reported(dialogue, 100.0)
    dialogue.take_answer(100.0 + PATIENCE)
    moment, pauses = 100.0, []
    for _ in range(6):
        due = dialogue.deadline()
        assert due is not None
        assert dialogue.outgoing(due - 0.01) is None
        assert dialogue.outgoing(due) is request
        pauses.append(due - moment)
        moment = due
    assert pauses == [RESEND, 2 * RESEND, 4 * RESEND, 8 * RESEND, LONGEST_RESEND, LONGEST_RESEND]


def test_an_answered_request_is_not_sent_again(dialogue: Dialogue) -> None:
    request = reported(dialogue)
    dialogue.receive(verdict(request))
    dialogue.take_answer(0.0)
    assert (dialogue.outgoing(1000.0), dialogue.deadline()) == (None, None)


def test_each_request_begins_with_the_shortest_pause(dialogue: Dialogue) -> None:
    first = reported(dialogue)
    dialogue.take_answer(PATIENCE)
    assert dialogue.outgoing(RESEND) is first
    dialogue.receive(verdict(first))
    second = reported(dialogue, 20.0)
    assert dialogue.outgoing(20.0 + RESEND) is second


def test_nothing_is_sent_again_without_a_connection(dialogue: Dialogue) -> None:
    request = reported(dialogue)
    dialogue.take_answer(PATIENCE)
    dialogue.on_connection(False, 0, 1.0)
    assert (dialogue.outgoing(100.0), dialogue.deadline()) == (None, None)
    dialogue.on_connection(True, 0, 100.0)
    assert dialogue.outgoing(100.0) is request


def test_after_a_reconnection_the_open_request_is_sent_at_once(dialogue: Dialogue) -> None:
    request = reported(dialogue)
    for moment in (RESEND, 3 * RESEND):
        assert dialogue.outgoing(moment) is request
    dialogue.on_connection(True, 1, 16.0)
    assert dialogue.outgoing(16.0) is request
    dialogue.on_connection(True, 1, 17.0)
    assert dialogue.outgoing(16.0 + RESEND - 0.01) is None
    assert dialogue.outgoing(16.0 + RESEND) is request, "the pauses begin anew"


def test_a_new_request_is_sent_without_a_connection(dialogue: Dialogue) -> None:
    """The channel queues it; a driver that is found later gets it."""
    dialogue.on_connection(False, 0, 0.0)
    assert reported(dialogue) is not None


# -- late, duplicate and foreign messages -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        Verdict("3.1.other", 1, "kill"),
        Verdict(TOKEN, 0, "kill"),
        Verdict(TOKEN, 2, "kill"),
        Suggested(TOKEN, 1, 3),
        Suggested("3.1.other", 1, 3),
        Stop("3.1.other", "kill"),
        Report(TOKEN, 1, 1, 0.5),
    ],
)
def test_what_does_not_answer_the_open_report_changes_nothing(dialogue: Dialogue, message) -> None:
    request = reported(dialogue)
    assert not dialogue.receive(message)
    assert (dialogue.verdict, dialogue.order, dialogue.take_answer(0.1)) == ("", None, None)
    assert dialogue.receive(verdict(request))


def test_a_duplicate_or_late_verdict_changes_nothing(dialogue: Dialogue) -> None:
    first = reported(dialogue)
    assert dialogue.receive(verdict(first))
    assert not dialogue.receive(verdict(first, "kill"))
    dialogue.take_answer(0.0)
    second = reported(dialogue, 1.0)
    assert not dialogue.receive(verdict(first, "prune"))
    assert (dialogue.verdict, dialogue.take_answer(1.1)) == ("", None)
    assert dialogue.receive(verdict(second))


def test_go_on_is_no_answer_to_a_suggest(dialogue: Dialogue) -> None:
    request = asked(dialogue)
    assert not dialogue.receive(verdict(request))
    assert dialogue.take_answer(0.0) is None
    assert dialogue.outgoing(RESEND) is request


def test_before_any_request_answers_change_nothing(dialogue: Dialogue) -> None:
    assert not dialogue.receive(Verdict(TOKEN, 0, "prune"))
    assert not dialogue.receive(Verdict(TOKEN, 1, "prune"))
    assert dialogue.verdict == ""


# -- how the driver ends an attempt -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("stop", "order"), [("prune", None), ("yield", "yield"), ("kill", "kill")])
def test_a_verdict_to_stop_is_heard_at_this_report(dialogue: Dialogue, stop: str, order: str | None) -> None:
    dialogue.receive(verdict(reported(dialogue), stop))
    assert dialogue.take_answer(0.0) == VerdictAnswer(stop)  # type: ignore[arg-type]
    assert (dialogue.verdict, dialogue.order) == (stop, order)


@pytest.mark.parametrize("stop", ["prune", "yield", "kill"])
def test_a_late_verdict_is_heard_at_the_next_report_and_at_all_after_it(dialogue: Dialogue, stop: str) -> None:
    first = reported(dialogue)
    assert dialogue.take_answer(PATIENCE) == VerdictAnswer("")
    dialogue.receive(verdict(first, stop))
    assert dialogue.take_answer(2.0) is None, "nobody waits"
    for step in (2, 3):
        dialogue.report(step, 0.5, 3.0)
        assert dialogue.take_answer(3.0) == VerdictAnswer(stop)  # type: ignore[arg-type]


def test_a_stop_reaches_a_waiting_trial_before_its_later_reports_are_judged(dialogue: Dialogue) -> None:
    first = reported(dialogue)
    dialogue.take_answer(PATIENCE)
    dialogue.report(2, 0.2, 2.0)
    dialogue.receive(verdict(first, "prune"))
    assert dialogue.take_answer(2.0) == VerdictAnswer("prune")


def test_a_trial_that_waits_for_a_value_is_not_pruned_but_yields(dialogue: Dialogue) -> None:
    for stop, expected in (("prune", None), ("yield", VerdictAnswer("yield"))):
        each = Dialogue(TOKEN)
        first = reported(each)
        each.take_answer(PATIENCE)
        each.suggest("x", "{}")
        each.receive(verdict(first, stop))
        assert each.take_answer(2.0) == expected
        assert (each.outgoing(2.0) is None) == (stop == "yield"), "a value that nobody waits for is not asked for"


def test_a_verdict_to_a_suggest_ends_the_wait(dialogue: Dialogue) -> None:
    dialogue.receive(verdict(asked(dialogue), "kill"))
    assert dialogue.take_answer(0.0) == VerdictAnswer("kill")
    assert dialogue.order == "kill"


def test_an_unasked_stop_is_an_order_and_no_answer(dialogue: Dialogue) -> None:
    assert dialogue.receive(Stop(TOKEN, "yield"))
    assert dialogue.order == "yield"
    assert dialogue.receive(Stop(TOKEN, "kill"))
    assert dialogue.receive(Stop(TOKEN, "yield"))
    assert (dialogue.order, dialogue.verdict) == ("kill", ""), "the strongest stands"


def test_a_value_for_a_question_that_was_withdrawn_is_kept_but_answers_no_other(dialogue: Dialogue) -> None:
    first = asked(dialogue, name="x")
    dialogue.withdraw()
    dialogue.suggest("y", "{}")
    assert dialogue.outgoing(0.1) is None
    dialogue.receive(Suggested(TOKEN, first.request, 3))
    assert (dialogue.take_answer(0.2), dialogue.params) == (None, {"x": 3})
    second = dialogue.outgoing(0.2)
    assert isinstance(second, Suggest)
    assert second.name == "y"
    dialogue.receive(Suggested(TOKEN, second.request, 4))
    assert (dialogue.take_answer(0.3), dialogue.params) == (ValueAnswer(4), {"x": 3, "y": 4})


# -- a driver that is silent or dead ----------------------------------------------------------------------------------


def test_under_a_silent_driver_the_trial_goes_on_and_no_report_is_lost(dialogue: Dialogue) -> None:
    sent, now = [], 0.0
    for step in range(1, 1001):
        dialogue.report(step, 0.5, now)
        request = dialogue.outgoing(now)
        sent += [request] if request else []
        now += PATIENCE
        assert dialogue.take_answer(now) == VerdictAnswer("")
    assert len(dialogue.reports) == 1000
    assert {each.request for each in sent} == {1}
    assert len(sent) < 25, "a silent driver is not flooded"


@pytest.mark.parametrize("question", [reported, asked])
def test_when_the_driver_is_gone_a_waiting_trial_yields(dialogue: Dialogue, question) -> None:
    question(dialogue)
    dialogue.on_driver_gone()
    assert dialogue.take_answer(0.0) == VerdictAnswer("yield")
    assert dialogue.request is RequestState.NONE
    assert dialogue.outgoing(1000.0) is None
    assert dialogue.order is None, "nobody has ordered it"


def test_after_the_driver_was_gone_every_report_is_answered_with_yield(dialogue: Dialogue) -> None:
    dialogue.on_driver_gone()
    dialogue.report(1, 0.1, 0.0)
    assert dialogue.take_answer(0.0) == VerdictAnswer("yield")
    assert dialogue.reports == [[1, 0.1]]


# -- the tables -------------------------------------------------------------------------------------------------------


def test_every_state_has_transitions_and_every_event_is_used() -> None:
    assert set(TRIAL_TRANSITIONS) == set(TrialState)
    assert set(REQUEST_TRANSITIONS) == set(RequestState)
    used = {event for table in (TRIAL_TRANSITIONS, REQUEST_TRANSITIONS) for row in table.values() for event in row}
    assert used == set(Event)
