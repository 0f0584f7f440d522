"""One object for what equal trials have in common: there may be a hundred thousand of them in memory.

Dictionaries of trials that were given out are never changed, only replaced, so several trials may have one.
"""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution

_LIMIT = 4096
_CONSTANTS = (str, int, bool, type(None))

_distributions: dict[tuple[Any, ...], dict[str, BaseDistribution]] = {}
_attributes: dict[tuple[Any, ...], dict[str, Any]] = {}


def shared_distributions(distributions: dict[str, BaseDistribution]) -> dict[str, BaseDistribution]:
    """A dictionary of the same names and the very same distributions."""
    # The cached one holds the distributions, so no other can have their identity meanwhile.
    key = tuple([(name, id(each)) for name, each in distributions.items()])
    return _one(_distributions, key, distributions)


def shared_attributes(attrs: dict[str, Any]) -> dict[str, Any]:
    """A dictionary of the same names and values, where those are plain: 1 is not True here, and 0.0 not -0.0."""
    if len(attrs) > 8 or not all(type(value) in _CONSTANTS for value in attrs.values()):
        return attrs
    return _one(_attributes, tuple([(key, type(value), value) for key, value in attrs.items()]), attrs)


def _one(known: dict[tuple[Any, ...], dict[str, Any]], key: tuple[Any, ...], new: dict[str, Any]) -> dict[str, Any]:
    if len(known) >= _LIMIT:
        known.clear()
    return known.setdefault(key, new)
