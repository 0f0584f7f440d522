"""Studies with the sampler gp, for its tests."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from pilotune.pipeline.suggest.surrogate import GPSampler
from pilotune.pipeline.suggest.surrogate.search import Search

MIXED: dict[str, BaseDistribution] = {
    "x": FloatDistribution(-1.0, 1.0),
    "rate": FloatDistribution(1e-4, 1.0, log=True),
    "layers": IntDistribution(1, 6),
    "kind": CategoricalDistribution(["a", "b", "c"]),
}
Loss = Callable[[dict[str, Any]], Any]


def loss(params: dict[str, Any]) -> float:
    return float(
        (params["x"] - 0.3) ** 2
        + 0.1 * (math.log10(params["rate"]) + 2) ** 2
        + 0.2 * abs(params["layers"] - 4)
        + (params["kind"] != "b")
    )


def run(
    sampler: optuna.samplers.BaseSampler,
    count: int,
    space: dict[str, BaseDistribution] = MIXED,
    value: Loss = loss,
    workers: int = 1,
    **options: Any,
) -> optuna.Study:
    """A study of ``count`` trials, ``workers`` of them running at a time; every third to end is not the oldest."""
    study = optuna.create_study(sampler=sampler, **options)
    running: list[optuna.Trial] = []
    for number in range(count):
        if len(running) == workers:
            ended = running.pop(0 if number % 3 else -1)
            found = value(ended.params)
            study.tell(ended, found, state=TrialState.FAIL if found is None else None)
        running.append(study.ask(space))
    for ended in running:
        found = value(ended.params)
        study.tell(ended, found, state=TrialState.FAIL if found is None else None)
    return study


def params_of(study: optuna.Study) -> list[dict[str, Any]]:
    return [trial.params for trial in study.get_trials(deepcopy=False)]


ONE: dict[str, BaseDistribution] = {"x": FloatDistribution(0.0, 1.0)}


def pruned_study(state: TrialState, attrs: dict[str, Any]) -> optuna.Study:
    study = optuna.create_study(sampler=GPSampler(seed=18))
    rng = np.random.default_rng(0)
    for number in range(40):
        x = float(rng.random())
        whole = number % 4 == 0
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE if whole else state,
                value=(x - 0.6) ** 2 if whole else None,
                params={"x": x},
                distributions=ONE,
                intermediate_values={1: (x - 0.6) ** 2 + 0.1} | ({3: (x - 0.6) ** 2} if whole else {}),
                user_attrs={} if whole else attrs,
            )
        )
    return study


def search_of(study: optuna.Study) -> Search:
    """The only search of the study's sampler, with what has changed."""
    (search,) = study.sampler._searches.values()
    search.refresh(study)
    return search
