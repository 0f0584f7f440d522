"""The errors that Pilotune raises, by who can solve the problem.

Every message is one sentence that says what is wrong, where, and what would be right.
"""

from __future__ import annotations

from pathlib import Path

LONGEST = 1000
"""Most characters of a sentence that are shown: it may quote text of any length."""


def printable(text: str) -> str:
    r"""``text`` as one line for a terminal: control characters and surrogates are escaped, and long text is cut off.

    >>> print(printable("two\nlines"))
    two\nlines
    """
    if len(text) > LONGEST:
        text = f"{text[: LONGEST - 3]}..."
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def words_of(error: BaseException) -> str:
    """What an exception of somebody else's code says; empty where it says nothing, or where its ``__str__`` raises.

    >>> words_of(ValueError("no such layer"))
    'no such layer'
    """
    try:
        return str.__str__(str(error))  # a text of a class of its own would not reach other processes
    except Exception:
        return ""


class PilotuneError(Exception):
    """Base of all errors that Pilotune raises on purpose.

    Attributes:
        exit_code: The exit code of the command line.
    """

    exit_code = 1


class UserError(PilotuneError):
    """A mistake of the user: in a study file, a site file, an option or a name.

    Args:
        message: What is wrong and what would be right, without the place.
        file: The file with the mistake, if any.
        line: The line in that file, counted from 1.
        key: The key in that file, dotted (``space.lr.float``).

    >>> print(UserError("must be a number, but is 'ten'", file="study.yaml", line=7, key="budget.target"))
    study.yaml:7: budget.target: must be a number, but is 'ten'
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
    """The database has another study of this name, with other directions or another space."""


class CampaignRunning(UserError):
    """Another driver runs a study that only one driver may run at a time."""


class SiteError(PilotuneError):
    """The site failed: its scheduler, its network, or workers on its nodes."""

    exit_code = 3


class RecordAway(PilotuneError):
    """The database cannot be reached or did not answer. Uncommitted changes are kept and can be committed again."""

    exit_code = 3


class RecordStarting(RecordAway):
    """The database server starts, stops or recovers. It is expected to be ready soon, without anybody's help."""


class RecordStuck(RecordAway):
    """Writes fail until someone intervenes (disk full, read-only, access denied)."""


class RecordLost(RecordStuck):
    """The database is damaged or no longer where it was. Retries cannot succeed."""
