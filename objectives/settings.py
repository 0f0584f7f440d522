"""Checks the parameters of a trial against those that a ready-made objective has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..pipeline.trial.exceptions import ObjectiveError

DATA: dict[str, Any] = {
    "data": "digits",  # or a folder of images, a CSV file, breast_cancer, iris, wine
    "target": None,  # of a CSV file, the column with the class; default: the last one
    "size": None,  # of a folder of PNG or JPEG files, the height and width to which images are scaled
    "rows": None,  # the most rows to train on; default: all
    "held_out": 0.2,  # the fraction of the training part that is scored, not trained on
    "split_seed": 0,  # the same for every trial, so that trials compare
    "score": "validation",  # or test: train on the whole training part, and score on the test part
}
"""Which rows are trained on and scored, with defaults: the same for every classifier that reports."""

OFFERED: dict[str, Sequence[str]] = {"score": ("validation", "test")}


def missing(package: str, error: ModuleNotFoundError) -> ObjectiveError:
    """The error for a package that is not installed, to be raised instead of the import's own.

    Args:
        package: As pip knows it.
        error: What the import raised.

    Example:
        >>> print(missing("scikit-learn", ModuleNotFoundError(name="sklearn")))
        the objective needs scikit-learn (sklearn), not installed where the trial runs: pip install scikit-learn
    """
    module = "" if error.name == package else f" ({error.name})"
    return ObjectiveError(
        f"the objective needs {package}{module}, not installed where the trial runs: pip install {package}"
    )


def settings(
    params: Mapping[str, Any], defaults: Mapping[str, Any], offered: Mapping[str, Sequence[Any]]
) -> dict[str, Any]:
    """``params`` over ``defaults``; a parameter that is None, or inactive, keeps its default.

    Args:
        params: A trial's parameters and constants.
        defaults: The objective's own, over :data:`DATA`.
        offered: The values that some of them may have, over :data:`OFFERED`.

    Raises:
        ObjectiveError: There is no such parameter, or its value is not offered.

    Example:
        >>> settings({"lr": 0.1, "data": None}, {"lr": 0.01}, {})["data"]
        'digits'
    """
    known = {**DATA, **defaults}
    unknown = [name for name in params if name not in known]
    if unknown:
        raise ObjectiveError(f"there is no parameter {', '.join(unknown)}; the parameters are {', '.join(known)}")
    found = known | {name: value for name, value in params.items() if value is not None}
    for name, values in {**OFFERED, **offered}.items():
        if found[name] not in values:
            raise ObjectiveError(f"there is no {name} {found[name]!r}; offered are {', '.join(map(str, values))}")
    return found
