"""What the first suggestion needs may be done before, in small parts."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.suggest.surrogate import GPSampler
from pilotune.pipeline.suggest.surrogate.encoding import Encoding
from pilotune.pipeline.suggest.surrogate.kernel import Kernel, Likelihood
from pilotune.pipeline.suggest.surrogate.reading import READ
from pilotune.pipeline.suggest.surrogate.sampler import IMPORTS

from ...support.gp_studies import search_of

SIX = {f"x{i}": FloatDistribution(0.0, 1.0) for i in range(6)}
SPACE = Space(tuple(Parameter(name, kind) for name, kind in SIX.items()))
MOST_ENTRIES = 250_000
"""Entries of kernel matrices that one call may compute; a whole model is several times more."""


def filled(count: int, state: TrialState = TrialState.COMPLETE) -> optuna.Study:
    study = optuna.create_study(sampler=GPSampler(seed=1, space=SPACE))
    rng = np.random.default_rng(0)
    for _ in range(count):
        params = {name: float(rng.random()) for name in SIX}
        value = sum(params.values()) if state == TrialState.COMPLETE else None
        study.add_trial(create_trial(state=state, params=params, distributions=dict(SIX), value=value))
    return study


def prepared(study: optuna.Study) -> int:
    """Prepare the sampler whole. Returns in how many parts."""
    for parts in range(1, 1_000):
        if study.sampler.prepare(study):
            return parts
    raise AssertionError("it is never prepared")


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """By call that the test notes with ``append([0, 0])``: trials that were read, and entries of kernel matrices."""
    done: list[list[int]] = []
    read, cross, likelihood = Encoding.places_of, Kernel.cross, Likelihood.__call__

    def places_of(self: Encoding, many: Any, whole: Any) -> Any:
        done[-1][0] += len(many)
        return read(self, many, whole)

    def crossed(self: Kernel, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        done[-1][1] += len(left) * len(right)
        return cross(self, left, right)

    def called(self: Likelihood, logarithms: np.ndarray) -> Any:
        done[-1][1] += 3 * self._size**2
        return likelihood(self, logarithms)

    monkeypatch.setattr(Encoding, "places_of", places_of)
    monkeypatch.setattr(Kernel, "cross", crossed)
    monkeypatch.setattr(Likelihood, "__call__", called)
    return done


def test_no_call_does_much(work: list[list[int]]) -> None:
    study = filled(600)
    ready = False
    while not ready:
        work.append([0, 0])
        ready = study.sampler.prepare(study)
    assert sum(trials for trials, _ in work) == 600
    assert sum(entries for _, entries in work) > 2 * MOST_ENTRIES
    work.append([0, 0])
    study.ask(SIX)
    assert max(trials for trials, _ in work) <= READ // len(SIX)
    assert max(entries for _, entries in work) < MOST_ENTRIES


def test_without_it_the_first_suggestion_does_all(work: list[list[int]]) -> None:
    study = filled(600)
    work.append([0, 0])
    study.ask(SIX)
    assert work[-1][0] >= 600
    assert work[-1][1] > 2 * MOST_ENTRIES


def test_what_is_read_in_parts_is_what_is_read_at_once() -> None:
    parts, whole = filled(300), filled(300)
    prepared(parts)
    for study in (parts, whole):
        study.ask(SIX)
    first, second = search_of(parts), search_of(whole)
    assert (first.trials.size, first.trials.finished) == (second.trials.size, second.trials.finished) == (301, 300)
    assert (first.trials.places[:300] == second.trials.places[:300]).all()
    assert (first.trials.losses[:300] == second.trials.losses[:300]).all()
    assert first.model is not None


def test_what_is_asked_meanwhile_knows_all_trials() -> None:
    study = filled(300)
    for _ in range(len(IMPORTS) + 2):  # nothing is read with the first, and a part with the second
        assert not study.sampler.prepare(study)
    assert 0 < next(iter(study.sampler._searches.values())).trials.size < 300
    study.tell(study.ask(SIX), 1.0)
    assert search_of(study).trials.finished == 301
    assert prepared(study) == 1


def test_a_study_that_nothing_can_be_learnt_from_is_prepared_soon() -> None:
    assert prepared(filled(0)) < 20
    assert prepared(filled(5)) < 20
    assert prepared(filled(100, TrialState.FAIL)) < 40


def test_a_space_that_the_objective_defines_is_prepared_too() -> None:
    study = filled(100)
    study.sampler = GPSampler(seed=1)
    assert prepared(study) > len(IMPORTS)
    assert next(iter(study.sampler._searches.values())).model is not None


ALONE = """
import importlib, sys
import optuna
from pilotune.pipeline.suggest.surrogate import GPSampler
from pilotune.pipeline.suggest.surrogate.sampler import IMPORTS

optuna.logging.set_verbosity(optuna.logging.ERROR)
assert "scipy" not in sys.modules
for name in reversed(IMPORTS):
    importlib.import_module(name)
before = set(sys.modules)
study = optuna.create_study(sampler=GPSampler(seed=0))
study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=12)
print([name for name in set(sys.modules) - before if name.startswith(("scipy", "numpy"))])
"""


def test_a_model_imports_nothing_more_than_what_is_imported_before() -> None:
    found = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
