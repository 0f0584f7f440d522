"""A table whose rows have keys: rows that stay are changed in place, so that the cursor stays on its row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text
from textual.widgets import DataTable


class KeyedTable(DataTable[Text]):
    """A table that shows the rows it is given, each with its key, and keeps the cursor on the same key.

    Args:
        left: Names of the columns that are aligned on the left.
    """

    def __init__(self, *, left: Sequence[str] = (), **options: object):
        super().__init__(cursor_type="row", zebra_stripes=False, **options)  # type: ignore[arg-type]
        self._left = set(left)
        self._head: list[str] = []
        self._shown: dict[str, list[str]] = {}

    @property
    def selected(self) -> str | None:
        """The key of the row under the cursor; None where there are no rows."""
        keys = list(self._shown)
        return keys[self.cursor_row] if 0 <= self.cursor_row < len(keys) else None

    def show(self, head: Sequence[str], rows: Mapping[str, Sequence[str]]) -> None:
        """Show these columns and rows, in the order of ``rows`` where rows are new or columns have changed."""
        selected = self.selected
        kept = [key for key in self._shown if key in rows]
        wanted = {key: list(row) for key, row in rows.items()}
        if list(head) != self._head or list(rows)[: len(kept)] != kept:
            self._fill(list(head), wanted)
        else:
            self._change(kept, wanted)
        if selected is not None and selected in self._shown:
            self.move_cursor(row=list(self._shown).index(selected), animate=False, scroll=False)

    def _fill(self, head: list[str], rows: dict[str, list[str]]) -> None:
        """Build the whole table."""
        place = self.scroll_offset
        self.clear(columns=True)
        for name in head:
            self.add_column(Text(name, justify="left" if name in self._left else "right"), key=name)
        for key, row in rows.items():
            self.add_row(*self._cells(head, row), key=key)
        self._head, self._shown = head, rows
        self.scroll_to(place.x, place.y, animate=False)

    def _change(self, kept: Sequence[str], rows: dict[str, list[str]]) -> None:
        """Remove, change and append rows; the columns stay."""
        for key in self._shown.keys() - rows.keys():
            self.remove_row(key)
        for key in kept:
            cells = zip(self._head, self._shown[key], rows[key], strict=True)
            for name, before, after in cells:
                if before != after:
                    (cell,) = self._cells([name], [after])
                    self.update_cell(key, name, cell, update_width=True)
        for key, row in rows.items():
            if key not in self._shown:
                self.add_row(*self._cells(self._head, row), key=key)
        self._shown = rows

    def _cells(self, head: Sequence[str], row: Sequence[str]) -> list[Text]:
        pairs = zip(head, row, strict=True)
        return [Text(cell, justify="left" if name in self._left else "right", no_wrap=True) for name, cell in pairs]
