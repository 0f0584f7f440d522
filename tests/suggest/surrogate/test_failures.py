"""Failures among others say that a configuration fails; one where others succeed says little."""

from __future__ import annotations

import random

import numpy as np
import optuna
import pytest
from optuna.trial import Trial, TrialState

from pilotune.pipeline.suggest.surrogate import GPSampler
from pilotune.pipeline.suggest.surrogate.failures import LARGEST_NOISE, failure_noise


def test_failures_among_failures_have_no_noise_and_others_have_much() -> None:
    places = np.random.default_rng(0).random((200, 2))
    by_place = places[:, 0] > 0.5
    alone = np.zeros(200, dtype=bool)
    alone[[3, 90]] = True
    assert np.median(failure_noise(places[by_place], places, by_place)) < 0.01
    assert failure_noise(places[alone], places, alone).tolist() == [LARGEST_NOISE] * 2


def test_of_few_trials_failures_count_as_they_are() -> None:
    places = np.linspace(0, 1, 5)[:, None]
    failed = np.array([True, False, False, False, False])
    assert failure_noise(places[failed], places, failed).tolist() == [0.0]
    assert failure_noise(places[:0], places, failed).tolist() == []


@pytest.mark.parametrize("share", [0.15, 0.3])
def test_a_search_is_not_misled_by_trials_that_fail_anywhere(share: float) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = []
    for seed in range(3):
        fails = random.Random(seed)

        def objective(trial: Trial, fails: random.Random = fails) -> float:
            value = trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1)
            if fails.random() < share:
                raise ConnectionError
            return value

        study = optuna.create_study(sampler=GPSampler(seed=seed))
        study.optimize(objective, n_trials=40, catch=(ConnectionError,))
        assert len(study.get_trials(states=(TrialState.FAIL,))) > 1
        found.append(study.best_value)
    assert max(found) < 0.01
