"""The environment of processes that tests start."""

from __future__ import annotations

import os


def variables() -> dict[str, str]:
    """All variables, also where threads start campaigns while pytest changes its own variable in the main thread."""
    return {name: value for name in os.environ if (value := os.environ.get(name)) is not None}
