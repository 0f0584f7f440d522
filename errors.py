"""What can go wrong, by who can mend it. Every message is one sentence: what, where, and what would be right."""

from __future__ import annotations

from pathlib import Path

LONGEST = 1000
"""Characters of a sentence that are shown; what a user gave may be of any length."""


def printable(text: str) -> str:
    """``text`` as one line for a terminal: control characters and halves of characters escaped, cut where endless."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST - 3]}..."
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class PilotuneError(Exception):
    """Base of all errors that Pilotune raises on purpose. ``exit_code`` is what the command line ends with."""

    exit_code = 1


class UserError(PilotuneError):
    """A mistake in what the user gave: a study file, a site file, an option, a name.

    Args:
        message: What is wrong and what would be right, without the place.
        file: The file it stands in, if any.
        line: The line in that file, counted from 1.
        key: The key in that file, dotted (``space.lr.float``).
    """

    exit_code = 2

    def __init__(
        self, message: str, *, file: Path | str | None = None, line: int | None = None, key: str | None = None
    ):
        self.message, self.file, self.line, self.key = message, file, line, key
        super().__init__(str(self))

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file and self.line else str(self.file or "")
        parts = [printable(part) for part in (place, self.key) if part]
        return ": ".join([*parts, "\n".join(printable(sentence) for sentence in self.message.split("\n"))])


class StudyMismatch(UserError):
    """The database holds another study under this name (other space or directions)."""


class CampaignRunning(UserError):
    """Another driver is alive on a study that only one driver may work on."""


class SiteError(PilotuneError):
    """The site refused: scheduler, network or workers would not do what was asked."""

    exit_code = 3


class RecordAway(PilotuneError):
    """The database cannot be reached or did not answer; what was to be written is kept and can be committed again."""

    exit_code = 3


class RecordStuck(RecordAway):
    """It will not be otherwise by itself: no room, no right to write, nobody who is let in. Somebody has to mend it."""


class RecordLost(RecordStuck):
    """The database is broken or not where it was; trying again is in vain."""
