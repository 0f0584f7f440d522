"""What a worker may say, and what an objective may make it say: no message stops a campaign, spoils its database or
costs another trial its result."""

from __future__ import annotations

import json
import math
from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from pilotune.pipeline.campaign.events import Capacity, Ended, Lost
from pilotune.pipeline.trial.protocol import (
    QUERIES,
    Attributes,
    Query,
    Report,
    Started,
    Stop,
    Suggest,
    Suggested,
    Verdict,
    encode,
)
from pilotune.providers.htex.pool import ParslPool

from ...support.campaign_bench import SPACE
from ...support.fuzzed_campaign import PRUNERS, SAMPLERS, Desk, close_all, heard, server_url, sqlite_url  # noqa: F401
from ...support.fuzzing import deep, fuzzed, mutated, rubbish, texts

MESSAGES = [
    Started("0.1.c", "host", 1, "0", "0"),
    Report("0.1.c", 1, 1, 0.5),
    Suggest("0.1.c", 2, "x", '{"name": "FloatDistribution", "attributes": {"low": 0, "high": 1}}'),
    Query("0.1.c", 3, "trials", {"after": -1, "states": ["COMPLETE"]}),
    Attributes("0.1.c", 1, {"rows": 150}, {"constraints:c": 0.5}),
    Verdict("0.1.c", 1, "prune"),
    Suggested("0.1.c", 2, 0.5),
    Stop("0.1.c", "kill"),
]

# -- the wire ---------------------------------------------------------------------------------------------------------


@given(st.one_of(st.binary(max_size=200), rubbish().map(lambda data: json.dumps(data).encode())))
@fuzzed(80)
def test_rubbish_is_no_message(data) -> None:
    assert heard(data) is None


@given(st.sampled_from(MESSAGES).flatmap(lambda message: mutated(json.loads(encode(message)))))
@fuzzed(80)
def test_a_changed_message_is_one_or_none(data) -> None:
    message = heard(json.dumps(data).encode())
    if isinstance(message, Report):
        assert (type(message.step), type(message.request), float(message.value)) is not None
    if isinstance(message, Suggest):
        assert {type(message.name), type(message.distribution), type(message.token)} == {str}


# -- a campaign that receives them ------------------------------------------------------------------------------

STEPS = st.one_of(st.integers(0, 5), st.sampled_from((2**31 - 1, 2**31, -1, 10**30)))
VALUES = st.one_of(st.floats(), st.sampled_from((1e308, -1e308, 5e-324, 10**300)))
REQUESTS = st.one_of(st.integers(1, 9), st.sampled_from((0, -1, 10**30)))
LIMITS = st.one_of(st.integers(-3, 40), VALUES)
NAMES = st.one_of(st.sampled_from(("x", "y", "z", "n" * 600)), texts())


def distribution(kind: str, **attributes: Any) -> str:
    return json.dumps({"name": f"{kind}Distribution", "attributes": attributes})


