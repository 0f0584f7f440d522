"""What a worker may say, and what an objective may make it say: no message stops a campaign, spoils its database or
costs another trial its result."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from pilotune.pipeline.campaign.campaign import Campaign
from pilotune.pipeline.campaign.events import Capacity, Ended, Lost, Reply, StopAttempt, Submit
from pilotune.pipeline.campaign.rules import Rules
from pilotune.pipeline.campaign.status import Status, snapshot
from pilotune.pipeline.campaign.study import CampaignStudy
from pilotune.pipeline.record import RecordStorage
from pilotune.pipeline.trial.protocol import (
    AttemptSpec,
    Message,
    Outcome,
    Report,
    Started,
    Stop,
    Suggest,
    Suggested,
    Verdict,
    decode,
    encode,
)

from .bench import SPACE
from .fuzzing import clear, deep, fuzzed, mutated, rubbish, texts

MESSAGES = [
    Started("0.1.c", "host", 1, "0", "0"),
    Report("0.1.c", 1, 1, 0.5),
    Suggest("0.1.c", 2, "x", '{"name": "FloatDistribution", "attributes": {"low": 0, "high": 1}}'),
    Verdict("0.1.c", 1, "prune"),
    Suggested("0.1.c", 2, 0.5),
    Stop("0.1.c", "kill"),
]
LISTENED = (Started, Report, Suggest)


# -- the wire ---------------------------------------------------------------------------------------------------------


def heard(data: bytes) -> Message | None:
    try:
        message = decode(data)
    except ValueError as error:
        clear(error, "not a message of the report channel")
        return None
    assert repr(decode(encode(message))) == repr(message), "sent on, it is the same"
    return message


@given(st.one_of(st.binary(max_size=200), rubbish().map(lambda data: json.dumps(data).encode())))
@fuzzed(200)
def test_rubbish_is_no_message(data) -> None:
    assert heard(data) is None


@given(st.sampled_from(MESSAGES).flatmap(lambda message: mutated(json.loads(encode(message)))))
@fuzzed(300)
def test_a_changed_message_is_one_or_none(data) -> None:
    message = heard(json.dumps(data).encode())
    if isinstance(message, Report):
        assert (type(message.step), type(message.request), float(message.value)) is not None
    if isinstance(message, Suggest):
        assert {type(message.name), type(message.distribution), type(message.token)} == {str}


# -- a campaign that hears them ---------------------------------------------------------------------------------------

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
    "reports": [[0, 0.5], [1, 0.75]],
    "params": {},
    "host": "h",
    "pool": "p",
    "block": "0",
    "worker": "w",
    "saved": True,
    "leaving": False,
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
ACTS = st.one_of(
    st.tuples(st.just("started"), texts(), texts(), texts()),
    st.tuples(st.just("report"), REQUESTS, STEPS, VALUES),
    st.tuples(st.just("suggest"), REQUESTS, NAMES, DISTRIBUTIONS),
    st.tuples(st.just("outcome"), mutated(GOOD, KINDS)),
    st.tuples(st.just("lost"), texts()),
)
"""What comes of an attempt; to whom of those in flight, or that were, is drawn beside it."""
PRUNERS: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
    "none": optuna.pruners.NopPruner,
    "median": lambda: optuna.pruners.MedianPruner(1, 0),
    "hyperband": lambda: optuna.pruners.HyperbandPruner(1, 9),
    "asha": optuna.pruners.SuccessiveHalvingPruner,
    "threshold": lambda: optuna.pruners.ThresholdPruner(0.0, 1.0),
    "patient": lambda: optuna.pruners.PatientPruner(None, 1),
    "wilcoxon": lambda: optuna.pruners.WilcoxonPruner(n_startup_steps=0),
}
SAMPLERS: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
    "random": lambda: optuna.samplers.RandomSampler(0),
    "tpe": lambda: optuna.samplers.TPESampler(n_startup_trials=1, seed=0),
}


@functools.cache
def plain_optuna(url: str) -> optuna.storages.RDBStorage:
    return optuna.storages.RDBStorage(url.replace("postgresql:", "postgresql+psycopg:"))


@functools.cache
def record(url: str, what_for: str) -> RecordStorage:
    """Kept from example to example, since each new one has all its statements to compile."""
    return RecordStorage(url, autocommit=False)


class Desk:
    """A campaign on a study of its own, in a database with those of all examples before."""

    made = 0

    def __init__(self, url: str, free: bool, pruner: str, sampler: str):
        Desk.made += 1
        self.url, self.name = url, f"s{Desk.made}"
        self.storage = record(url, "campaign")
        optuna.create_study(storage=self.storage, study_name=self.name)
        study = optuna.load_study(
            study_name=self.name, storage=self.storage, sampler=SAMPLERS[sampler](), pruner=PRUNERS[pruner]()
        )
        desk = CampaignStudy(study, self.storage, None if free else SPACE, "c1")
        self.campaign = Campaign(desk, Rules(trials=8, retries=1), self.spec, "c1", 1000.0)
        self.free, self.now = free, 1000.0
        self.specs: list[AttemptSpec] = []

    def spec(self, flight: Any) -> AttemptSpec:
        return AttemptSpec(
            flight.token, self.name, flight.number, flight.attempt, flight.params, self.free, "/tmp", 0, 1
        )

    def turn(self, *events: Any) -> None:
        """A tick of the pump; what is to be said to workers and to people can be said."""
        self.now += 1.0
        self.campaign.step(self.now, events)
        result = self.storage.commit(8)
        for action in self.campaign.release(result.refused, result.overtaken):
            if isinstance(action, Submit):
                self.specs.append(action.spec)
            elif isinstance(action, Reply):
                answer = Suggested(action.token, action.request, action.value, action.error)
                assert encode(answer if action.suggested else Verdict(action.token, action.request, action.stop))
            elif isinstance(action, StopAttempt):
                assert encode(Stop(action.token, action.how))
        status = snapshot(self.campaign, storage=self.url, run_dir="/tmp", now=self.now)
        assert Status.from_json(status.to_json()).total == status.total

    def event(self, spec: AttemptSpec, act: tuple[Any, ...]) -> Any:
        """What arrives of it: None for what is dropped on the way, and does not begin to be an event."""
        kind, *said = act
        if kind == "lost":
            return Lost(spec.token, *said)
        if kind == "outcome":
            try:
                own = {"token": spec.token, "number": spec.number, "attempt": spec.attempt}
                return Ended(Outcome.from_dict(json.loads(json.dumps({**own, **said[0]}))))
            except ValueError:
                return None
        made = {
            "started": lambda host, block, worker: Started(spec.token, host, 1, block, worker),
            "report": lambda request, step, value: Report(spec.token, request, step, value),
            "suggest": lambda request, name, form: Suggest(spec.token, request, name, form),
        }
        return heard(encode(made[kind](*said)))

    def finish(self) -> list[optuna.trial.FrozenTrial]:
        """Let what is in flight complete with its number as its value; the trials as others read them."""
        for _ in range(60):
            if self.campaign.finished:
                break
            done = [
                Outcome(f.token, f.number, f.attempt, "complete", [float(f.number)])
                for f in self.campaign.flights.values()
            ]
            self.turn(*map(Ended, done))
        assert self.campaign.finished
        reader = record(self.url, "reader")
        ours = reader.get_all_trials(reader.get_study_id_from_name(self.name))
        plain = plain_optuna(self.url)
        theirs = plain.get_all_trials(plain.get_study_id_from_name(self.name))
        plain.remove_session()
        assert [(t.number, t.state, t.values, t.params, t.user_attrs) for t in theirs] == [
            (t.number, t.state, t.values, t.params, t.user_attrs) for t in ours
        ]
        return ours


def play(url: str, free: bool, pruner: str, sampler: str, acts: list[tuple[int, tuple[Any, ...]]]) -> None:
    try:
        played(Desk(url, free, pruner, sampler), acts)
    except BaseException:
        record.cache_clear()
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
    assert len(trials) == 8 or desk.campaign.finished.code == 1, "the budget, or too many failures in a row"
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


@pytest.fixture(scope="module")
def sqlite_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = Path("/dev/shm") if Path("/dev/shm").is_dir() else tmp_path_factory.mktemp("database")
    path = folder / f"pilotune-fuzz-{tmp_path_factory.getbasetemp().name}-{id(tmp_path_factory)}.db"
    yield f"sqlite:///{path}"
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()


@pytest.fixture(scope="module")
def server_url(postgres_server) -> Iterator[str]:
    url = postgres_server.new_database(tables=True)
    yield url
    postgres_server.drop_database(url)


@given(*GAMES)
@fuzzed(150)
def test_no_worker_spoils_a_study_on_sqlite(sqlite_url, free, pruner, sampler, acts) -> None:
    play(sqlite_url, free, pruner, sampler, acts)


@pytest.mark.postgres
@given(*GAMES)
@fuzzed(60)
def test_no_worker_spoils_a_study_on_postgresql(server_url, free, pruner, sampler, acts) -> None:
    play(server_url, free, pruner, sampler, acts)
