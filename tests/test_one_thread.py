"""Linear algebra keeps to one thread while a sampler works."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from pilotune.pipeline.one_thread import VARIABLES, one_thread
from pilotune.pipeline.suggest.surrogate import GPSampler
from pilotune.pipeline.suggest.surrogate.search import Search


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch):
    """Two threads whatever the host has, and no variable that a user may have set."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert np.ones((2, 2)) @ np.ones((2, 2)) is not None
    with threadpool_limits(limits=2):
        yield


def threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info()}


def test_one_thread_inside_and_as_many_as_before_afterwards() -> None:
    with one_thread():
        assert threads() == {1}
        with one_thread():
            assert threads() == {1}
        assert threads() == {1}
    assert threads() == {2}


def test_as_many_as_before_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), one_thread():
        raise ZeroDivisionError
    assert threads() == {2}


@pytest.mark.parametrize("name", VARIABLES)
def test_the_users_choice_counts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "2")
    with one_thread():
        assert threads() == {2}


def test_gp_suggests_and_prepares_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[int]] = []
    suggest, prepare = Search.suggest, Search.prepare

    def noted_suggest(self, *arguments):
        seen.append(threads())
        return suggest(self, *arguments)

    def noted_prepare(self, study):
        seen.append(threads())
        return prepare(self, study)

    monkeypatch.setattr(Search, "suggest", noted_suggest)
    monkeypatch.setattr(Search, "prepare", noted_prepare)
    sampler = GPSampler(seed=0)
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=12)
    while not sampler.prepare(study):
        pass
    assert len(seen) > 11
    assert {frozenset(each) for each in seen} == {frozenset({1})}
    assert threads() == {2}
