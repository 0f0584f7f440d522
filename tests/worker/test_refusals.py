"""What one side cannot read or handle is answered with an error that fails the trial: nobody waits without end."""

from __future__ import annotations

import json
import textwrap
import threading

import pytest

from pilotune.pipeline.trial.protocol import (
    MESSAGE_LIMIT,
    ObjectiveSpec,
    Report,
    Started,
    Suggest,
    Suggested,
    Undecodable,
    decode,
    encode,
    refused,
)
from pilotune.pipeline.worker.node.channel import make_keys
from pilotune.pipeline.worker.process.messages import Garbled, ParamRequested, _decoded
from pilotune.pipeline.worker.run_attempt import run_attempt
from pilotune.providers.htex.channel_server import ChannelServer

from ..support.trial_driver import go_on, make_spec

OBJECTIVE = """
    import json

    def suggests(trial):
        return trial._connection.suggest(json.loads(trial.params["name"]), "{}")

    def reports(trial):
        trial._connection.report(1, json.loads(trial.params["value"]))
        return 0.5

    def lengths(trial):
        return len(trial.params["text"])

    def goes_on(trial):
        try:
            trial._connection.suggest(5, "{}")
        except ValueError as error:
            trial.set_user_attr("said", str(error))
        return trial.suggest_float("x", 0.25, 1.0)

    def names(trial):
        for name in (0, None, (1, 2), 2.5, b"x", True):
            trial.suggest_int(name, 3, 9)
        trial.set_user_attr("again", trial.suggest_int("0", 3, 9))
        return 1.0

    class Nameless:
        def __str__(self):
            raise RuntimeError("no")

    def nameless(trial):
        trial.suggest_int(Nameless(), 3, 9)
"""

both = pytest.mark.parametrize("isolate", [True, False], ids=["isolated", "inline"])


@pytest.fixture
def server(tmp_path):
    """The driver's real end of the channel; requests that it understands are answered as by a driver that goes on."""
    key_file = tmp_path / "channel.key"
    server = ChannelServer(key_file, make_keys(key_file))
    got, closing = [], threading.Event()

    def serve():
        while not closing.is_set():
            if server.socket.poll(50):
                for identity, message in server.drain():
                    got.append(message)
                    reply = go_on(message)
                    if reply is not None:
                        server.send(identity, reply)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    server.got = got
    yield server
    closing.set()
    thread.join()
    server.close()


@pytest.fixture
def attempt(tmp_path, server):
    (tmp_path / "objective.py").write_text(textwrap.dedent(OBJECTIVE))

    def run(function, isolate, **params):
        objective = ObjectiveSpec(file=str(tmp_path / "objective.py"), function=function)
        spec = make_spec(
            tmp_path, objective, channel=server.address, isolate=isolate, params=params, defines_space=True, timeout=60
        )
        return run_attempt(spec)

    return run


@both
@pytest.mark.parametrize("name", ["5", "null", "[1, 2]", "2.5", "true", "{}"])
def test_a_suggestion_that_cannot_be_read_fails_the_trial_in_a_sentence(attempt, isolate, name):
    outcome = attempt("suggests", isolate, name=name)
    assert (outcome["kind"], outcome["failure"]) == ("failed", "exception")
    assert "could not handle what the trial sent: " in outcome["reason"]
    assert "'name' has the wrong type" in outcome["reason"]


@both
@pytest.mark.parametrize("value", ['"much"', "null", "true", "[1]", "{}"])
def test_a_report_that_cannot_be_read_fails_the_trial_in_a_sentence(attempt, isolate, value):
    outcome = attempt("reports", isolate, value=value)
    assert (outcome["kind"], outcome["failure"]) == ("failed", "exception")
    assert "could not handle what the trial sent: 'value' has the wrong type" in outcome["reason"]


@both
def test_the_trial_may_go_on_after_a_refused_suggestion(attempt, isolate):
    outcome = attempt("goes_on", isolate)
    assert outcome["values"] == [0.25]
    assert "'name' has the wrong type: int" in outcome["user_attrs"]["said"]


