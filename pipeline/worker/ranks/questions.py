"""What a rank asks its worker, and the sentences where it differs from what rank 0 has asked."""

from __future__ import annotations

import json
from collections.abc import Hashable
from typing import Any

from ...trial.values import shown
from ..process.messages import ParamRequested, Reported, StudyAsked

Question = Reported | ParamRequested | StudyAsked
"""What a rank waits for an answer to."""


def identity(question: Question) -> Hashable:
    """What two ranks' questions must agree in."""
    if isinstance(question, Reported):
        return question.step
    return (question.name, question.distribution) if isinstance(question, ParamRequested) else question.what


def asked(question: Question) -> str:
    """What a rank has done, in words."""
    if isinstance(question, Reported):
        return f"reported step {question.step}"
    if isinstance(question, ParamRequested):
        return f"suggested {question.name!r}"
    return f"asked the study for {question.what!r}"


def rule(question: Question) -> str:
    if isinstance(question, Reported):
        return "every rank calls trial.report with the same steps"
    what = "suggests the same parameters" if isinstance(question, ParamRequested) else "asks the same questions"
    return f"every rank {what} in the same order, or rank 0 alone does"


def difference(question: Question, first: Any) -> str:
    """How a rank's question differs from that of rank 0, in words."""
    if isinstance(question, Reported):
        but = f"rank 0 reported step {first}"
    elif isinstance(question, StudyAsked):
        but = f"rank 0 asked for {first!r}"
    elif question.name != first[0]:
        but = f"rank 0 suggested {first[0]!r}"
    else:
        but = f"rank 0 gave another range or other choices: {in_words(first[1])}, not {in_words(question.distribution)}"
    return f"{asked(question)}, but {but}; {rule(question)}"


def in_words(distribution: str) -> str:
    """A range or choices, from Optuna's JSON.

    >>> in_words('{"name": "IntDistribution", "attributes": {"log": false, "step": 2, "low": 0, "high": 8}}')
    'int from 0 to 8, step 2'
    >>> in_words('{"name": "CategoricalDistribution", "attributes": {"choices": ["a", "b"]}}')
    "the choices ['a', 'b']"
    """
    try:
        found = json.loads(distribution)
        name, attributes = found["name"], found["attributes"]
        if "choices" in attributes:
            return f"the choices {shown(attributes['choices'])}"
        words = f"{name.removesuffix('Distribution').lower()} from {attributes['low']} to {attributes['high']}"
        step = "" if attributes["step"] in (None, 1) else f", step {attributes['step']}"
        return f"{words}{step}{', log' if attributes['log'] else ''}"[:200]
    except (ValueError, KeyError, TypeError, AttributeError):  # what an objective's process sends may be anything
        return f"{distribution:.200}"
