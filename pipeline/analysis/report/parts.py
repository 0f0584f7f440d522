"""What a report is made of, as plain data: sections with sentences, tables, figures and text of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..plots import Figure


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows.

    Attributes:
        caption: What it shows.
        head: The columns' names.
        rows: The cells, as text.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """One part of a study's report.

    Attributes:
        key: Its id in the page, after the study's.
        title: Its heading.
        text: Sentences, a paragraph each.
        tables: Tables below them.
        figures: Figures below these.
        code: Text of a file, or commands; empty if there is none.
    """

    key: str
    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    code: str = ""


@dataclass(frozen=True)
class StudyReport:
    """All that a report says of one study."""

    name: str
    sections: Sequence[Section] = field(default_factory=tuple)

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON: of figures only what they show, in a sentence and the numbers that matter most."""
        return {"study": self.name, "sections": [_plain(section) for section in self.sections]}


def _plain(section: Section) -> dict[str, Any]:
    figures = [
        {"kind": each.kind, "title": each.title, "caption": each.caption, "numbers": dict(each.main)}
        for each in section.figures
    ]
    return {
        "key": section.key,
        "title": section.title,
        "text": list(section.text),
        "tables": [asdict(table) for table in section.tables],
        "figures": figures,
        "code": section.code,
    }


def pairs(caption: str, rows: Sequence[tuple[str, Any]], head: tuple[str, str] = ("", "value")) -> Table:
    """A table of names and values."""
    return Table(caption, head, [(name, shown(value)) for name, value in rows])


def shown(value: Any) -> str:
    """A value as a cell: six significant digits of floats, separators in large whole numbers.

    >>> shown(0.123456789), shown(12000), shown(None), shown("adam"), shown(True)
    ('0.123457', '12,000', 'null', 'adam', 'True')
    """
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if type(value) is int else str(value)
