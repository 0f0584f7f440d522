"""Checks the parameters of a trial against those that a ready-made objective has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
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

NOUNS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


@dataclass(frozen=True)
class Kind:
    """Which values a parameter may have. ``str`` gives it in words, for a message.

    Attributes:
        of: ``int``, ``float`` (whole numbers too, but only finite ones), ``bool``, or ``str`` (not empty).
        least: The lowest number.
        above: The number below all that are allowed, itself not allowed.
        most: The highest number.
        below: The number above all that are allowed, itself not allowed.
        words: Texts that are allowed besides numbers.

    Example:
        >>> print(Kind(float, above=0, below=1))
        a number above 0 and below 1
        >>> Kind(int, least=1).allows(1), Kind(int, least=1).allows(0), Kind(int, least=1).allows(True)
        (True, False, False)
    """

    of: type
    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        named = (("of at least", self.least), ("above", self.above), ("at most", self.most), ("below", self.below))
        limits = " and ".join(f"{name} {limit}" for name, limit in named if limit is not None)
        *others, last = [f"{NOUNS[self.of]} {limits}".strip(), *self.words]
        return f"{', '.join(others)} or {last}" if others else last

    def allows(self, value: object) -> bool:
        """Whether ``value`` is of this kind and within the limits."""
        if self.of is str:
            return isinstance(value, str) and value != ""
        if isinstance(value, str):
            return value in self.words
        if self.of is bool or isinstance(value, bool):
            return self.of is bool and isinstance(value, bool)
        if not isinstance(value, Integral if self.of is int else Real) or not math.isfinite(value):
            return False
        number = float(value)
        return (
            (self.least is None or number >= self.least)
            and (self.above is None or number > self.above)
            and (self.most is None or number <= self.most)
            and (self.below is None or number < self.below)
        )


COUNT, SHARE = Kind(int, least=1), Kind(float, least=0, most=1)
POSITIVE, NOT_NEGATIVE = Kind(float, above=0), Kind(float, least=0)

Allowed = Mapping[str, Sequence[Any] | Kind]
"""By parameter, the values that it may have, or their kind."""

KINDS: Allowed = {
    "data": Kind(str),
    "target": Kind(str),
    "size": COUNT,
    "rows": COUNT,
    "held_out": Kind(float, above=0, below=1),
    "split_seed": Kind(int, least=0),
    "score": ("validation", "test"),
    # networks
    "epochs": COUNT,
    "batch_size": COUNT,
    "lr": POSITIVE,
    "momentum": SHARE,
    "weight_decay": NOT_NEGATIVE,
    "dropout": SHARE,
    "blocks": Kind(int, least=0),
    "channels": COUNT,
    "batch_norm": Kind(bool),
    "layers": Kind(int, least=0),
    "units": Kind(int, least=0),
    "beta": SHARE,
    "warm_up": SHARE,
    "best_weights": Kind(bool),
    "selection": Kind(float, least=0, below=1),
    # support vector machines
    "C": POSITIVE,
    "gamma": Kind(float, least=0, words=("scale", "auto")),
    "degree": COUNT,
    "coef0": Kind(float),
    "max_iter": Kind(int, least=-1),
    "stages": Kind(bool),
    # trees
    "learning_rate": POSITIVE,
    "max_leaf_nodes": Kind(int, least=2),
    "max_depth": COUNT,
    "min_samples_leaf": COUNT,
    "l2_regularization": NOT_NEGATIVE,
    "max_features": Kind(float, above=0, most=1),
    "rounds": COUNT,
    "every": COUNT,
    # sklearn_classifier
    "model": Kind(str),
    "folds": Kind(int, least=2),
    "seed": Kind(int, least=0, below=2**32),
    # learning_curve
    "width": POSITIVE,
    "noise": NOT_NEGATIVE,
    "seconds": NOT_NEGATIVE,
}
"""What the parameters of all ready-made objectives may be; an objective says what differs."""


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


def settings(params: Mapping[str, Any], defaults: Mapping[str, Any], offered: Allowed) -> dict[str, Any]:
    """``params`` over ``defaults``; a parameter that is None, or inactive, keeps its default.

    Args:
        params: A trial's parameters and constants.
        defaults: The objective's own, over :data:`DATA`.
        offered: What some of them may be, over :data:`KINDS`.

    Raises:
        ObjectiveError: There is no such parameter, or its value is not allowed.

    Example:
        >>> settings({"lr": 0.1, "data": None}, {"lr": 0.01}, {})["data"]
        'digits'
    """
    known = {**DATA, **defaults}
    unknown = [name for name in params if name not in known]
    if unknown:
        raise ObjectiveError(f"there is no parameter {', '.join(unknown)}; the parameters are {', '.join(known)}")
    found = known | {name: value for name, value in params.items() if value is not None}
    check(found, offered)
    return found


def check(params: Mapping[str, Any], offered: Allowed) -> None:
    """Check the values of parameters. None stands for a default, and is not checked.

    Args:
        params: The parameters; one of which nothing is known is not checked either.
        offered: What some of them may be, over :data:`KINDS`.

    Raises:
        ObjectiveError: A value is not allowed.

    Example:
        >>> check({"rows": 0}, {})
        Traceback (most recent call last):
        ...
        pilotune.pipeline.trial.exceptions.ObjectiveError: rows: must be a whole number of at least 1, but is 0
    """
    allowed = {**KINDS, **offered}
    for name, value in params.items():
        known = allowed.get(name)
        if known is None or value is None:
            continue
        if isinstance(known, Kind):
            if not known.allows(value):
                raise ObjectiveError(f"{name}: must be {known}, but is {value!r}")
        elif not any(value == each and type(value) is type(each) for each in known):
            raise ObjectiveError(f"there is no {name} {value!r}; offered are {', '.join(map(str, known))}")
