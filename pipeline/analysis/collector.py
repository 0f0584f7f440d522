"""Switches Python's garbage collector off while many objects are made that stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """Inside, the garbage collector does not run; afterwards it does again, if it did before.

    The collector runs whenever some hundred objects were made. Of a study with thousands of trials all objects stay, so
    that it finds nothing, and going through them takes longer than making them.

    Example::

        with no_collection():
            trials = [make_trial() for _ in range(10_000)]
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
