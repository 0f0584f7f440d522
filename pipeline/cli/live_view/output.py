"""The screen with the output of a trial, which follows what the trial writes."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer, RichLog, Static

from ...studies.campaign_status import POLL_INTERVAL
from ...studies.formatting import cut
from ...studies.harmless import harmless
from ...trial.files import TrialFiles
from .reports import read_end

SHOWN = 65_536
"""Bytes at the end of a file that are shown."""


@dataclass(frozen=True)
class Output:
    """The end of an attempt's output.

    Attributes:
        path: The file.
        attempt: The attempt.
        lines: Its last lines, harmless for a terminal.
        problem: Why there are none; empty where there are some.
    """

    path: Path
    attempt: int
    lines: tuple[str, ...] = ()
    problem: str = ""


def read_output(files: TrialFiles, stream: str) -> Output:
    """The end of what the newest attempt of a trial has written.

    Args:
        files: The trial's.
        stream: ``stdout`` or ``stderr``.
    """
    attempt = newest_attempt(files)
    path = files.stderr(attempt) if stream == "stderr" else files.stdout(attempt)
    try:
        data = read_end(str(path), SHOWN)
    except FileNotFoundError:
        return Output(path, attempt, problem=f"attempt {attempt} has no {stream} yet")
    except OSError as error:
        return Output(path, attempt, problem=f"cannot be read: {error.strerror or error}")
    if not data:
        return Output(path, attempt, problem="nothing yet")
    lines = harmless(data.decode(errors="replace")).removesuffix("\n").split("\n")
    begins_inside = len(data) == SHOWN  # of a line, perhaps
    return Output(path, attempt, tuple(lines[begins_inside:]))


def newest_attempt(files: TrialFiles) -> int:
    """The trial's newest attempt that has begun; 1 where that is not known."""
    from ...trial.files import WORK

    try:
        return max(files.attempts_with(WORK), default=1)
    except OSError:
        return 1


class OutputScreen(Screen[None]):
    """Shows the end of a trial's stdout or stderr.

    It follows the file while it is scrolled to the end. The file is read in a thread, as a file system may hang.

    Args:
        number: The trial's number.
        files: The trial's files.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "show('stdout')", "stdout"),
        Binding("e", "show('stderr')", "stderr"),
        Binding("escape", "dismiss", "Back"),
        Binding("q,enter,ctrl+c", "dismiss", show=False),
    ]

    def __init__(self, number: int, files: TrialFiles):
        super().__init__()
        self._number, self._files = number, files
        self._stream = "stdout"
        self._shown: Output | None = None
        self._over = threading.Event()
        self._changed = threading.Event()

    def compose(self) -> ComposeResult:
        yield Static(id="title")
        yield RichLog(id="output", wrap=True, auto_scroll=False, max_lines=5000)
        yield Footer()

    def on_mount(self) -> None:
        threading.Thread(target=self._read, name="output", daemon=True).start()

    def on_unmount(self) -> None:
        self._over.set()
        self._changed.set()

    def action_show(self, stream: str) -> None:
        """Show the other stream."""
        self._stream = stream
        self._changed.set()

    def _read(self) -> None:
        while not self._over.is_set():
            output = read_output(self._files, self._stream)
            if self._over.is_set():
                return
            self.app.call_later(self._show, output)
            self._changed.wait(POLL_INTERVAL)
            self._changed.clear()

    def _show(self, output: Output) -> None:
        if output == self._shown or not self.is_attached:
            return
        log = self.query_one(RichLog)
        same_file = self._shown is not None and self._shown.path == output.path
        follow = not same_file or log.is_vertical_scroll_end
        place = log.scroll_y
        self._shown = output
        title = f"trial {self._number}, attempt {output.attempt}: {harmless(str(output.path))}"
        self.query_one("#title", Static).update(Text(cut(title, self.size.width), "bold", no_wrap=True))
        log.clear()
        for line in output.lines or (f"({output.problem})",):
            log.write(Text(line), scroll_end=False)
        if follow:
            log.scroll_end(animate=False)
        else:
            log.scroll_to(y=place, animate=False)

    def on_resize(self) -> None:
        """Wrap the lines anew."""
        shown, self._shown = self._shown, None
        if shown is not None:
            self.call_after_refresh(self._show, shown)
