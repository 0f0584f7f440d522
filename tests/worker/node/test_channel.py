"""Reports, verdicts, suggestions and stops over a real CurveZMQ channel; isolated and in the worker."""

from __future__ import annotations

import json
import os
import signal
import stat
import textwrap
import threading
import time

import optuna
import pytest
import zmq

from pilotune.pipeline.trial.protocol import (
    ChannelAddress,
    ObjectiveSpec,
    Report,
    Started,
    Stop,
    Suggest,
    Suggested,
    Verdict,
    decode,
)
from pilotune.pipeline.worker import dialogue
from pilotune.pipeline.worker.node import channel as channel_module
from pilotune.pipeline.worker.node.channel import make_keys
from pilotune.pipeline.worker.run_attempt import run_attempt

from ...support.trial_driver import Driver, go_on, make_spec, stop_at_start, suggested, verdict_at

OBJECTIVE = """
    import time
    import pilotune

    def reports(trial):
        for step in range(1, 6):
            trial.report(step / 10, step)
        return 0.5

    def patient(trial):
        trial.set_user_attr("begun", True)
        while not trial.should_yield():
            time.sleep(0.02)
        (trial.checkpoint_dir / "saved").write_text("here")
        raise pilotune.TrialYield("saved")

    def deaf(trial):
        time.sleep(600)

    def waits(trial):
        for step in range(1000):
            trial.report(1.0, step)
            time.sleep(0.05)
        return 1.0

    def bad_report(trial):
        trial.report("much", 1)

    def twice(trial):
        trial.report(0.1, 1)
        trial.report(0.2, 1)
        return 0.0
"""

UNCHANGED = """
    import optuna

    def objective(trial):
        lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        units = trial.suggest_int("units", 4, 64, step=4)
        kind = trial.suggest_categorical("kind", ["sgd", None, 2])
        assert trial.suggest_float("lr", 1e-4, 1e-1, log=True) == lr
        trial.set_user_attr("distributions", sorted(trial.distributions))
        for step in range(4):
            trial.report(lr * step, step)
            if trial.should_prune():
                raise optuna.TrialPruned()
        return lr + units

    def clash(trial):
        trial.suggest_int("a", 0, 3)
        trial.suggest_float("a", 0, 3)
"""


@pytest.fixture
def objective(tmp_path):
    for name, text in (("ours.py", OBJECTIVE), ("theirs.py", UNCHANGED)):
        (tmp_path / name).write_text(textwrap.dedent(text))
    return lambda function, file="ours.py": ObjectiveSpec(file=str(tmp_path / file), function=function)


@pytest.fixture
def drive(tmp_path):
    """Start a driver with these answers."""
    drivers = []

    def start(answer=None):
        drivers.append(Driver(tmp_path, answer))
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.close()


both = pytest.mark.parametrize("isolate", [True, False], ids=["isolated", "inline"])


@both
def test_reports_reach_the_driver_and_the_outcome(tmp_path, objective, drive, isolate):
    driver = drive()
    outcome = run_attempt(make_spec(tmp_path, objective("reports"), channel=driver.address, isolate=isolate))
    assert outcome["kind"] == "complete"
    assert [(r.step, r.value) for r in driver.of(Report)] == [(s, s / 10) for s in range(1, 6)]
    assert outcome["reports"] == [[s, s / 10] for s in range(1, 6)]
    requests = [r.request for r in driver.of(Report)]
    assert requests == sorted(set(requests))
    assert [s.token for s in driver.of(Started)] == ["7.1.c"]


@both
def test_a_prune_verdict_ends_the_trial_at_that_report(tmp_path, objective, drive, isolate):
    driver = drive(verdict_at(3, "prune"))
    outcome = run_attempt(make_spec(tmp_path, objective("reports"), channel=driver.address, isolate=isolate))
    assert (outcome["kind"], outcome["reason"]) == ("pruned", "pruned at step 3")
    assert len(outcome["reports"]) == 3


@both
def test_a_yield_verdict_ends_the_attempt_for_another(tmp_path, objective, drive, isolate):
    driver = drive(verdict_at(2, "yield"))
    outcome = run_attempt(make_spec(tmp_path, objective("reports"), channel=driver.address, isolate=isolate))
    assert (outcome["kind"], outcome["values"]) == ("yielded", None)


@both
def test_a_kill_verdict_stops_it(tmp_path, objective, drive, isolate):
    driver = drive(verdict_at(2, "kill"))
    outcome = run_attempt(make_spec(tmp_path, objective("reports"), channel=driver.address, isolate=isolate))
    assert outcome["kind"] == "stopped"


@both
def test_an_unasked_yield_is_seen_without_a_report(tmp_path, objective, drive, isolate):
    driver = drive(stop_at_start("yield"))
    outcome = run_attempt(make_spec(tmp_path, objective("patient"), channel=driver.address, isolate=isolate))
    assert (outcome["kind"], outcome["reason"]) == ("yielded", "saved")
    assert outcome["user_attrs"] == {"begun": True}
    assert (tmp_path / "trials" / "7" / "checkpoint" / "saved").exists()


