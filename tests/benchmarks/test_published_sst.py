"""The experiment on the sea's temperature: which weeks a network sees, and what its score is."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from benchmarks.published import sst as experiment
from benchmarks.published.search import Tried

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


def test_the_best_network_is_chosen_by_the_validation_of_new_seeds(monkeypatch):
    made = []

    def trained(params, seed, x, y, epochs=None):
        made.append((params["name"], seed, len(x)))
        return params["name"], len(x)

    everything = len(experiment.all_weeks()[0])
    _, later = experiment.later_weeks()
    valid = {"lucky": 0.5, "good": 0.8, "other": 0.1}

    def asked(net, x, y):
        return 0.9 if len(y) == len(later) else valid[net[0]]

    monkeypatch.setattr(experiment, "trained", trained)
    monkeypatch.setattr(experiment, "asked", asked)
    monkeypatch.setattr(sst, "forecast", lambda net, x: later + (net[1] == everything))
    best = [Tried(1, 1.0, 0.0, True, {"name": name}) for name in ("lucky", "good", "other", "fourth")]
    refit = float(sst.r2(later, later + 1))
    assert experiment.clean_end(best, 1) == pytest.approx((0.8, 0.9, refit, refit))
    assert {seed for _, seed, _ in made} == {1003, 1004, 1005}
    assert [name for name, _, seen in made if seen == everything] == ["good"] * 3


def test_the_mean_forecast_is_asked_too():
    y = experiment.later_weeks()[1]
    one, averaged = experiment.later_scores([y + 1, y - 1])
    assert (one, averaged) == pytest.approx((float(sst.r2(y, y + 1)), 1.0))


def test_the_table_of_the_clean_protocol_compares_networks_trained_on_all_weeks():
    rows = [
        asdict(experiment.Result("clean", method, seed, 0.89, 0.88, 0.91, 0.9, averaged + seed / 100, 9.0))
        for method, averaged in (("random", 0.91), ("default", 0.92))
        for seed in range(2)
    ]
    table = experiment.table_of(rows, "clean", 40)
    assert "1.00 (1.00 to 1.00)" in table
    assert "2 / 0 / 0" in table


def test_what_is_kept_is_not_run_again(tmp_path, monkeypatch, capsys):
    ran = []

    def search(protocol, method, seed, trials):
        ran.append((protocol, method, seed, trials))
        return experiment.Result(protocol, method, seed, 0.9, 0.8, 0.7, None, None, 1.0)

    monkeypatch.setattr(experiment, "search", search)
    monkeypatch.setattr(experiment, "by_hand", lambda protocol, name, seed: search(protocol, name, seed, 1))
    monkeypatch.setattr(experiment, "BY_HAND", {"ridge": None})
    given = ["sst.py", "--cache", str(tmp_path), "--trials", "7", "--protocols", "published", "--methods", "random"]
    for words, runs in (["--seeds", "1"], 2), (["--seeds", "2"], 4), (["--seeds", "9", "--table"], 4):
        monkeypatch.setattr("sys.argv", [*given, *words])
        experiment.main()
        assert len(ran) == runs
    assert ran[:3] == [("published", "ridge", 0, 1), ("published", "random", 0, 7), ("published", "ridge", 1, 1)]
    assert capsys.readouterr().out.count("| ridge") == 3
