"""The screens above the view that ask and explain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

QUESTIONS: Mapping[str, tuple[str, str]] = {
    "finish": ("Stop", "No further trials; those that workers have finish. The campaign can be resumed."),
    "yield": (
        "Yield",
        "Running trials are asked to save a checkpoint and end; `pilotune resume` continues from it. Those that do not "
        "end in time are stopped.",
    ),
    "now": ("Stop now", "Running trials end at once; `pilotune resume` starts them again."),
}
"""What a key asks for -> the title of the question, and what follows."""

HELP = """\
s        stop: no further trials, running ones finish
y        yield: running trials save a checkpoint and end
n        now: running trials end at once
         Each asks first. It is what pilotune stop, stop --yield and stop --now do.
up down  choose a trial; page up, page down, home and end, too
enter    show the output of the chosen trial, and follow it
tab      go to the next table, or to the messages, to scroll there
b        hide the blocks, or show them
q        leave; the campaign keeps running

A spark line shows the last reports of a trial between the lowest and the highest of them.
Enter or escape closes this.
"""


class Question(ModalScreen[bool]):
    """Asks whether to end the campaign; the result is whether Enter was pressed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "dismiss(True)", "Yes"),
        Binding("escape,q,ctrl+c", "dismiss(False)", "No"),
    ]

    def __init__(self, study: str, how: str):
        super().__init__()
        self._study, self._how = study, how

    def compose(self) -> ComposeResult:
        title, sentence = QUESTIONS[self._how]
        text = Text.assemble((f"{title} {self._study}?\n\n", "bold"), f"{sentence}\n\nEnter: yes    Escape: no")
        yield VerticalScroll(Static(text), classes="dialog")


class Help(ModalScreen[None]):
    """Says what the keys do."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q,question_mark,ctrl+c", "dismiss", "Close")]

    def compose(self) -> ComposeResult:
        yield VerticalScroll(Static(Text(HELP)), classes="dialog")
