"""When the driver hears of the attributes that an objective sets."""

from __future__ import annotations

import json

from pilotune.pipeline.trial.protocol import MESSAGE_LIMIT, Attributes, Query, Report, Suggested, Verdict, encode
from pilotune.pipeline.worker.attribute_feed import ATTRIBUTES_AFTER, LARGEST_SENT, MOST_SENT, AttributeFeed
from pilotune.pipeline.worker.dialogue import Dialogue, RequestState, TrialState, ValueAnswer, VerdictAnswer

TOKEN = "7.1.c"


def test_attributes_are_sent_once_and_together_a_second_after_the_first() -> None:
    feed = AttributeFeed(TOKEN)
    for moment, value in ((10.0, 1), (10.5, 2)):
        feed.set("a", value, moment)
        feed.set("b", value, moment, system=True)
    assert (feed.outgoing(10.9), feed.deadline()) == (None, 10.0 + ATTRIBUTES_AFTER)
    assert feed.outgoing(11.0) == Attributes(TOKEN, 1, {"a": 2}, {"b": 2})
    assert (feed.outgoing(99.0), feed.deadline()) == (None, None)
    feed.set("a", 3, 99.0)
    assert feed.outgoing(99.0, request=True) == Attributes(TOKEN, 2, {"a": 3}), "before a request there is no wait"
    assert (feed.user, feed.system) == ({"a": 3}, {"b": 2})


def test_an_objective_that_sets_no_attribute_sends_nothing() -> None:
    feed = AttributeFeed(TOKEN)
    assert feed.outgoing(1e9, request=True) is None
    assert feed.deadline() is None


def test_after_a_reconnection_all_of_them_are_sent_again() -> None:
    feed = AttributeFeed(TOKEN)
    for name in ("a", "b"):
        feed.set(name, 1, 0.0)
        feed.outgoing(0.0, request=True)
    feed.on_reconnection(5.0)
    assert feed.outgoing(5.0) == Attributes(TOKEN, 3, {"a": 1, "b": 1})


def test_large_attributes_come_with_the_outcome_only() -> None:
    feed = AttributeFeed(TOKEN)
    feed.set("a", 1, 0.0)
    feed.set("a", "x" * LARGEST_SENT, 0.0)
    assert feed.outgoing(9.0) is None
    feed.on_reconnection(9.0)
    assert feed.outgoing(9.0) is None
    assert len(feed.user["a"]) == LARGEST_SENT


def test_many_attributes_take_several_messages_that_the_channel_carries() -> None:
    feed, sent, now = AttributeFeed(TOKEN), {}, 0.0
    for i in range(30):
        feed.set(f"a{i}", "é" * 8_000, now)  # six characters each, in JSON
    while feed.deadline() is not None:
        now += ATTRIBUTES_AFTER
        message = feed.outgoing(now)
        assert message is not None
        assert len(encode(message)) < MOST_SENT + 10_000 < MESSAGE_LIMIT
        sent |= message.user_attrs
    assert json.dumps(sent) == json.dumps(feed.user)
    assert now > ATTRIBUTES_AFTER


# -- in a conversation ------------------------------------------------------------------------------------------------


def test_attributes_need_no_answer_and_hold_up_nothing() -> None:
    dialogue = Dialogue(TOKEN)
    dialogue.attributes.set("a", 1, 0.0)
    assert dialogue.deadline() == ATTRIBUTES_AFTER
    assert (dialogue.trial, dialogue.request) == (TrialState.RUNNING, RequestState.NONE)
    dialogue.report(1, 0.5, 0.25)
    request = dialogue.outgoing(0.25)
    assert isinstance(request, Report)
    assert dialogue.attributes.outgoing(0.25, request=True) is not None
    dialogue.receive(Verdict(TOKEN, request.request))
    assert dialogue.take_answer(0.3) == VerdictAnswer("")
    assert dialogue.deadline() is None


def test_a_reconnection_sends_them_again() -> None:
    dialogue = Dialogue(TOKEN)
    dialogue.attributes.set("a", 1, 0.0)
    dialogue.attributes.outgoing(1.0)
    dialogue.on_connection(True, 0, 2.0)
    assert dialogue.attributes.outgoing(2.0) is None
    dialogue.on_connection(True, 1, 3.0)
    assert dialogue.attributes.outgoing(3.0) is not None


def test_a_question_about_the_study_waits_for_its_value_and_is_no_parameter() -> None:
    dialogue = Dialogue(TOKEN)
    dialogue.ask("trial", {"number": 3})
    request = dialogue.outgoing(0.0)
    assert request == Query(TOKEN, 1, "trial", {"number": 3})
    assert (dialogue.trial, dialogue.take_answer(1000.0)) == (TrialState.AWAITS_VALUE, None)
    assert dialogue.outgoing(1000.0) is request, "it is sent again"
    assert dialogue.receive(Suggested(TOKEN, 1, {"trials": []}))
    assert dialogue.take_answer(1000.0) == ValueAnswer({"trials": []})
    assert dialogue.params == {}


def test_a_question_that_waits_for_a_dead_driver_ends_with_a_yield() -> None:
    dialogue = Dialogue(TOKEN)
    dialogue.ask("stop", {})
    dialogue.outgoing(0.0)
    dialogue.on_driver_gone()
    assert dialogue.take_answer(1.0) == VerdictAnswer("yield")
