"""A campaign that is sent malformed and contradictory messages, on a database that other readers check afterwards."""

from __future__ import annotations

import functools
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import optuna
import pytest

from pilotune.pipeline.campaign.campaign import Campaign
from pilotune.pipeline.campaign.campaign_study import CampaignStudy
from pilotune.pipeline.campaign.events import Ended, Lost, Reply, StopAttempt, Submit
from pilotune.pipeline.campaign.limits import CampaignLimits
from pilotune.pipeline.driver.status import Status, snapshot
from pilotune.pipeline.record import RecordStorage
from pilotune.pipeline.space import Space
from pilotune.pipeline.trial.protocol import (
    AttemptSpec,
    Attributes,
    Message,
    Outcome,
    Query,
    Report,
    Started,
    Stop,
    Suggest,
    decode,
    encode,
)

from .campaign_bench import QuietServices
from .fuzzing import clear


def heard(data: bytes) -> Message | None:
    """The message that the driver decodes; None for what it drops."""
    try:
        message = decode(data)
    except ValueError as error:
        clear(error, "not a message of the report channel")
        return None
    assert repr(decode(encode(message))) == repr(message), "encoding and decoding it again changes nothing"
    return message


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
    """Reused by all examples, since each new one would compile all its statements again."""
    return RecordStorage(url, autocommit=False)


def close_all() -> None:
    plain_optuna.cache_clear()
    record.cache_clear()


class Desk(QuietServices):
    """A campaign on a study of its own, in one database with the studies of all earlier examples."""

    made = 0

    def __init__(self, url: str, space: Space | None, pruner: Any, sampler: Any):
        Desk.made += 1
        self.url, self.name = url, f"s{Desk.made}"
        self.storage = record(url, "campaign")
        optuna.create_study(storage=self.storage, study_name=self.name)
        study = optuna.load_study(study_name=self.name, storage=self.storage, sampler=sampler, pruner=pruner)
        campaign_study = CampaignStudy(study, self.storage, space, "c1")
        self.campaign = Campaign(campaign_study, CampaignLimits(trials=8, retries=1), self, "c1", 1000.0)
        self.free, self.now = space is None, 1000.0
        self.specs: list[AttemptSpec] = []

    def make_spec(self, flight: Any) -> AttemptSpec:
        return AttemptSpec(
            flight.token,
            self.name,
            flight.number,
            flight.attempt,
            flight.params,
            self.free,
            "/tmp",
            0,
            1,
            repeat=flight.repeat,
            since=flight.since,
        )

    def turn(self, *events: Any) -> None:
        """One tick. Every message for a worker can be encoded, and the status can be written and read."""
        self.now += 1.0
        self.campaign.step(self.now, events)
        result = self.storage.commit(8)
        for action in self.campaign.release(result.refused, result.overtaken):
            if isinstance(action, Submit):
                self.specs.append(action.spec)
            elif isinstance(action, Reply):
                assert encode(action.message)
            elif isinstance(action, StopAttempt):
                assert encode(Stop(action.token, action.how))
        status = snapshot(self.campaign, storage=self.url, run_dir="/tmp", now=self.now)
        assert Status.from_json(status.to_json()).total == status.total

    def event(self, spec: AttemptSpec, act: tuple[Any, ...]) -> Any:
        """The event that arrives; None for what cannot be decoded and is dropped."""
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
            "query": lambda request, what, arguments: Query(spec.token, request, what, arguments),
            "attributes": lambda serial, user, system: Attributes(spec.token, serial, user, system),
        }
        return heard(encode(made[kind](*said)))

    def finish(self) -> list[optuna.trial.FrozenTrial]:
        """Let every trial in flight complete, with its number as its value; returns the trials as others read them."""
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


@pytest.fixture(scope="module")
def sqlite_url() -> Iterator[str]:
    """In memory if possible, where thousands of commits wait for no disk."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="pilotune-fuzz-", dir=memory) as folder:
        yield f"sqlite:///{folder}/study.db"
        close_all()


@pytest.fixture(scope="module")
def server_url(postgres_server) -> Iterator[str]:
    url = postgres_server.new_database(tables=True)
    yield url
    close_all()
    postgres_server.drop_database(url)
