"""Where in a shell's text a quoted value is one word and nothing else, and where the shell would still look into it.

A value in single quotes is a word of its own where a word may begin or go on. Inside other quotes, in a comment, a here
document or arithmetic, the quotes around it are text like any other, and a ``$(...)`` in it would be run.
"""

from __future__ import annotations

import shlex

PLAIN, LOST = "", "lost"


class Shell:
    """Reads a template for ``/bin/sh`` piece by piece; it follows POSIX's rules, and bash's where those are stricter.

    Attributes:
        state: The quote that is open (``'``, ``"``), ``#`` in a comment, LOST where the rest is beyond these rules.
    """

    def __init__(self) -> None:
        self.state = PLAIN
        self._before = "\n"
        self._escaped = self._here = False

    @property
    def exposed(self) -> bool:
        """Whether quotes around what comes next would not be the shell's."""
        return self.state != PLAIN or self._escaped or self._before == "$"

    def read(self, text: str) -> None:
        for position, character in enumerate(text):
            if self._escaped:
                self._escaped = False
            else:
                self._step(character, text[position + 1 : position + 3])
            self._before = character

    def word(self) -> None:
        """A quoted value stands here."""
        self._escaped, self._before = False, "x"

    def _step(self, character: str, following: str) -> None:
        if self.state == LOST:
            return
        if self.state == "#":
            self.state = PLAIN if character == "\n" else "#"
        elif self.state == "'":
            self.state = PLAIN if character == "'" else "'"
        elif character == "\\":
            self._escaped = True
        elif self.state == '"':
            if character == '"':
                self.state = PLAIN
            elif character == "`" or (character == "$" and following[:1] in ("(", "{")):
                self.state = LOST  # quotes may begin anew in there
        else:
            self._plain(character, following)
        if character == "\n" and self._here:
            self.state = LOST

    def _plain(self, character: str, following: str) -> None:
        if character == "`" or (character == "$" and (following == "((" or following[:1] in ("'", '"', "["))):
            self.state = LOST
        elif character in ("'", '"'):
            self.state = character
        elif character == "#" and self._before in " \t\n;&|()":
            self.state = "#"
        elif character == "<" and following[:1] == "<":
            self._here = True
        elif character == "(" and self._before == "=":
            self.state = LOST  # an array: after a mistake in one bash goes on with the next line, quoted or not


def harmless(text: str) -> bool:
    """Whether a shell reads ``text`` as itself wherever it stands."""
    return not text or shlex.quote(text) == text
