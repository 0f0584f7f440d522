"""Which trials make a model, how far apart suggestions are, and what is known of a space that changes."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import create_trial

from pilotune.pipeline.study_changes import Changes
from pilotune.pipeline.suggest.search_space import MOST_CHANGES, SpaceWatch
from pilotune.pipeline.suggest.surrogate import subset
from pilotune.pipeline.suggest.surrogate.encoding import Encoding
from pilotune.pipeline.suggest.surrogate.proposals import Spacing
from pilotune.pipeline.suggest.surrogate.trials import Trials

SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0.0, 1.0), "y": FloatDistribution(0.0, 1.0)}


def test_a_large_study_is_thinned_to_the_best_the_near_and_some_others() -> None:
    rng = np.random.default_rng(0)
    features = rng.random((3_000, 2))
    order = np.argsort(((features - 0.5) ** 2).sum(axis=1))
    chosen = subset.chosen_rows(rng, order, lambda rows: features[rows])
    assert len(chosen) == len(set(chosen.tolist())) == subset.MOST_ROWS
    assert (chosen[: subset.BEST_ROWS] == order[: subset.BEST_ROWS]).all()
    distances = np.sqrt(((features[chosen] - 0.5) ** 2).sum(axis=1))
    near = distances[subset.BEST_ROWS : subset.BEST_ROWS + subset.NEAR_ROWS]
    others = distances[subset.BEST_ROWS + subset.NEAR_ROWS :]
    assert near.max() < 0.25 < others.max()
    few = order[:100]
    assert subset.chosen_rows(rng, few, lambda rows: features[rows]) is few


@pytest.mark.parametrize("dimensions", [2, 100, 10_000])
def test_hyperparameters_are_fitted_to_fewer_trials_in_large_spaces(dimensions: int) -> None:
    rows = subset.fitted_rows(np.random.default_rng(1), 250, dimensions)
    assert len(rows) == len(set(rows.tolist())) == {2: 128, 100: 62, 10_000: 16}[dimensions]
    assert (rows[: len(rows) // 2] == np.arange(len(rows) // 2)).all()


def test_the_running_trials_in_a_model_are_mostly_those_near_the_best() -> None:
    rng = np.random.default_rng(2)
    features = rng.random((500, 2))
    pending = np.arange(1_000, 1_500)
    chosen = subset.pending_rows(rng, pending, features, np.zeros((1, 2)))
    assert len(chosen) == len(set(chosen.tolist())) == subset.MOST_PENDING
    near = pending[np.argsort((features**2).sum(axis=1))[: subset.NEAR_PENDING]]
    assert set(near.tolist()) <= set(chosen.tolist())
    assert (subset.pending_rows(rng, pending[:9], features[:9], features) == pending[:9]).all()


def trials_of(values: list[tuple[float, float, float]]) -> tuple[Trials, list[int]]:
    """Trials at some places with their values."""
    found = []
    for number, (x, y, value) in enumerate(values):
        trial = create_trial(params={"x": x, "y": y}, distributions=SPACE, value=value)
        trial.number = trial._trial_id = number
        found.append(trial)
    trials = Trials(Encoding(SPACE), [StudyDirection.MINIMIZE])
    return trials, trials.apply(Changes(found, whole=True))[0]


def test_equal_results_at_different_places_keep_suggestions_apart() -> None:
    trials, rows = trials_of([(0.1, 0.1, 1.0), (0.1, 0.2, 1.0), (0.1, 0.2, 1.0), (0.9, 0.9, 2.0), (0.5, 0.5, 3.0)])
    spacing = Spacing(trials)
    distances = []
    for row in rows:
        spacing.learn(row)
        distances.append(spacing.distance)
    assert distances == pytest.approx([0.0, 0.15, 0.15, 0.15 * 0.97, 0.15 * 0.97**2])


def test_a_space_that_changes_seldom_is_that_of_the_newest_trial() -> None:
    study, watch = optuna.create_study(), SpaceWatch()
    assert watch.same
    for number in range(12):
        high = 1.0 if number < 6 else 2.0
        study.tell(study.ask({"x": FloatDistribution(0.0, high), "one": IntDistribution(1, 1)}), 0.0)
        watch.refresh(study)
        assert watch.same
        assert watch.space == {"x": FloatDistribution(0.0, high)}
    for number in range(MOST_CHANGES):
        study.tell(study.ask({"x": FloatDistribution(0.0, 3.0 + number), "one": IntDistribution(1, 1)}), 0.0)
    watch.refresh(study)
    assert not watch.same


def test_a_trial_with_other_parameters_is_noticed() -> None:
    study, watch = optuna.create_study(), SpaceWatch()
    study.tell(study.ask(SPACE), 0.0)
    watch.refresh(study)
    assert watch.same
    study.tell(study.ask({"x": SPACE["x"]}), 0.0)
    watch.refresh(study)
    assert not watch.same
