"""Campaigns answer what objectives ask about their study, and keep the attributes that they set."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from pilotune.pipeline.campaign.events import Capacity, Lost, Reply
from pilotune.pipeline.record.database import Database
from pilotune.pipeline.trial.protocol import QUERIES, Attributes, Query, Report, Suggested
from tests.support.campaign_bench import Bench, benches, finish_of, over, started


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    return benches(tmp_path)


def asked(campaign: Bench, token: str, request: int, what: str, **arguments: Any) -> Suggested:
    """Ask, and return the answer."""
    actions = campaign.turn(Query(token, request, what, arguments))
    (answer,) = [action.message for action in actions if isinstance(action, Reply)]
    assert isinstance(answer, Suggested)
    return answer


# -- questions --------------------------------------------------------------------------------------------------------


def test_a_question_is_answered_after_the_commit_and_once_more_when_it_comes_again(bench) -> None:
    campaign = bench(trials=3)
    (spec,) = campaign.specs(Capacity(1))
    campaign.turn(started(spec))
    first = asked(campaign, spec.token, 1, "enqueue", params={"x": 0.25}, user_attrs={"a": 1}, skip=False)
    assert (first.value, first.error) == (None, "")
    assert [trial.state for trial in campaign.trials()] == [TrialState.RUNNING, TrialState.WAITING]
    again = asked(campaign, spec.token, 1, "enqueue", params={"x": 0.25}, user_attrs={"a": 1}, skip=False)
    assert (again, len(campaign.trials())) == (first, 2)
    second, *_ = campaign.specs(over(spec))
    assert (second.params, campaign.trials()[1].user_attrs) == ({"x": 0.25}, {"a": 1})


def test_reading_asks_the_database_nothing(bench, monkeypatch) -> None:
    campaign = bench(trials=3)
    (spec,) = campaign.specs(Capacity(1))
    campaign.turn(started(spec))
    made: list[Any] = []
    run = Database.run
    monkeypatch.setattr(Database, "run", lambda self, *rest: (made.append(1), run(self, *rest))[1])
    questions: dict[str, dict[str, Any]] = {
        "study_attrs": {},
        "trials": {"after": -1, "states": None},
        "best_trials": {"after": -1},
        "trial": {"number": 0},
        "n_trials": {"states": ["RUNNING"]},
    }
    for request, (what, arguments) in enumerate(questions.items(), 1):
        assert asked(campaign, spec.token, request, what, **arguments).error == ""
    assert made == []


ODD: list[dict[str, Any]] = [
    {},
    {"after": "one", "states": 7, "number": None, "kind": [], "key": 3, "params": 5, "user_attrs": 1},
    {"after": -1, "states": ["PERHAPS"], "number": 99, "kind": "user", "key": "k" * 600, "value": 1},
    {"key": "pilotune:study", "value": 1, "kind": "user", "params": {"z": 1}, "user_attrs": {}, "skip": False},
    {"params": {"x": 7.0}, "user_attrs": {}, "skip": True, "kind": "user", "key": "\ud800", "value": "\udfff"},
    {"params": {"x": 10**400}, "user_attrs": {}, "skip": True, "number": 10**400, "after": 10**400, "states": []},
]


def test_whatever_is_asked_one_sentence_or_an_answer_comes_back(bench) -> None:
    campaign = bench(trials=30)
    specs = campaign.specs(Capacity(10))
    whats = [what for what in QUERIES if what != "stop"] + ["rubbish", "__class__", ""]
    for request, (what, arguments) in enumerate(itertools.product(whats, ODD), 1):
        answer = asked(campaign, specs[0].token, request, what, **arguments)
        if what not in QUERIES:
            assert "does not know the question" in answer.error
        assert answer.error == "" or len(answer.error.splitlines()) == 1
    assert len(campaign.trials()) == len(specs)
    assert {trial.state for trial in campaign.trials()} == {TrialState.RUNNING}
    assert campaign.specs(over(specs[0], started=0.0, finished=60.0)) != [], "the campaign goes on"


def test_values_outside_of_the_space_are_not_enqueued(bench) -> None:
    campaign = bench(trials=3)
    (spec,) = campaign.specs(Capacity(1))
    campaign.turn(started(spec))
    unknown = asked(campaign, spec.token, 1, "enqueue", params={"z": 1}, user_attrs={}, skip=False)
    outside = asked(campaign, spec.token, 2, "enqueue", params={"x": 2.0}, user_attrs={}, skip=False)
    assert "has no parameter 'z'" in unknown.error
    assert "2.0 is outside the range of the parameter 'x'" in outside.error


def test_study_stop_ends_the_campaign_when_the_running_trials_have_ended(bench) -> None:
    campaign = bench(trials=30)
    specs = campaign.specs(Capacity(2))
    campaign.turn(*map(started, specs))
    assert asked(campaign, specs[0].token, 1, "stop").error == ""
    assert campaign.turn(over(specs[0])) == []
    finish = finish_of(campaign.turn(over(specs[1])))
    assert (finish.code, finish.reason) == (0, "trial 0 called study.stop()")
    assert [trial.state for trial in campaign.trials()] == [TrialState.COMPLETE] * 2
    assert len(bench(campaign="c2", trials=30).specs(Capacity(2))) == 2, "a later campaign goes on"


def test_an_attempt_that_is_fenced_is_told_to_end(bench) -> None:
    campaign = bench(trials=3)
    (spec,) = campaign.specs(Capacity(1))
    (answer,) = [a.message for a in campaign.turn(Query("0.7.c1", 1, "stop")) if isinstance(a, Reply)]
    assert answer.stop == "kill"
    assert campaign.campaign.ending is None
    assert spec.attempt == 1


# -- attributes -------------------------------------------------------------------------------------------------------


def kept(campaign: Bench) -> tuple[dict[str, Any], dict[str, Any]]:
    trial = campaign.trials()[0]
    user = {key: value for key, value in trial.user_attrs.items() if not key.startswith("pilotune:")}
    return user, {key: value for key, value in trial.system_attrs.items() if not key.startswith("pilotune:")}


def test_attributes_are_kept_while_the_trial_runs_and_survive_its_worker(bench) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    campaign.turn(
        started(spec), Attributes(spec.token, 1, {"epochs": 1, "pilotune:exit": "no"}, {"constraints:c": 1.0})
    )
    campaign.turn(Report(spec.token, 1, 1, 0.5), Attributes(spec.token, 3, {"epochs": 3}))
    campaign.turn(Attributes(spec.token, 2, {"epochs": 2}))
    assert kept(campaign) == ({"epochs": 3}, {"constraints:c": 1.0})
    (second,) = campaign.specs(Lost(spec.token, "its worker died"))
    campaign.turn(Attributes(spec.token, 4, {"epochs": 4}))
    assert kept(campaign) == ({"epochs": 3}, {"constraints:c": 1.0}), "the first attempt is fenced"
    campaign.turn(started(second), Attributes(second.token, 1, {"epochs": 5}))
    attrs = {
        "user_attrs": {"epochs": 6, "pilotune:exit": "no"},
        "system_attrs": {"constraints:c": -1.0, "pilotune:a": 1},
    }
    campaign.turn(over(second, **attrs))
    assert kept(campaign) == ({"epochs": 6}, {"constraints:c": -1.0})
    assert campaign.trials()[0].user_attrs["pilotune:exit"] == "complete"


def test_an_outcome_that_repeats_attributes_writes_nothing_again(bench) -> None:
    campaign = bench(trials=2)
    specs = campaign.specs(Capacity(2))
    attrs: dict[str, Any] = {f"a{i}": i for i in range(50)}
    campaign.turn(*map(started, specs), Attributes(specs[0].token, 1, attrs, attrs))
    staged = []
    for spec, repeated in zip(specs, (attrs, {}), strict=True):
        campaign.campaign.step(campaign.now, [over(spec, user_attrs=repeated, system_attrs=repeated)])
        changes = campaign.storage._studies.stage(campaign.campaign.study.study._study_id).of(
            campaign.campaign.study.storage.get_trial_id_from_study_id_trial_number(1, spec.number)
        )
        staged.append((len(changes.user), len(changes.system)))
        campaign.storage.commit()
        campaign.campaign.release()
    assert staged[0] == staged[1]


def test_attributes_that_no_database_holds_are_left_out_and_cost_no_other(bench) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    odd = {"k" * 600: 1, "fine": 2, "\ud800": 3}
    campaign.turn(started(spec), Attributes(spec.token, 1, odd, odd))
    assert kept(campaign) == ({"fine": 2}, {"fine": 2})


def test_a_trial_whose_constraints_are_broken_is_not_the_best(bench) -> None:
    campaign = bench(trials=3)
    specs = campaign.specs(Capacity(3))
    for spec, value, amount in zip(specs, (0.1, 0.5, 0.7), (2.0, -1.0, 0.0), strict=True):
        campaign.turn(started(spec), over(spec, value=value, system_attrs={"constraints:c": amount}))
    best = campaign.campaign.study.best()
    assert best is not None
    assert best.value == 0.5
    assert optuna.load_study(study_name="s", storage=campaign.storage.url).best_value == 0.5
