"""The arguments of Optuna's CMA-ES that start it where earlier studies were good (WS-CMA-ES).

Its first distribution is the one that comes closest to the best tenth of the earlier trials (Nomura et al., *Warm
Starting CMA-ES for Hyperparameter Optimization*, AAAI 2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution

from .earlier import EarlierStudy

LEAST_TRIALS = 20
"""With fewer earlier trials in the space CMA-ES starts as without them."""


def informed(studies: Sequence[EarlierStudy], distributions: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """``source_trials`` for Optuna's sampler; nothing where there are too few.

    Args:
        studies: The earlier studies.
        distributions: The parameters that every trial of the new study has.
    """
    numbers = {
        name: found
        for name, found in distributions.items()
        if not isinstance(found, CategoricalDistribution) and not found.single()
    }
    if not numbers:
        return {}
    trials = [
        optuna.create_trial(params={name: params[name] for name in numbers}, distributions=numbers, value=score)
        for study in studies
        for params, score in zip(study.params, study.scores, strict=True)
        if _is_within(params, numbers)
    ]
    return {"source_trials": trials} if len(trials) >= LEAST_TRIALS else {}


def _is_within(params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]) -> bool:
    try:
        return all(
            name in params and found._contains(found.to_internal_repr(params[name]))
            for name, found in distributions.items()
        )
    except (TypeError, ValueError):
        return False
