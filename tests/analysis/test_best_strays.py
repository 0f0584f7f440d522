"""A value outside of its parameter's range, which a sampler of a user's may have returned, does not hide the best."""

from __future__ import annotations

from pathlib import Path

from pilotune.pipeline.analysis import best_trials, read_study

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
