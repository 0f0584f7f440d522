"""What the commands show of a study whose trials were repeated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, create_trial

from pilotune.pipeline.campaign.cautious_incumbent import CautiousIncumbent
from pilotune.pipeline.noise import Repetition, means, repetitions_of

from ..support.cli import Pilotune, alone, new_study, pilotune_  # noqa: F401


def trial(number: int, *values: float, attempts: int = 0, **constraints: float) -> FrozenTrial:
    """A complete trial whose repetitions gave these values."""
    found = [Repetition(f"{number}.{place}.c", 100 + place, (value,)) for place, value in enumerate(values, 1)]
    return create_trial(
        value=means(found)[0],
        params={"x": number / 10},
        distributions={"x": FloatDistribution(0.0, 1.0)},
        user_attrs={"pilotune:attempts": attempts or len(values), "pilotune:exit": "complete"},
        system_attrs={
            "pilotune:repeats": [each.to_json() for each in found],
            **{f"constraints:{name}": amount for name, amount in constraints.items()},
        },
    )


TRIALS = [
    trial(0, 0.50, 0.54, 0.52),
    trial(1, 0.90, 0.94, 0.92, attempts=4),
    trial(2, 0.93),  # better by a single value
    trial(3, 0.91, 0.93, 0.89),
    trial(4, 0.99, 0.99, 0.99, size=1.0),
]


BEST = means(repetitions_of(TRIALS[1]))[0]


@pytest.fixture
def url(tmp_path: Path) -> str:
    new_study(f"sqlite:///{tmp_path}/study.db").add_trials(TRIALS)
    return f"sqlite:///{tmp_path}/study.db"


def test_best_is_the_trial_with_the_best_bound_and_says_how_sure_it_is(pilotune: Pilotune, url: str) -> None:
    lines = pilotune("best", "digits", "--storage", url).out.splitlines()
    assert [line.split(maxsplit=1) for line in lines[:2]] == [["trial", "1"], ["value", str(BEST)]]
    assert [line.strip() for line in lines[2:5]] == [
        "mean of 3 runs, standard deviation 0.02",
        "90 % interval 0.8976 to 0.9424",
        "trials 2 and 3 cannot be told apart from it",
    ]
    assert ["attempts", "4"] in [line.split() for line in lines]


def test_best_as_json_has_the_repetitions_and_the_interval(pilotune: Pilotune, url: str) -> None:
    data = json.loads(pilotune("best", "digits", "--storage", url, "--json").out)
    (best,) = data["best"]
    assert best["repetitions"][1] == {"attempt": 2, "seed": 102, "values": [0.94]}
    assert best["spread"] == {"value": pytest.approx(0.02)}
    assert data["certainty"]["alike"] == [2, 3]
    low, high = data["certainty"]["interval"]
    assert (low + high) / 2 == pytest.approx(0.92)


def test_export_best_takes_the_same_trial(pilotune: Pilotune, url: str) -> None:
    assert pilotune("export", "digits", "--storage", url, "--best").out == "x: 0.1\n"


def test_the_driver_shows_the_same_trial(url: str) -> None:
    import optuna

    best = CautiousIncumbent().refresh(optuna.load_study(study_name="digits", storage=url))
    assert best is not None
    assert (best.number, best.alike) == (1, (2, 3))


def test_trials_shows_runs_and_spread_and_attempts_beyond_the_runs(pilotune: Pilotune, url: str) -> None:
    head, *lines = pilotune("trials", "digits", "--storage", url, "--sort", "value").out.splitlines()
    assert head.split() == ["trial", "state", "value", "runs", "spread", "x", "seconds", "attempts"]
    assert [line.split()[:5] for line in lines[1:3]] == [
        ["2", "complete", "0.93", "1", "0.2"],
        ["1", "complete", "0.92", "3", "0.02"],
    ]


def test_one_trial_in_detail_lists_its_runs(pilotune: Pilotune, url: str) -> None:
    out = pilotune("trials", "digits", "--storage", url, "--traceback", "0").out
    assert "  run 2  0.54 (attempt 2, seed 102)" in out


def test_export_has_columns_for_repetitions(pilotune: Pilotune, url: str) -> None:
    head, first, *_ = pilotune("export", "digits", "--storage", url).out.splitlines()
    assert "repetitions,spread_value" in head
    assert ",3,0.02" in first


def test_status_shows_the_best_of_the_database_with_its_interval(pilotune: Pilotune, url: str) -> None:
    out = pilotune("status", "--storage", url).out
    assert "value 0.92 ± 0.022 (trial 1, 3 runs)" in out
    assert "trials 2 and 3 cannot be told apart from it" in out
