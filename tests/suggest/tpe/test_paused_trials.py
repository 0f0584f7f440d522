"""TPE learns from trials that are paused at rungs, most of which stay paused until the end of the study."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from pilotune.pipeline.attributes import PAUSED
from pilotune.pipeline.study_changes import observed
from pilotune.pipeline.suggest.tpe import TPESampler

SPACE = {"x": FloatDistribution(0.0, 1.0), "y": FloatDistribution(-1.0, 1.0)}


def suggestions(state: TrialState, attrs: Mapping[str, Any], **options: Any) -> list[dict[str, Any]]:
    """TPE's suggestions after twenty trials, fifteen of which have this state and these attributes, and reports."""
    study = optuna.create_study(sampler=TPESampler(seed=3, **options))
    draw = random.Random(7)
    for number in range(20):
        params = {"x": draw.random(), "y": draw.uniform(-1.0, 1.0)}
        reports = {1: params["x"], 3: params["x"] / 2} if number % 3 == 0 else {1: params["x"]}
        ended = number % 4 == 3
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE if ended else state,
                value=params["x"] if ended else reports[max(reports)] if state == TrialState.PRUNED else None,
                params=params,
                distributions=SPACE,
                user_attrs={} if ended else dict(attrs),
                intermediate_values=reports,
            )
        )
    return [study.ask(SPACE).params for _ in range(3)]


@pytest.mark.parametrize("options", [{}, {"constant_liar": True}, {"multivariate": True}])
def test_a_paused_trial_counts_as_a_pruned_one(options: dict[str, Any]) -> None:
    pruned = suggestions(TrialState.PRUNED, {}, **options)
    assert suggestions(TrialState.RUNNING, {PAUSED: 1}, **options) == pruned
    assert suggestions(TrialState.RUNNING, {PAUSED: None}, **options) == pruned, "also one that was promoted"
    assert suggestions(TrialState.RUNNING, {}, **options) != pruned


def test_only_a_running_trial_can_be_paused() -> None:
    for state in (TrialState.FAIL, TrialState.WAITING):
        assert not observed(create_trial(state=state, user_attrs={PAUSED: 1}))
