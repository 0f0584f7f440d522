"""How many descriptors the driver may have: every worker is a connection to it, and so is every stranger's."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Callable, Iterator

ENOUGH = 1_048_576
"""Where the system sets no limit."""

_usual: int | None = None


@contextlib.contextmanager
def many_descriptors() -> Iterator[None]:
    """Raise this process's soft limit of open files to the hard one meanwhile."""
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
    """For ``preexec_fn`` of a program that is to find the limit as it was: programs that call select(2) fail beyond
    1,024, and schedulers give jobs the limits of who submits them. None where it was not raised."""
    usual = _usual
    if usual is None:
        return None

    def lower() -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (usual, hard))

    return lower