def test_an_unasked_kill_ends_a_deaf_objective(tmp_path, objective, drive):
    driver = drive(stop_at_start("kill"))
    assert run_attempt(make_spec(tmp_path, objective("deaf"), channel=driver.address))["kind"] == "stopped"


def test_the_timeout_holds_while_a_verdict_is_waited_for(tmp_path, objective, drive):
    driver = drive(lambda message: None)
    spec = make_spec(tmp_path, objective("reports"), channel=driver.address, timeout=0.3)
    assert run_attempt(spec)["failure"] == "timeout"


@both
def test_an_unanswered_request_is_sent_again(tmp_path, objective, drive, isolate, monkeypatch):
    monkeypatch.setattr(dialogue, "RESEND", 0.1)
    seen = set()

    def forgetful(message):
        if isinstance(message, Report) and message.request not in seen:
            seen.add(message.request)
            return None
        return go_on(message)

    driver = drive(forgetful)
    outcome = run_attempt(make_spec(tmp_path, objective("reports"), channel=driver.address, isolate=isolate))
    assert outcome["kind"] == "complete"
    assert len(driver.of(Report)) >= 10
    assert len(outcome["reports"]) == 5


@both
def test_answers_to_another_attempt_or_request_change_nothing(tmp_path, objective, drive, isolate):
    def confused(message):
        if not isinstance(message, Report):
            return go_on(message)
        return [
            Stop("3.1.other", "kill"),
            Verdict("3.1.other", message.request, "kill"),
            Verdict(message.token, message.request - 1, "kill"),
            Verdict(message.token, message.request),
        ]

    driver = drive(confused)
    outcome = run_attempt(make_spec(tmp_path, objective("reports"), channel=driver.address, isolate=isolate))
    assert outcome["kind"] == "complete"


@both
def test_a_driver_that_is_gone_makes_the_attempt_yield(tmp_path, objective, drive, isolate, monkeypatch):
    monkeypatch.setenv("PILOTUNE_DRIVER_TIMEOUT", "0.2")
    driver = drive()
    reported = threading.Event()
    answer = driver.answer
    driver.answer = lambda message: (reported.set() if isinstance(message, Report) else None, answer(message))[1]
    closer = threading.Thread(target=lambda: (reported.wait(20), time.sleep(0.1), driver.close()))
    closer.start()
    outcome = run_attempt(make_spec(tmp_path, objective("waits"), channel=driver.address, isolate=isolate))
    closer.join()
    assert outcome["kind"] == "yielded"
    assert json.loads((tmp_path / "trials" / "7" / "outcome-1.json").read_text()) == outcome


def test_a_silent_driver_is_waited_for(tmp_path, objective, drive, monkeypatch):
    def slow(message):
        if isinstance(message, Report):
            time.sleep(0.4)
        return go_on(message)

    driver = drive(slow)
    # Known to the worker before the attempt, so that only the silence is measured.
    run_attempt(make_spec(tmp_path, objective("twice"), channel=driver.address, number=1))
    monkeypatch.setenv("PILOTUNE_DRIVER_TIMEOUT", "0.1")
    outcome = run_attempt(make_spec(tmp_path, objective("twice"), channel=driver.address))
    assert outcome["kind"] == "complete"


def test_one_connection_serves_all_attempts_of_a_worker(tmp_path, objective, drive):
    driver = drive()
    channels = []
    for number in range(3):
        run_attempt(make_spec(tmp_path, objective("reports"), channel=driver.address, number=number))
        channels.append(channel_module._channel)
    assert channels[0] is channels[1] is channels[2]


@both
def test_a_worker_that_is_ended_lets_its_trial_yield(tmp_path, objective, drive, isolate):
    def end_the_worker(message):
        if isinstance(message, Started):
            os.kill(os.getpid(), signal.SIGTERM)
        return go_on(message)

    driver = drive(end_the_worker)
    ended = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: ended.set())
    try:
        outcome = run_attempt(make_spec(tmp_path, objective("patient"), channel=driver.address, isolate=isolate))
        assert (outcome["kind"], outcome["reason"]) == ("yielded", "saved")
        assert ended.wait(20)  # afterwards the signal takes its usual effect
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_worker_that_is_ended_does_not_wait_for_a_deaf_objective(tmp_path, objective, monkeypatch):
    from pilotune.pipeline.worker import run_attempt as runner

    monkeypatch.setattr(runner, "LAST_MOMENT", 0.0)
    ended = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: ended.set())
    try:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
        outcome = run_attempt(make_spec(tmp_path, objective("deaf"), grace=0.2))
        assert (outcome["kind"], outcome["reason"]) == ("yielded", "its worker was ended")
        assert ended.wait(20)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_report_of_no_number_is_a_type_error_with_a_sentence(tmp_path, objective):
    outcome = run_attempt(make_spec(tmp_path, objective("bad_report")))
    assert outcome["failure"] == "exception"
    assert outcome["reason"] == "TypeError: report() needs a number as value, got 'much' (str)"


def test_a_step_reported_twice_counts_once(tmp_path, objective, drive):
    driver = drive()
    outcome = run_attempt(make_spec(tmp_path, objective("twice"), channel=driver.address))
    assert outcome["reports"] == [[1, 0.1]]
    assert len(driver.of(Report)) == 1