@both
def test_names_are_texts_as_optuna_s_databases_have_them(attempt, server, isolate):
    outcome = attempt("names", isolate)
    names = ["0", "None", "(1, 2)", "2.5", "b'x'", "True"]
    assert [message.name for message in server.got if isinstance(message, Suggest)] == names
    assert (outcome["values"], outcome["user_attrs"]) == ([1.0], {"again": 3})
    assert outcome["params"] == dict.fromkeys(names, 3)


def test_a_name_without_a_text_is_a_type_error(attempt):
    outcome = attempt("nameless", False)
    assert outcome["reason"] == "TypeError: a name must be a text, and this Nameless has none: its str() fails"


# -- the messages themselves ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"name": 5},
        {"name": None},
        {"distribution": {"low": 0}},
        {"type": "sugest"},
        {"type": None},
        {"type": "report"},
        {"type": "report", "step": "1", "value": 0.5},
        {"type": "report", "step": 1, "value": "0.5"},
        {"type": "report", "step": 1, "value": 0.5, "more": [[2]]},
        {"type": "report", "step": 1, "value": 10**400},
    ],
)
def test_what_should_have_been_a_request_has_a_refusal(changes):
    fields = {"type": "suggest", "token": "7.1.c", "request": 3, "name": "x", "distribution": "{}", **changes}
    with pytest.raises(Undecodable) as caught:
        decode(json.dumps(fields).encode())
    refusal = caught.value.refusal
    assert refusal is not None
    assert (refusal.token, refusal.request, refusal.stop) == ("7.1.c", 3, "")
    assert refusal.error.startswith("the driver could not handle what the trial sent: ")
    assert decode(encode(refusal)) == refusal


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b"[]", b"null", b"\xff", b'{"type": "suggest"}', b'{"token": 7, "request": 1}', b"[" * 100_000),
        *(b'{"token": "7.1.c", "request": true}', b'{"token": "7.1.c", "request": 1.5}'),
    ],
)
def test_what_is_nobody_s_request_has_none(data):
    with pytest.raises(Undecodable) as caught:
        decode(data)
    assert caught.value.refusal is None
    assert refused(Started("7.1.c", "host", 1, "", ""), ValueError()) is None


class Unsaid(Exception):
    def __str__(self):
        raise RuntimeError("no")


def test_an_error_without_words_is_named():
    assert refused(Report("7.1.c", 1, 0, 0.5), Unsaid()).error.endswith("sent: Unsaid")


def test_an_answer_that_has_no_form_in_json_becomes_a_refusal(server):
    sent = []

    class Socket:
        def send_multipart(self, frames, flags):
            sent.append(decode(frames[1]))

        def close(self):
            pass

    real, server.socket = server.socket, Socket()
    server.send(b"worker", Suggested("7.1.c", 4, value=object()))
    server.send(b"worker", Suggested("7.1.c", 5, value={1, 2}))
    server.socket = real
    assert [answer.request for answer in sent] == [4, 5]
    assert sent[0].error.endswith("sent: TypeError: Object of type object is not JSON serializable")
    assert sent[1].error.endswith("sent: TypeError: Object of type set is not JSON serializable")


@both
def test_a_request_that_is_too_long_for_the_channel_is_not_sent_but_refused(attempt, server, isolate):
    outcome = attempt("suggests", isolate, name=json.dumps("x" * MESSAGE_LIMIT))
    assert "bytes, more than 1000000" in outcome["reason"]
    assert not any(isinstance(message, Suggest) for message in server.got)


def test_a_line_of_a_trial_that_is_no_message_is_not_dropped():
    lines = [{"type": "ParamRequested", "name": 5, "distribution": "{}"}, {"type": "Unheard"}, {}]
    lines.append({"type": "ParamRequested", "name": "x", "distribution": "{}"})
    *garbled, whole = _decoded(lines)
    assert [type(message) for message in garbled] == [Garbled] * 3
    assert whole == ParamRequested("x", "{}")


def test_parameters_longer_than_a_socket_s_buffer_reach_the_trial(attempt):
    outcome = attempt("lengths", True, text="x" * 3_000_000)
    assert outcome["values"] == [3_000_000.0]
