"""Finds the places in a shell command where a quoted value would still be interpreted by the shell.

A value in single quotes is one word where a word may begin or continue. Inside other quotes, in a comment, a here
document or arithmetic, the quotes around it are ordinary characters, and a ``$(...)`` in the value would be executed.
"""

from __future__ import annotations

import shlex

PLAIN, LOST = "", "lost"
"""States of :class:`Shell`: no quote is open; the rest of the text is beyond the rules known here."""


class Shell:
    """Tracks the quoting state of a command for ``/bin/sh``, read piece by piece.

    Follows the quoting rules of POSIX (https://pubs.opengroup.org/onlinepubs/9699919799/, Shell Command Language, 2.2),
    and bash's where those are stricter. Where it cannot be sure, every later place counts as exposed.

    Attributes:
        state: The open quote (``'`` or ``"``), ``#`` in a comment, PLAIN outside of both, or LOST.

    >>> shell = Shell()
    >>> shell.read('echo "a ')
    >>> shell.exposed
    True
    """

    def __init__(self) -> None:
        self.state = PLAIN
        self._before = "\n"
        self._escaped = self._here = False

    @property
    def exposed(self) -> bool:
        """Whether the shell would interpret a value that stands next, even in single quotes."""
        return self.state != PLAIN or self._escaped or self._before == "$"

    def read(self, text: str) -> None:
        """Continue with a piece of the command's own text."""
        for position, character in enumerate(text):
            if self._escaped:
                self._escaped = False
            else:
                self._step(character, text[position + 1 : position + 3])
            self._before = character

    def word(self) -> None:
        """Continue with a quoted value."""
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
                self.state = LOST  # a substitution, inside which quoting starts again
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
            self.state = LOST  # an array: after a syntax error in one, bash continues with the next line, quoted or not


def harmless(text: str) -> bool:
    """Whether a shell reads ``text`` as plain text wherever it stands."""
    return not text or shlex.quote(text) == text