@both
def test_an_unchanged_optuna_objective_defines_its_space_as_it_runs(tmp_path, objective, drive, isolate):
    driver = drive()
    spec = make_spec(
        tmp_path,
        objective("objective", "theirs.py"),
        channel=driver.address,
        isolate=isolate,
        defines_space=True,
        params={},
        space_names=[],
    )
    outcome = run_attempt(spec)
    assert outcome["kind"] == "complete", outcome
    assert outcome["values"] == [1e-4 + 4]
    assert outcome["params"] == {"lr": 1e-4, "units": 4, "kind": "sgd"}
    assert outcome["user_attrs"] == {"distributions": ["kind", "lr", "units"]}
    forms = {s.name: s.distribution for s in driver.of(Suggest)}
    assert optuna.distributions.json_to_distribution(forms["lr"]) == optuna.distributions.FloatDistribution(
        1e-4, 1e-1, log=True
    )
    assert optuna.distributions.json_to_distribution(forms["units"]) == optuna.distributions.IntDistribution(
        4, 64, step=4
    )
    assert len(driver.of(Suggest)) == 3


@both
def test_an_unchanged_optuna_objective_is_pruned_by_its_own_exception(tmp_path, objective, drive, isolate):
    driver = drive(verdict_at(2, "prune"))
    spec = make_spec(
        tmp_path,
        objective("objective", "theirs.py"),
        channel=driver.address,
        isolate=isolate,
        params={"lr": 0.1, "units": 8, "kind": "sgd"},
        space_names=["lr", "units", "kind"],
    )
    outcome = run_attempt(spec)
    assert (outcome["kind"], len(outcome["reports"])) == ("pruned", 3)
    assert driver.of(Suggest) == []


def test_an_unchanged_optuna_objective_yields_when_asked(tmp_path, objective, drive):
    driver = drive(verdict_at(1, "yield"))
    spec = make_spec(tmp_path, objective("objective", "theirs.py"), channel=driver.address, defines_space=True)
    assert run_attempt(spec)["kind"] == "yielded"


def test_the_driver_s_refusal_of_a_suggestion_is_a_value_error(tmp_path, objective, drive):
    def refuse(message):
        if isinstance(message, Suggest):
            return Suggested(message.token, message.request, error="units was a float before")
        return go_on(message)

    driver = drive(refuse)
    spec = make_spec(tmp_path, objective("objective", "theirs.py"), channel=driver.address, defines_space=True)
    outcome = run_attempt(spec)
    assert outcome["reason"] == "ValueError: units was a float before"


def test_a_name_suggested_again_as_another_kind_is_refused(tmp_path, objective, drive):
    driver = drive(lambda m: suggested(m) if isinstance(m, Suggest) else go_on(m))
    spec = make_spec(tmp_path, objective("clash", "theirs.py"), channel=driver.address, defines_space=True)
    assert "suggested before with another kind" in run_attempt(spec)["reason"]


def test_a_name_outside_the_study_file_s_space_is_refused_with_a_sentence(tmp_path, objective):
    spec = make_spec(tmp_path, objective("objective", "theirs.py"))
    outcome = run_attempt(spec)
    assert "'lr' is not in the study file's space (x)" in outcome["reason"]


def test_the_keys_are_for_their_owner_only_and_hold_no_server_secret(tmp_path):
    secret = make_keys(tmp_path / "keys")
    text = (tmp_path / "keys").read_text()
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o600
    assert secret.decode() not in text
    assert set(json.loads(text)) == {"server_public", "client_public", "client_secret"}


def test_a_stranger_without_the_key_is_not_heard(tmp_path, drive):
    driver = drive()
    keys = json.loads((tmp_path / "channel.key").read_text())
    context = zmq.Context()
    sockets = []
    for curve in (True, False):
        stranger = context.socket(zmq.DEALER)
        stranger.linger = 0
        if curve:
            stranger.curve_publickey, stranger.curve_secretkey = zmq.curve_keypair()
            stranger.curve_serverkey = keys["server_public"].encode()
        stranger.connect(driver.address.url)
        stranger.send(b'{"type": "started"}')
        sockets.append(stranger)
    time.sleep(0.3)
    for stranger in sockets:
        stranger.close()
    context.term()
    assert driver.got == []


def test_a_key_file_that_holds_no_keys_is_a_setup_failure(tmp_path, objective):
    (tmp_path / "keys").write_text("[]")
    address = ChannelAddress(url="tcp://127.0.0.1:9", key_file=str(tmp_path / "keys"))
    outcome = run_attempt(make_spec(tmp_path, objective("reports"), channel=address))
    assert outcome["failure"] == "setup"
    assert "does not hold the keys of a campaign" in outcome["reason"]


@pytest.mark.parametrize("rubbish", [b"", b"[]", b"{}", b'{"type": "no"}', b"\xff\xfe", b'{"type": "report"}'])
def test_rubbish_on_the_wire_is_a_value_error(rubbish):
    with pytest.raises(ValueError, match="not a message"):
        decode(rubbish)
