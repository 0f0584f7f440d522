"""Lets the busy workers of a node yield when their block ends. Uses the standard library only, see :mod:`.agent`."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence

from ...pipeline.trial.block_env import YIELD_LIMIT as GIVEN_LIMIT

END_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU})
"""Signals that end a block. Schedulers differ in which they send first."""

YIELD_LIMIT = 25.0
"""Seconds for trials to yield: Slurm kills 30 s after its SIGTERM by default, and outcomes must be delivered before."""

PBS_YIELD_LIMIT = 6.5
"""The same in a job of PBS, which kills 10 s after its SIGTERM, unless the queue's ``kill_delay`` says otherwise."""

INTERVAL = 0.2
"""Seconds between two signals to a worker that has not yielded."""


def yield_limit(environment: Mapping[str, str] = os.environ) -> float:
    """Seconds for trials to yield in this block, from its environment.

    >>> yield_limit({}), yield_limit({"PBS_JOBID": "7.server"})
    (25.0, 6.5)
    >>> yield_limit({"PBS_JOBID": "7.server", "PILOTUNE_YIELD_LIMIT": "55"})
    55.0
    """
    with contextlib.suppress(ValueError):
        return max(0.0, float(environment[GIVEN_LIMIT])) if GIVEN_LIMIT in environment else _usual(environment)
    return _usual(environment)


def _usual(environment: Mapping[str, str]) -> float:
    return PBS_YIELD_LIMIT if "PBS_JOBID" in environment else YIELD_LIMIT


def ask_to_yield(
    busy: Callable[[], Sequence[int]], limit: float | None = None, meanwhile: Callable[[], object] = lambda: None
) -> bool:
    """Send SIGTERM to busy workers until they are done.

    Args:
        busy: The pids of those that are busy still.
        limit: Seconds after which no more is waited for them; None for :func:`yield_limit`.
        meanwhile: Called between two looks.

    Returns:
        Whether there were any.
    """
    deadline, any_busy = time.monotonic() + (yield_limit() if limit is None else limit), False
    while time.monotonic() < deadline and (pids := busy()):
        any_busy = True
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGTERM)
        meanwhile()
        time.sleep(INTERVAL)
    return any_busy
