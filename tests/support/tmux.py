"""A terminal that a test types into and looks at: tmux, with a server of its own."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from .local import until


class Terminal:
    """One window of tmux in which a program runs.

    Args:
        folder: For tmux's socket, and the program's working directory.
        environment: The program's variables.
        columns, lines: The window's size.
        term: The program's ``$TERM``.
    """

    def __init__(
        self, folder: Path, environment: Mapping[str, str], columns: int = 80, lines: int = 24, term: str = "screen"
    ):
        self._socket, self._folder = folder / "tmux", folder
        self._environment = {**environment, "TERM": "xterm-256color"}
        self._size, self._term = (columns, lines), term

    def _call(self, *words: object) -> str:
        command = ["tmux", "-S", self._socket, "-f", "/dev/null", *words]
        done = subprocess.run([str(word) for word in command], env=self._environment, capture_output=True, text=True)
        return done.stdout

    def start(self, words: Sequence[object]) -> None:
        """Run a program, after which the window stays; ``left`` says with which code it ended."""
        program = " ".join(shlex.quote(str(word)) for word in words)
        script = f"cd {shlex.quote(str(self._folder))}; TERM={self._term} {program}; echo left $?; exec sleep 600"
        columns, lines = self._size
        self._call("new-session", "-d", "-x", columns, "-y", lines, "sh", "-c", script)
        self._call("set-option", "-g", "status", "off")
        self._call("resize-window", "-x", columns, "-y", lines)

    def keys(self, *keys: str) -> None:
        """Press these keys; names such as ``Enter`` and ``Escape`` as tmux has them."""
        self._call("send-keys", *keys)

    def resize(self, columns: int, lines: int) -> None:
        self._call("resize-window", "-x", columns, "-y", lines)

    def text(self, *options: str) -> str:
        """What is to be seen. With ``-e`` also its colours."""
        return self._call("capture-pane", "-p", *options)

    def until(self, condition: Callable[[str], bool], what: str) -> str:
        """Wait until the text fulfils a condition; return it."""
        seen = [""]

        def found() -> bool:
            seen[0] = self.text()
            return condition(seen[0])

        try:
            until(found, what)
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{seen[0]}") from None
        return seen[0]

    def close(self) -> None:
        """End tmux and what runs in it."""
        self._call("kill-server")


@contextmanager
def terminal(folder: Path, environment: Mapping[str, str], **options: int | str) -> Iterator[Terminal]:
    """A terminal that is closed afterwards. Without tmux the test is skipped, but never in CI."""
    if shutil.which("tmux") is None:
        reason = "tmux is not installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    opened = Terminal(folder, environment, **options)  # type: ignore[arg-type]
    try:
        yield opened
    finally:
        opened.close()
