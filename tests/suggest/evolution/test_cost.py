"""A suggestion reads what changed, and looks at the population only, however many trials there are."""

from __future__ import annotations

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import create_trial

from pilotune.pipeline.record import RecordStorage
from pilotune.pipeline.suggest.evolution import AgeingSampler, DHPOSampler, GeneticSampler
from pilotune.pipeline.suggest.evolution.individuals import Individuals

SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0.0, 1.0), "y": FloatDistribution(0.0, 1.0)}


@pytest.mark.parametrize(
    "sampler",
    [
        AgeingSampler(population=10, seed=0),
        GeneticSampler(population=10, barrier=True, seed=0),
        DHPOSampler(seed=0),
    ],
)
def test_a_suggestion_reads_only_the_trials_that_changed(tmp_path, monkeypatch, sampler) -> None:
    storage = RecordStorage(f"sqlite:///{tmp_path}/study.db", autocommit=False)
    study = optuna.create_study(storage=storage, sampler=sampler)
    for number in range(400):
        study.add_trial(create_trial(value=number / 400, params={"x": number / 400, "y": 0.5}, distributions=SPACE))
    study.tell(study.ask(SPACE), 0.5)
    read = []
    put = Individuals._put
    monkeypatch.setattr(
        Individuals, "_put", lambda self, trial, sign: (read.append(trial.number), put(self, trial, sign))
    )
    yielded = []
    entries = Individuals._entries

    def counted(self, carriers):
        for entry in entries(self, carriers):
            yielded.append(entry.number)
            yield entry

    monkeypatch.setattr(Individuals, "_entries", counted)
    for _ in range(20):
        study.tell(study.ask(SPACE), 0.5)
    assert len(read) <= 20 * 3, "each trial is read when it begins, and when it has ended"
    assert set(read) >= set(range(401, 420))
    if not isinstance(sampler, GeneticSampler):  # whose first generation is of all trials that were there before
        assert len(yielded) <= 20 * 10
