"""Keeps linear algebra on one thread while a trial is chosen.

The matrices of a sampler are small. With as many threads as the host has cores, which is the libraries' default, these
spend more time waiting for each other than computing: with two cores each suggestion of ``gp`` takes twice as long and
four times the CPU time, and a login node has many cores and other users.
"""

from __future__ import annotations

import functools
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
"""Where one of them is set, the user has chosen."""

BRING_LIBRARIES = ("numpy", "scipy.linalg", "torch", "sklearn")
"""Modules that load a library with threads of its own."""


def one_thread() -> AbstractContextManager[object]:
    """A context in which linear algebra and OpenMP use one thread, and afterwards as many as before.

    It holds for the whole process. It does nothing where one of VARIABLES is set.

    >>> with one_thread():
    ...     pass
    """
    if any(name in os.environ for name in VARIABLES):
        return nullcontext()
    controller = _controller(tuple(name in sys.modules for name in BRING_LIBRARIES))
    limited: AbstractContextManager[object] = controller.limit(limits=1)
    return limited


@functools.lru_cache(maxsize=1)
def _controller(loaded: tuple[bool, ...]) -> ThreadpoolController:
    """The libraries of this process, looked for again when there may be another one."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
