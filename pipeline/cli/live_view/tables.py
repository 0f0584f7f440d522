"""A table whose rows have keys, drawn line by line: the cursor stays on its row, whatever changes around it.

Textual's own DataTable renders each cell by itself, which for fifty rows that change every second takes a quarter of a
core: too much for a login node.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

PLAIN, HEAD, CHOSEN = Style(), Style(bold=True), Style(reverse=True)


class KeyedTable(ScrollView, can_focus=True):
    """A table of texts with one chosen row.

    Args:
        left: Names of the columns that are aligned on the left.
        id: The widget's id.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "move(-1_000_000)", show=False),
        Binding("end", "move(1_000_000)", show=False),
    ]

    class Chosen(Message):
        """Enter was pressed on a row."""

    def __init__(self, *, left: Sequence[str] = (), id: str | None = None):
        super().__init__(id=id)
        self._left = set(left)
        self._keys: list[str] = []
        self._head = ""
        self._lines: list[str] = []
        self._widths: list[int] = []
        self._chosen = 0

    @property
    def selected(self) -> str | None:
        """The key of the chosen row; None where there are no rows."""
        return self._keys[self._chosen] if self._chosen < len(self._keys) else None

    def show(self, head: Sequence[str], rows: Mapping[str, Sequence[str]]) -> None:
        """Show these columns and rows. The chosen row stays chosen; if it is gone, the one in its place is."""
        selected = self.selected
        needed = widths(head, rows.values())
        if len(needed) == len(self._widths):  # columns become no narrower, so that they do not jump
            needed = [max(pair) for pair in zip(needed, self._widths, strict=True)]
        self._widths, self._keys = needed, list(rows)
        self._head = self._line(head, head)
        self._lines = [self._line(head, row) for row in rows.values()]
        if selected is not None and selected in rows:
            self._chosen = self._keys.index(selected)
        self._chosen = max(0, min(self._chosen, len(self._keys) - 1))
        size = Size(cell_len(self._head), len(self._lines) + 1)
        if size != self.virtual_size:
            self.virtual_size = size
        self.refresh()

    def _line(self, head: Sequence[str], row: Sequence[str]) -> str:
        cells = (
            set_cell_size(cell, width) if name in self._left else set_cell_size("", width - cell_len(cell)) + cell
            for name, cell, width in zip(head, row, self._widths, strict=True)
        )
        return f" {'  '.join(cells)} "

    def render_line(self, y: int) -> Strip:
        """The names of the columns stay at the top; the rows scroll below them."""
        place = y - 1 + self.scroll_offset.y
        if y == 0:
            text, style = self._head, HEAD
        elif place < len(self._lines):
            text, style = self._lines[place], CHOSEN if place == self._chosen and self.has_focus else PLAIN
        else:
            text, style = "", PLAIN
        strip = Strip([Segment(text, style)], cell_len(text))
        return strip.crop_extend(self.scroll_offset.x, self.scroll_offset.x + self.size.width, style)

    def on_resize(self) -> None:
        self._widths = []  # another width may ask for shorter cells

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def action_move(self, rows: int) -> None:
        """Choose a row further down or up, and scroll to it."""
        self._chosen = max(0, min(self._chosen + rows, len(self._keys) - 1))
        visible = max(1, self.size.height - 1)
        top = min(max(self.scroll_offset.y, self._chosen - visible + 1), self._chosen)
        self.scroll_to(y=top, animate=False)
        self.refresh()

    def action_page(self, pages: int) -> None:
        """Choose the row a page further down or up."""
        self.action_move(pages * max(1, self.size.height - 2))

    def action_choose(self) -> None:
        """Tell that Enter was pressed on the chosen row."""
        if self._keys:
            self.post_message(self.Chosen())


def widths(head: Sequence[str], rows: Collection[Sequence[str]]) -> list[int]:
    """The width of each column: that of its longest cell.

    >>> widths(["trial", "host"], [["7", "login1"], ["8", "n2"]])
    [5, 6]
    """
    return [max(cell_len(name), *(cell_len(row[i]) for row in rows), 0) for i, name in enumerate(head)]
