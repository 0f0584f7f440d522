"""Shares equal dictionaries between trials, to save memory: a study may have a hundred thousand trials.

Dictionaries of trials that callers have received are never changed, only replaced, so several trials may share one.
"""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution

from ..attributes import DETAILS

_LIMIT = 4096
"""Most dictionaries kept for sharing; the table is cleared when it is full, which only costs memory."""
_IMMUTABLE = (str, int, bool, type(None))
"""Types of shared values. No floats: 0.0 and -0.0 are equal as keys."""

_distributions: dict[tuple[Any, ...], dict[str, BaseDistribution]] = {}
_attributes: dict[tuple[Any, ...], dict[str, Any]] = {}
_details: dict[tuple[Any, ...], dict[str, Any]] = {}


def shared_distributions(distributions: dict[str, BaseDistribution]) -> dict[str, BaseDistribution]:
    """A dictionary with the same names and identical distributions, shared by all trials that have these."""
    # The shared dictionary keeps the distributions alive, so no other object can get one of these ids.
    key = tuple([(name, id(each)) for name, each in distributions.items()])
    return _shared(_distributions, key, distributions)


def shared_attributes(attrs: dict[str, Any]) -> dict[str, Any]:
    """A dictionary with the same keys and values, shared when all are plain. 1 and True are not the same here."""
    details = attrs.get(DETAILS)
    if details is not None:
        if type(details) is not dict or not _plain(details):
            return attrs
        shared = _shared(_details, _key(details), details)
        if shared is not details:
            attrs = {**attrs, DETAILS: shared}
        # The shared dictionary keeps the details alive, so no others can get their id.
        plain = {**attrs, DETAILS: id(shared)}
        return _shared(_attributes, _key(plain), attrs) if _plain(plain) else attrs
    return _shared(_attributes, _key(attrs), attrs) if _plain(attrs) else attrs


def _plain(attrs: dict[str, Any]) -> bool:
    return len(attrs) <= 8 and all(type(value) in _IMMUTABLE for value in attrs.values())


def _key(attrs: dict[str, Any]) -> tuple[Any, ...]:
    return tuple([(key, type(value), value) for key, value in attrs.items()])


def _shared(known: dict[tuple[Any, ...], dict[str, Any]], key: tuple[Any, ...], new: dict[str, Any]) -> dict[str, Any]:
    if len(known) >= _LIMIT:
        known.clear()
    return known.setdefault(key, new)
