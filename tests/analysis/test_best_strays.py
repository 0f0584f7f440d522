"""The best trial beside values out of range, and among thousands of trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from optuna.trial import create_trial

from pilotune.pipeline.analysis import StudyData, best, best_trials, read_study

from ..support.cli import of_pilotune


def test_the_best_trial_is_found_beside_one_with_a_value_out_of_range(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    of_pilotune(url)
    data = read_study(url, "digits")
    best = best_trials(data)[0].number
    stray = next(trial for trial in data.trials if trial.state.name == "COMPLETE" and trial.number != best)
    name = next(iter(stray.params))
    stray.params = {**stray.params, name: 1e9}
    assert [row.number for row in best_trials(data)] == [best]


@pytest.mark.parametrize(("direction", "wanted"), [("minimize", 2), ("maximize", 3)])
def test_optuna_gets_the_trials_with_the_best_value_only(
    direction: str, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = [create_trial(value=value) for value in (0.5, 0.7, 0.1, 0.9, 0.1, 0.9, 0.3)]
    for number, trial in enumerate(trials):
        trial.number = number
    data, given, real = StudyData("", "s", (direction,), ("value",), tuple(trials), {}), list[int](), best.study_of

    def counted(data: StudyData) -> Any:
        given.append(len(data.trials))
        return real(data)

    monkeypatch.setattr(best, "study_of", counted)
    assert [row.number for row in best_trials(data)] == [wanted], "the first of equals, as in Optuna"
    assert given == [2]


def test_the_best_value_may_break_a_constraint() -> None:
    trials = [create_trial(value=value, system_attrs={"constraints": [amount]})
              for value, amount in ((0.1, 1.0), (0.7, 0.0), (0.5, -1.0))]  # fmt: skip
    for number, trial in enumerate(trials):
        trial.number = number
    assert [row.number for row in best_trials(StudyData("", "s", ("minimize",), ("value",), tuple(trials), {}))] == [2]
