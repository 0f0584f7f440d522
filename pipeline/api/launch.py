"""Starts the driver of a campaign in the background, and raises as an error what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import PilotuneError, SiteError, UserError
from .notebook import import_optuna

if TYPE_CHECKING:
    from ..studies.background import Started
    from ..studies.request import Request


def launch(request: Request) -> Started:
    """Start the driver of a request in the background; returns once its campaign has begun.

    Raises:
        UserError: The request is wrong, or another driver runs the study; in the driver's own words.
        SiteError: The site, a disk or the database refused.
    """
    from ..studies.background import start_driver
    from ..studies.preflight import refuse_second_driver

    import_optuna()
    prepared = request.prepare()
    refuse_second_driver(prepared)
    started = start_driver(request, prepared, patience=0.0)
    if started.campaign is None or started.failed in (UserError.exit_code, SiteError.exit_code):
        raise _refusal(started.failed, started.printed)
    return started


def _refusal(code: int | None, printed: str) -> PilotuneError:
    """The error that a driver has printed."""
    said = [line.removeprefix("error: ") for line in printed.splitlines() if line.startswith("error: ")]
    words = "\n".join(said) or printed or f"the driver ended with exit code {code}"
    if code == UserError.exit_code:
        return UserError(words)
    return SiteError(words) if code == SiteError.exit_code else PilotuneError(words)
