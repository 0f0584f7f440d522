"""Population-based training by a campaign: members pause, are replaced by copies, and none is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from pilotune.exit_codes import FAILED, FINISHED
from pilotune.pipeline.attributes import EXIT, PARENT, PAUSED, SNAPSHOT, STEP
from pilotune.pipeline.campaign.events import Capacity, Submit
from pilotune.pipeline.fidelity import PopulationPlan
from pilotune.pipeline.record import Orphan
from pilotune.pipeline.suggest.population import PBTSampler
from pilotune.pipeline.trial.protocol import AttemptSpec, Report
from tests.support.campaign_bench import SPACE, Bench, benches, finish_of, over, started

SIZE, LAST = 4, 6


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    make = benches(tmp_path)

    def training(campaign: str = "c1", **limits: Any) -> Bench:
        sampler = PBTSampler(interval=2, population=SIZE, max_resource=LAST, seed=0, space=SPACE)
        plan = PopulationPlan(size=SIZE, interval=2, quantile=0.25, last=LAST)
        return make(campaign, {"pausing": plan, "sampler": sampler}, **limits)

    return training


def submits(actions: list[Any]) -> list[AttemptSpec]:
    return [action.spec for action in actions if isinstance(action, Submit)]


def train(campaign: Bench, spec: AttemptSpec, value: float, step: int) -> list[AttemptSpec]:
    """The attempt reports at a pause and yields; returns what is submitted then."""
    campaign.turn(started(spec), Report(spec.token, 1, step, value))
    return submits(campaign.turn(over(spec, "yielded", started=0.0, finished=60.0)))


def finish(campaign: Bench, spec: AttemptSpec, value: float) -> list[AttemptSpec]:
    """The attempt trains to its end."""
    campaign.turn(started(spec), Report(spec.token, 1, LAST, value))
    return submits(campaign.turn(over(spec, "complete", value=value)))


def attrs(trial: FrozenTrial) -> tuple[Any, Any]:
    return trial.system_attrs.get(PARENT), trial.system_attrs.get(STEP)


def test_members_share_one_worker_and_the_least_advanced_goes_on_first(bench: Any) -> None:
    campaign = bench()
    (spec,) = campaign.specs(Capacity(1))
    order = [spec.number]
    for value in (2.0, 1.0, 3.0, 4.0, 2.0, 1.0):
        (spec,) = train(campaign, spec, value, 2 if len(order) <= SIZE else 4)
        order.append(spec.number)
    assert order[:SIZE] == [0, 1, 2, 3]
    assert order[SIZE:] == [0, 1, 2]
    assert [trial.user_attrs[PAUSED] for trial in campaign.trials()] == [4, 4, None, 2]


def test_the_worst_is_replaced_by_a_changed_copy_of_the_best(bench: Any) -> None:
    campaign = bench()
    specs = campaign.specs(Capacity(SIZE))
    again = [
        spec for spec, value in zip(specs[:3], (2.0, 1.0, 1.5), strict=True) for spec in train(campaign, spec, value, 2)
    ]
    assert [(spec.number, spec.attempt) for spec in again] == [(0, 2), (1, 2), (2, 2)]
    (copy,) = train(campaign, specs[3], 4.0, 2)
    trials = campaign.trials()
    assert (trials[3].state, trials[3].user_attrs[EXIT], trials[3].user_attrs[PAUSED]) == (
        TrialState.PRUNED,
        "replaced",
        None,
    )
    assert (copy.number, copy.attempt) == (4, 1)
    assert attrs(trials[4]) == (1, 2)
    assert trials[1].system_attrs[SNAPSHOT] == [2, "/snapshots/1/2"]
    assert copy.params != specs[1].params
    (again,) = [train(campaign, copy, 1.0, 3)]  # asked to end early, by its block: it pauses after two steps of its own
    assert [(spec.number, spec.attempt) for spec in again] == [(4, 2)]
    assert campaign.campaign.in_flight == SIZE


def test_the_campaign_ends_when_every_member_was_trained(bench: Any) -> None:
    campaign = bench()
    specs = campaign.specs(Capacity(SIZE))
    actions: list[Any] = []
    for spec in specs:
        campaign.turn(started(spec), Report(spec.token, 1, LAST, 1.0))
        actions = campaign.turn(over(spec, "complete", value=1.0))
    end = finish_of(actions)
    assert end.code == FINISHED
    assert end.reason.startswith("4 members were trained to the end; none ever paused")  # they report at the last step


def test_a_failed_member_is_replaced_at_first_at_random_and_later_by_a_copy(bench: Any) -> None:
    campaign = bench(asks_ahead=False)
    specs = campaign.specs(Capacity(2))
    (third,) = campaign.specs(over(specs[0], "failed", failure="exception", reason="raised"))
    assert attrs(campaign.trials()[third.number]) == (None, None)
    (fourth,) = train(campaign, third, 1.0, 2)
    (fifth,) = train(campaign, fourth, 2.0, 2)
    assert attrs(campaign.trials()[fourth.number]) == (None, None)
    assert attrs(campaign.trials()[fifth.number]) == (2, 2)  # four were asked for, and one of them is missing
    found = campaign.specs(over(specs[1], "failed", failure="exception", reason="raised"))
    assert [attrs(campaign.trials()[spec.number]) for spec in found] == [(2, 2)], "the last place"


def test_the_budget_leaves_no_trial_for_copies(bench: Any) -> None:
    campaign = bench(trials=SIZE)
    specs = campaign.specs(Capacity(SIZE))
    again = [spec for place, each in enumerate(specs) for spec in train(campaign, each, float(place), 2)]
    assert [spec.number for spec in again] == [0, 1, 2, 3]
    for spec in again[:-1]:
        assert not finish(campaign, spec, 1.0)
    campaign.turn(started(again[-1]), Report(again[-1].token, 1, LAST, 1.0))
    end = finish_of(campaign.turn(over(again[-1], "complete", value=1.0)))
    assert end.code == FINISHED
    assert {trial.state for trial in campaign.trials()} == {TrialState.COMPLETE}


def test_the_campaign_ends_where_a_member_saves_nothing(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bench, "snapshot", lambda *_: "")
    campaign = bench()
    (spec,) = campaign.specs(Capacity(1))
    campaign.turn(started(spec), Report(spec.token, 1, 2, 1.0))
    end = finish_of(campaign.turn(over(spec, "yielded", started=0.0, finished=60.0)))
    assert end.code == FAILED
    assert end.reason.startswith(
        "trial 0 paused at step 2 without a checkpoint, and population-based training goes on from checkpoints: save "
        "into trial.checkpoint_dir before trial.report"
    )


def test_another_campaign_goes_on_with_the_members_where_they_were(bench: Any) -> None:
    """It knows nothing but the database: who pauses where, what each reported, and from what each may be copied."""
    first = bench()
    specs = first.specs(Capacity(SIZE))
    for spec, value in zip(specs[:3], (2.0, 1.0, 1.5), strict=True):
        first.turn(started(spec), Report(spec.token, 1, 2, value))
    for spec in specs[:2]:
        first.turn(over(spec, "yielded", started=0.0, finished=60.0))
    second = bench("c2")
    for trial in second.trials():
        orphan = Orphan(
            number=trial.number, params=trial.params, campaign="c1",
            attempt=trial.system_attrs["pilotune:attempt"], directory=f"/runs/{trial.number}",
        )  # fmt: skip
        token = second.campaign.adopt(orphan)
        assert token
    assert len(second.campaign.held) == SIZE
    members = second.campaign.promotion._members
    assert {number for number in range(SIZE) if members.reached(number) == 2} == {0, 1, 2}


def test_a_copy_that_a_dead_driver_left_still_knows_where_it_starts(bench: Any) -> None:
    first = bench()
    specs = first.specs(Capacity(SIZE))
    for spec, value in zip(specs, (2.0, 1.0, 1.5, 4.0), strict=True):
        train(first, spec, value, 2)
    second = bench("c2")
    second.campaign.adopt(Orphan(number=4, params={"x": 0.5}, campaign="c1", attempt=1, directory=""))
    (flight,) = second.campaign.flights.values()
    assert (flight.origin.parent, flight.origin.step, flight.origin.folder) == (1, 2, "/snapshots/1/2")
