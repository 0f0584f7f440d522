"""Shows the progress of a campaign: in a notebook one line that is updated in place, elsewhere as commands do."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..driver.status import Status


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, which shows what IPython displays.

    >>> in_notebook()
    False
    """
    ipython = sys.modules.get("IPython")  # a kernel has imported it
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


def import_optuna() -> None:
    """Import Optuna, whose tqdm would warn in a notebook without widgets, which Pilotune does not use."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        import optuna  # noqa: F401


def progress_display(*, quiet: bool) -> AbstractContextManager[Callable[[Status], None]]:
    """What shows each status that it is called with; nothing if ``quiet``."""
    from ..studies.progress import Progress

    return Progress(quiet=quiet) if quiet or not in_notebook() else NotebookProgress()


class NotebookProgress:
    """Shows a campaign in the output of a notebook's cell: one line that changes, and what is said once below it."""

    def __init__(self) -> None:
        self._line: Any = None
        self._text = ""
        self._said: set[str] = set()

    def __enter__(self) -> NotebookProgress:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __call__(self, status: Status) -> None:
        from ..studies.failures import failure_lines
        from ..studies.progress import status_line

        self._show(status_line(status))
        if status.first_failure is not None:
            self._say("\n".join(failure_lines(status.study, status.first_failure, status.host)))
        for note in status.notes:
            self._say(f"note: {note}")

    def _show(self, text: str) -> None:
        from IPython.display import display

        if text == self._text:
            return
        self._text, content = text, {"text/plain": text}
        if self._line is None:
            self._line = display(content, raw=True, display_id=True)
        else:
            self._line.update(content, raw=True)

    def _say(self, text: str) -> None:
        """Print a text, once."""
        if text not in self._said:
            self._said.add(text)
            print(text)
