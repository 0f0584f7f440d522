"""The points of ``start_from.enqueue`` are enqueued once each; equal means exactly equal."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from pilotune.pipeline.record import enqueue
from pilotune.pipeline.space import Parameter, Space

CHOICES = Space((
    Parameter("c", CategoricalDistribution([True, False, 2, "2", None, 0.5])),
    Parameter("n", IntDistribution(0, 2**53)),
    Parameter("f", FloatDistribution(-1e300, 1e300)),
))  # fmt: skip


def queued(study: optuna.Study) -> list[dict[str, Any]]:
    return [trial.system_attrs["fixed_params"] for trial in study.trials if "fixed_params" in trial.system_attrs]


DIFFERENT = [
    [{"seed": 123456, "lr": 0.001}, {"seed": 123457, "lr": 0.001}],
    [{"lr": 0.001}, {"lr": 0.001000001}],
    [{"lr": 1e-300}, {"lr": 0.0}],
    [{"lr": 1.0}, {"lr": 1.0 + 2**-52}],
    [{"n": 2**53}, {"n": 2**53 - 1}],
    [{"n": 1}, {"n": True}],
    [{"n": 0}, {"n": False}, {"n": None}],
    [{"n": 1}, {"n": "1"}],
    [{"k": "adam"}, {"k": "Adam"}],
    [{"x": 1}, {"x": 1, "y": 1}, {"y": 1}],
]
SAME = [
    [{"seed": 123456, "lr": 0.001}, {"lr": 0.001, "seed": 123456}],
    [{"n": 1}, {"n": 1.0}],
    [{"f": float("nan")}, {"f": float("nan")}],
    [{"k": None}, {"k": None}],
    [{"k": [1, 2]}, {"k": [1, 2]}],
]


@pytest.mark.parametrize("points", DIFFERENT)
def test_points_that_differ_at_all_are_all_tried(points: list[dict[str, Any]]) -> None:
    study = optuna.create_study()
    assert enqueue(study, points) == []
    assert queued(study) == points
    again = "the 2 points of start_from.enqueue are in the study already and are not tried again"
    assert enqueue(study, points) == [again.replace("2", str(len(points)))]
    assert queued(study) == points


@pytest.mark.parametrize("points", SAME)
def test_the_same_point_is_tried_once_and_that_is_said(points: list[dict[str, Any]]) -> None:
    study = optuna.create_study()
    assert enqueue(study, points) == [
        "start_from.enqueue[1] is the same point as start_from.enqueue[0], so it is tried once"
    ]
    assert len(queued(study)) == 1
    assert enqueue(study, points[:1]) == [
        "the point of start_from.enqueue is in the study already and is not tried again"
    ]


def test_choices_are_the_same_where_optuna_says_so() -> None:
    study = optuna.create_study()
    points = [{"c": value} for value in (True, 1, False, 2, 2.0, "2", None, 0.5)]
    skipped = enqueue(study, points, CHOICES)
    assert [sentence[:21] for sentence in skipped] == ["start_from.enqueue[1]", "start_from.enqueue[4]"]
    assert len(queued(study)) == 6


def test_a_point_that_was_run_is_not_run_again() -> None:
    study = optuna.create_study()
    study.add_trial(optuna.create_trial(params={"n": 3}, distributions={"n": IntDistribution(0, 9)}, value=1.0))
    said = enqueue(study, [{"n": 3}, {"n": 4}, {"f": 3.0}], CHOICES)
    assert said == ["1 of the 3 points of start_from.enqueue is in the study already and is not tried again"]
    assert queued(study) == [{"n": 4}, {"f": 3.0}]
    assert enqueue(study, [], CHOICES) == []
