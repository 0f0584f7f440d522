"""Says in one sentence which parameter scikit-learn does not take."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ..pipeline.trial.exceptions import ObjectiveError

REFUSED = "InvalidParameterError"
"""scikit-learn's error for a value that it does not take. Told by its name: no public module of scikit-learn has it."""

SENTENCE = re.compile(r"The '(\w+)' parameter of \S+ (must be .*)\. Got (.*?)(?: instead)?\.?$", re.DOTALL)
"""Its message. The function in it may be the one that was called, not the one with the parameter."""


@contextmanager
def one_sentence() -> Iterator[None]:
    """Raise ObjectiveError instead of scikit-learn's error for a parameter.

    Example:
        >>> from sklearn.svm import SVC
        >>> try:
        ...     with one_sentence():
        ...         SVC(C=-1).fit([[0], [1]], [0, 1])
        ... except ObjectiveError as error:
        ...     print(error)
        C: must be a float in the range (0.0, inf], but is -1
    """
    try:
        yield
    except ValueError as error:
        if type(error).__name__ != REFUSED:
            raise
        found = SENTENCE.match(str(error))
        raise ObjectiveError("{}: {}, but is {}".format(*found.groups()) if found else str(error)) from None
