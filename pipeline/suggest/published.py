"""What was suggested to a running trial, written to its attributes, so that other processes know it at once.

An objective that defines its space as it runs asks for its parameters one by one, and until then the database does not
have them. Optuna's TPE reads and writes the same attributes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial

RELATIVE = "tpe:relative_params"
"""System attribute of a running trial, as Optuna's sampler writes it: all values that were suggested to it, as JSON,
cut into pieces with ``:0``, ``:1``, ... appended to this key."""

MAX_ATTRIBUTE_LENGTH = 2045
"""Most characters of a system attribute in Optuna's relational storage."""


def publish(study: Study, trial: FrozenTrial, params: Mapping[str, Any]) -> None:
    """Write all values that were suggested to ``trial`` to its attributes."""
    text = json.dumps(params)
    for start in range(0, len(text), MAX_ATTRIBUTE_LENGTH):
        key = f"{RELATIVE}:{start // MAX_ATTRIBUTE_LENGTH}"
        study._storage.set_trial_system_attr(trial._trial_id, key, text[start : start + MAX_ATTRIBUTE_LENGTH])


def published(trial: FrozenTrial) -> dict[str, Any]:
    """The values that were suggested to a running trial; empty where there are none, or they are being written."""
    texts: list[str] = []
    while text := trial.system_attrs.get(f"{RELATIVE}:{len(texts)}"):
        texts.append(text)
    if not texts:
        return {}
    try:
        found: dict[str, Any] = json.loads("".join(texts))
    except json.JSONDecodeError:  # another process is writing the pieces just now
        return {}
    return found
