"""What is shown of an attempt that failed."""

from __future__ import annotations

from dataclasses import dataclass

SHOWN_LINES, SHOWN_CHARACTERS = 12, 2_000
"""Last lines of a traceback that are kept for the user, and most characters of them."""

LONGEST_REASON = 2_000
"""Most characters of a reason that are kept."""


@dataclass(frozen=True)
class FailedAttempt:
    """An attempt that failed, as far as it is shown while the campaign runs; the database has the whole traceback.

    Attributes:
        number: The trial's number.
        attempt: The attempt's, from 1.
        failure: The kind of failure, see :data:`~pilotune.pipeline.trial.protocol.FailureKind`; ``yielded`` for a trial
            that yielded without getting anywhere.
        reason: Why, as a sentence.
        traceback: The last lines of the objective's traceback, or of its stderr; empty where there are none.
        host: Where it ran; empty if unknown.
        directory: The trial's folder.
        again: The trial gets another attempt.
    """

    number: int
    attempt: int
    failure: str
    reason: str
    traceback: str = ""
    host: str = ""
    directory: str = ""
    again: bool = False


def last_lines(text: str) -> str:
    """The end of a traceback: its last lines, cut off at the front where they are too long.

    >>> last_lines("Traceback:\\n  File x\\nValueError: no\\n")
    'Traceback:\\n  File x\\nValueError: no'
    """
    end = "\n".join(text.rstrip().splitlines()[-SHOWN_LINES:])
    return end if len(end) <= SHOWN_CHARACTERS else f"...{end[-SHOWN_CHARACTERS:]}"
