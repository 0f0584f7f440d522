"""Raises the driver's limit of open files, since each worker is a connection to it."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Callable, Iterator

ENOUGH = 1_048_576
"""Limit that is set when the system has none."""

_usual: int | None = None  # the soft limit from before it was raised; None while it is not raised


@contextlib.contextmanager
def many_descriptors() -> Iterator[None]:
    """Inside, this process's soft limit of open files is raised to the hard one."""
    global _usual
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = ENOUGH if hard == resource.RLIM_INFINITY else hard
    if _usual is not None or soft == resource.RLIM_INFINITY or soft >= most:
        yield
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError):  # the kernel allows less than the limit says
        yield
        return
    _usual = soft
    try:
        yield
    finally:
        _usual = None
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def usual_limit() -> Callable[[], None] | None:
    """A ``preexec_fn`` that gives a started program the limit from before it was raised; None when it was not raised.

    Programs that call select(2) fail with descriptors above 1,024, and schedulers pass the submitter's limits on to
    jobs.
    """
    usual = _usual
    if usual is None:
        return None

    def lower() -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (usual, hard))

    return lower
