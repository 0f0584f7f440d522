"""The largest values and the most reports that an objective can send; samplers and pruners that fail."""

from __future__ import annotations

import json
import logging
import math
import socket
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from pilotune.errors import RecordAway
from pilotune.pipeline.campaign.events import Capacity, Ended
from pilotune.pipeline.campaign.trial_attributes import ATTRIBUTE_LIMIT
from pilotune.pipeline.driver.run import logging_to
from pilotune.pipeline.expressions import Constraint
from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.trial.api import Trial
from pilotune.pipeline.trial.protocol import MESSAGE_LIMIT, AttemptSpec, Outcome, Report, Started, Suggest, encode
from pilotune.pipeline.worker.node.jsonlines import JsonLines

from ...support.campaign_bench import SPACE
from ...support.fuzzed_campaign import Desk, server_url, sqlite_url  # noqa: F401
from ...support.fuzzing import HUGE, deep, watchdog


@pytest.fixture(params=["sqlite_url", pytest.param("server_url", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(request.param)


def desk_at(url: str, space: Space | None = SPACE, pruner: Any = None, sampler: Any = None) -> Desk:
    desk = Desk(url, space, pruner or optuna.pruners.NopPruner(), sampler or optuna.samplers.RandomSampler(0))
    desk.turn(Capacity(1))
    return desk


def complete(spec: AttemptSpec, value: float = 0.5, **more: Any) -> Ended:
    return Ended(Outcome(spec.token, spec.number, spec.attempt, "complete", [value], **more))


STRANGE = {
    "nul": "a\0b",
    "halves": "caf\udce9 \ud800",
    "numbers": [*HUGE, math.nan, math.inf, -math.inf, 5e-324],
    "long": "x" * 10_000_000,
    "many": {str(n): n for n in range(50_000)},
    "nested": deep(100),
    "escapes": "\x1b[2J\r\n\u2028",
    "": "no name",
    "k" * 512: "the longest name",
    "a.b['c']\"; DROP TABLE trials; --": 1,
}
IMPOSSIBLE = {"k" * 5000: 1, "a\0b": 1, "\ud800": 1, "endless": "x" * (ATTRIBUTE_LIMIT + 1), "bytes": b"x"}


def test_every_attribute_is_kept_as_it_is_or_left_out(url) -> None:
    desk = desk_at(url)
    desk.turn(complete(desk.specs[0], user_attrs={**STRANGE, **IMPOSSIBLE}))
    kept = desk.finish()[0]
    assert kept.state == TrialState.COMPLETE
    known = {key: value for key, value in kept.user_attrs.items() if not key.startswith("pilotune:")}
    assert json.dumps(known, sort_keys=True) == json.dumps(STRANGE, sort_keys=True)


def test_a_hundred_thousand_reports_at_once_are_kept_in_time(url) -> None:
    desk = desk_at(url)
    reports = [[step, step / 2] for step in range(100_000)]
    with watchdog():
        desk.turn(Started(desk.specs[0].token, "h", 1, "", ""), Report(desk.specs[0].token, 1, 7, 0.25))
        desk.turn(complete(desk.specs[0], reports=[*reports, [2**31 - 1, math.nan], [5, 99.0]]))
    trial = desk.finish()[0]
    assert len(trial.intermediate_values) == 100_001
    assert (trial.intermediate_values[7], trial.intermediate_values[5]) == (0.25, 2.5), "what was told first stays"
    assert math.isnan(trial.intermediate_values[2**31 - 1])


@pytest.mark.parametrize("value", [1.7e308, -1.7e308, 5e-324, 0.0, -0.0])
def test_the_largest_and_smallest_values_are_kept(url, value) -> None:
    desk = desk_at(url)
    desk.turn(complete(desk.specs[0], value))
    assert desk.finish()[0].value == value


class Broken(optuna.samplers.RandomSampler):
    """Fails in a chosen method."""

    def __init__(self, where: str, error: Exception):
        super().__init__(seed=0)
        self.where, self.error = where, error

    def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
        if self.where == "ask" and trial.number == 2:
            raise self.error
        return super().infer_relative_search_space(study, trial)

    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        if self.where == "tell":
            raise self.error


ERRORS = [KeyError("x"), MemoryError("64 PiB"), RecursionError(), ZeroDivisionError(), TypeError("no")]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_sampler_that_fails_ends_the_campaign_with_the_reason(sqlite_url, error) -> None:  # noqa: F811
    desk = desk_at(sqlite_url, sampler=Broken("ask", error))
    trials = desk.finish()
    assert desk.campaign.finished.code == 1
    assert type(error).__name__ in desk.campaign.finished.reason
    assert (trials[0].state, trials[0].value) == (TrialState.COMPLETE, 0.0), "what had ended is kept"


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_sampler_that_fails_afterwards_costs_no_result(sqlite_url, error) -> None:  # noqa: F811
    desk = desk_at(sqlite_url, sampler=Broken("tell", error))
    assert [trial.value for trial in desk.finish()] == [float(number) for number in range(8)]


class BrokenPruner(optuna.pruners.NopPruner):
    def __init__(self, error: Exception):
        self.error = error

    def prune(self, study: Any, trial: Any) -> bool:
        raise self.error


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_pruner_that_fails_prunes_nothing(sqlite_url, error) -> None:  # noqa: F811
    desk = desk_at(sqlite_url, pruner=BrokenPruner(error))
    desk.turn(Report(desk.specs[0].token, 1, 3, 0.5))
    first = desk.finish()[0]
    assert (first.state, first.intermediate_values) == (TrialState.COMPLETE, {3: 0.5})


def test_a_database_that_is_away_is_no_failure_of_the_pruner(sqlite_url) -> None:  # noqa: F811
    desk = desk_at(sqlite_url, pruner=BrokenPruner(RecordAway("away")))
    with pytest.raises(RecordAway):
        desk.turn(Report(desk.specs[0].token, 1, 3, 0.5))


def test_a_constraint_that_mixes_numbers_and_words_late_ends_the_campaign_with_the_reason(sqlite_url) -> None:  # noqa: F811
    space = Space(
        (Parameter("x", FloatDistribution(0.0, 1.0)),), {"word": "sgd"}, (Constraint("x < 0 or word + 1 > x"),)
    )
    desk = Desk(sqlite_url, space, optuna.pruners.NopPruner(), optuna.samplers.RandomSampler(0))
    desk.turn(Capacity(1))
    assert desk.campaign.ending.code == 1
    assert "`+` cannot take text and a number" in desk.campaign.ending.reason


class Recorder:
    """A driver connection that keeps its requests."""

    def __init__(self) -> None:
        self.asked: list[Suggest] = []

    def suggest(self, name: str, distribution: str) -> Any:
        self.asked.append(Suggest("0.1.c", 1, name, distribution))
        return json.loads(distribution)["attributes"]["choices"][0]

    def yield_asked(self) -> bool:
        return False


def test_a_suggestion_too_large_for_a_message_is_refused_before_it_is_sent(tmp_path) -> None:
    link = Recorder()
    trial = Trial(AttemptSpec("0.1.c", "s", 0, 1, {}, True, str(tmp_path), 0, 1), tmp_path, link)
    assert trial.suggest_categorical("x", ["a" * 100_000, "b"]) == "a" * 100_000
    for name, choices in (("y", ["a" * 600_000]), ("z", ['"\\é' * 100_000]), ("n" * 600_000, [1]), ("q", range(10**6))):
        with pytest.raises(ValueError, match="too long to be suggested"):
            trial.suggest_categorical(name, list(choices))
    assert [len(encode(message)) < MESSAGE_LIMIT for message in link.asked] == [True]


def test_any_output_of_a_trial_can_be_logged(tmp_path, capsys) -> None:
    with logging_to(tmp_path / "driver.log"):
        logging.getLogger("pilotune.x").warning("trial 1: OSError: caf\udce9 \0 日本")
    assert "OSError: caf\\udce9 \0 日本" in (tmp_path / "driver.log").read_text(encoding="utf-8")
    assert capsys.readouterr().err == ""


def test_a_line_that_is_no_message_is_dropped_wherever_it_stands() -> None:
    ours, theirs = socket.socketpair()
    lines = JsonLines(ours)
    theirs.sendall(b"[" * 60_000 + b'\n\xff\n{"type": "report"}\n5\n' + b'{"a":' * 10_000 + b'\n{"type": "end"}\n')
    assert lines.wait() + lines.receive() == [{"type": "report"}, {"type": "end"}]
    lines.close()
    theirs.close()
