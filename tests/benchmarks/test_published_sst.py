"""The experiment on the sea's temperature: which weeks a network sees, and what its score is."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.published import sst as experiment

sst = experiment.sst


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    """Coefficients that say which week they are of."""
    (tmp_path / "sst_pod").mkdir()
    np.save(tmp_path / "sst_pod/True_Train.npy", np.tile(np.arange(120.0), (5, 1)))
    np.save(tmp_path / "sst_pod/True_Test_0_700.npy", np.tile(np.arange(120.0, 180.0), (5, 1)))
    monkeypatch.setenv("PILOTUNE_DATA", str(tmp_path))


def weeks_of(x, y):
    scaled = np.concatenate([x, y], axis=1)[:, :, 0]
    return {round(float(value + 1) * 119 / 2) for value in np.unique(scaled)}


def test_no_week_is_in_training_and_validation_of_the_clean_split():
    x, y, x_valid, y_valid = sst.splits("blocked", 0)
    assert not weeks_of(x, y) & weeks_of(x_valid, y_valid)
    assert max(weeks_of(x_valid, y_valid)) == 119


def test_the_published_split_shares_most_weeks():
    x, y, x_valid, y_valid = sst.splits("shuffled", 0)
    shared = weeks_of(x, y) & weeks_of(x_valid, y_valid)
    assert len(shared) > 0.9 * len(weeks_of(x_valid, y_valid))


def test_a_forecast_of_the_mean_has_no_score_and_the_truth_has_all():
    _, y = experiment.later_weeks()
    assert sst.r2(y, y) == pytest.approx(1.0)
    assert sst.r2(y, np.broadcast_to(y.mean(0), y.shape)) == pytest.approx(0.0, abs=1e-5)


def test_persistence_repeats_the_last_week():
    x, y = experiment.later_weeks()
    forecast = experiment.BY_HAND["persistence"](0)(x, y)(x)
    assert forecast.shape == y.shape
    assert (forecast == x[:, -1:]).all()