DISTRIBUTIONS = st.one_of(
    st.builds(
        lambda low, high, log, step: distribution("Float", low=low, high=high, log=log, step=step),
        LIMITS,
        LIMITS,
        st.booleans(),
        st.one_of(st.none(), LIMITS),
    ),
    st.builds(
        lambda low, high, log, step: distribution("Int", low=low, high=high, log=log, step=step),
        LIMITS,
        LIMITS,
        st.booleans(),
        st.one_of(st.just(1), LIMITS),
    ),
    st.builds(lambda choices: distribution("Categorical", choices=choices), rubbish()),
    st.builds(lambda low, high: distribution("Uniform", low=low, high=high), LIMITS, LIMITS),
    rubbish().map(json.dumps),
    texts(),
)
GOOD = {
    "kind": "complete",
    "values": [0.25],
    "failure": "",
    "reason": "as it was",
    "traceback": "",
    "user_attrs": {"note": "x"},
    "system_attrs": {"constraints:c": 0.5},
    "reports": [[0, 0.5], [1, 0.75]],
    "params": {},
    "host": "h",
    "pool": "p",
    "block": "0",
    "worker": "w",
    "saved": True,
    "leaving": False,
    "signalled": False,
    "started": 100.0,
    "finished": 101.5,
}
KINDS = st.sampled_from(
    (
        "pruned",
        "failed",
        "yielded",
        "stopped",
        "declined",
        "signal",
        "exception",
        "memory",
        "lost",
        1e308,
        float("nan"),
        [[3, float("inf")]],
        [[2**31, 1.0]],
        {"pilotune:exit": 1},
        {"k" * 5000: 1},
        {"a\0b": "c\0d", "\ud800": "\udfff"},
        deep(150),
        [1.0, 2.0],
        2**70,
    )
)
KEYS = st.one_of(
    st.sampled_from(
        ("constraints", "constraints:c", "fixed_params", "tpe:relative_params:0", "completed_rung_0", "mlflow")
    ),
    texts(),
)
ATTRS = st.dictionaries(KEYS, rubbish(), max_size=3)
ARGUMENTS = mutated(
    {
        "after": -1,
        "states": ["COMPLETE", "PRUNED"],
        "number": 0,
        "kind": "user",
        "key": "note",
        "value": 1,
        "params": {"x": 0.5},
        "user_attrs": {"a": 1},
        "skip": True,
    }
)
ACTS = st.one_of(
    st.tuples(st.just("started"), texts(), texts(), texts()),
    st.tuples(st.just("report"), REQUESTS, STEPS, VALUES),
    st.tuples(st.just("suggest"), REQUESTS, NAMES, DISTRIBUTIONS),
    st.tuples(st.just("query"), REQUESTS, st.one_of(st.sampled_from(QUERIES), texts()), ARGUMENTS),
    st.tuples(st.just("attributes"), REQUESTS, ATTRS, ATTRS),
    st.tuples(st.just("outcome"), mutated(GOOD, KINDS)),
    st.tuples(st.just("lost"), texts()),
)
"""What comes of an attempt; to whom of those in flight, or that were, is drawn beside it."""


@given(st.one_of(rubbish(), mutated({**GOOD, "token": "0.1.c", "number": 0, "attempt": 1}, KINDS)))
@fuzzed(100)
def test_what_a_task_returns_is_an_outcome_or_a_lost_attempt(returned) -> None:
    pool = ParslPool.__new__(ParslPool)
    pool._homes, pool._workers_of, pool.packed = {}, {}, None
    done: Future[Any] = Future()
    done.set_result(returned)
    event = pool._result("0.1.c", done)
    if isinstance(event, Ended):
        assert (event.outcome.token, type(event.outcome.reason)) == ("0.1.c", str)
    else:
        assert isinstance(event, Lost)
        assert event.token == "0.1.c"


def play(url: str, free: bool, pruner: str, sampler: str, acts: list[tuple[int, tuple[Any, ...]]]) -> None:
    try:
        played(Desk(url, None if free else SPACE, PRUNERS[pruner](), SAMPLERS[sampler]()), acts)
    except BaseException:
        close_all()
        raise


def played(desk: Desk, acts: list[tuple[int, tuple[Any, ...]]]) -> None:
    desk.turn(Capacity(3))
    touched = set()
    for whom, act in acts:
        spec = desk.specs[whom % len(desk.specs)]
        touched.add(spec.number)
        event = desk.event(spec, act)
        if event is not None:
            desk.turn(event)
    trials = desk.finish()
    assert [trial.number for trial in trials] == list(range(len(trials)))
    stopped = desk.campaign.finished.reason.endswith("called study.stop()")  # as an objective may
    assert len(trials) == 8 or desk.campaign.finished.code == 1 or stopped, "the budget, or too many failures in a row"
    for trial in trials:
        assert trial.state.is_finished()
        if trial.number not in touched:
            assert (trial.state, trial.value) == (TrialState.COMPLETE, float(trial.number))
        if trial.state == TrialState.COMPLETE:
            assert math.isfinite(trial.value)
        assert all(0 <= step < 2**31 for step in trial.intermediate_values)


GAMES = (
    st.booleans(),
    st.sampled_from(sorted(PRUNERS)),
    st.sampled_from(sorted(SAMPLERS)),
    st.lists(st.tuples(st.integers(0, 3), ACTS), min_size=1, max_size=12),
)


@given(*GAMES)
@fuzzed(60)
def test_no_worker_spoils_a_study_on_sqlite(sqlite_url, free, pruner, sampler, acts) -> None:  # noqa: F811
    play(sqlite_url, free, pruner, sampler, acts)


@pytest.mark.postgres
@given(*GAMES)
@fuzzed(30)
def test_no_worker_spoils_a_study_on_postgresql(server_url, free, pruner, sampler, acts) -> None:  # noqa: F811
    play(server_url, free, pruner, sampler, acts)
