"""How much the tests that search do: a part of it in ``make test``, all of it in ``make test-all``."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")

EXHAUSTIVE = os.environ.get("PILOTUNE_TESTS") == "all"
"""Whether ``make test-all`` runs."""


def at_size(usual: T, exhaustive: T) -> T:
    """``usual`` in ``make test``, ``exhaustive`` in ``make test-all``."""
    return exhaustive if EXHAUSTIVE else usual
