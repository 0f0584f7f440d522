"""Opens the database at the start of a campaign, and waits for a server that is not ready yet."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ...errors import RecordStarting
from ...fields import format_duration
from ..record import RecordStorage, open_storage

log = logging.getLogger(__name__)

PATIENCE = 120.0
"""Seconds to wait for a server that starts, stops or recovers. A recovery after a crash may take longer."""

INTERVAL = 2.0
"""Seconds between two tries."""


def open_when_ready(
    url: str,
    study: str,
    tell: Callable[[str], None],
    stop: Callable[[], bool] = lambda: False,
    open_record: Callable[[str], RecordStorage] = open_storage,
    clock: Callable[[], float] = time.time,
    pause: Callable[[float], None] = time.sleep,
) -> RecordStorage:
    """Open the database; a server that is starting up, shutting down or in recovery is waited for.

    Args:
        url: The database.
        study: The study's name, for the message.
        tell: Called with a sentence for the user, once, if there is something to wait for.
        stop: Whether the user no longer wants to wait.
        open_record: Opens the database.
        clock: Unix seconds.
        pause: Waits for some seconds.

    Raises:
        RecordStarting: It has not become ready in time.
        KeyboardInterrupt: The user no longer wants to wait.
        UserError, RecordAway: As :func:`open_storage`.
    """
    until: float | None = None
    while True:
        try:
            return open_record(url)
        except RecordStarting as error:
            if until is None:
                until = clock() + PATIENCE
                at = time.strftime("%H:%M:%S", time.localtime(until))
                sentence = f"{error}; it is waited for until {at}"
                log.warning("%s", sentence)
                tell(sentence)
            elif clock() >= until:
                waited = format_duration(PATIENCE)
                raise RecordStarting(
                    f"{error}, and was not within {waited}; once it is, pilotune resume {study} goes on"
                ) from None
        if stop():
            raise KeyboardInterrupt
        pause(INTERVAL)
