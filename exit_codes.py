"""Exit codes of ``pilotune``.

They stand beside :mod:`.errors` at the top of the package because three rooms need them: the campaign, which decides
how it ends; the driver, which also ends for reasons of its own; and the command line, which exits with them.
"""

from __future__ import annotations

FINISHED = 0
"""The budget is used up, the target is reached, or the space is exhausted, and at least one trial completed."""

FAILED = 1
"""The campaign ended without a usable result: no trial completed, or too many failed in a row."""

USAGE = 2
"""Usage or input error."""

SITE = 3
"""The scheduler, the network, a disk or the database refused."""

STOPPED = 130
"""Stopped by a signal or by ``pilotune stop``; ``pilotune resume`` continues."""
