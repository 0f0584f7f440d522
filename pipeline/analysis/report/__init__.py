"""A report of one study or several: one HTML file that opens without a network and can be printed.

Example::

    from pilotune.pipeline.analysis import read_study
    from pilotune.pipeline.analysis.report import report

    Path("report.html").write_bytes(report([read_study("sqlite:///study.db", "digits")]))
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ....errors import UserError
from ..plots import Figure, image
from ..reading import StudyData
from .compare import comparison
from .parts import Section, StudyReport, Table, pairs
from .study_facts import study_report

RASTER = 75.0
"""Dots per inch of what is a picture inside a figure; more would make reports of large studies too large to send."""


def facts(found: Sequence[StudyData], metric: str | None = None) -> list[StudyReport]:
    """What a report says, without its form: the studies, and before them a comparison where there are several.

    Args:
        found: The studies.
        metric: The objective that the plots show; None: the first.

    Raises:
        UserError: A study has no such metric.
    """
    reports = [study_report(data, metric) for data in found]
    if len(found) == 1:
        return reports
    return [StudyReport("", [comparison(found)]), *reports]


def report(found: Sequence[StudyData], metric: str | None = None) -> bytes:
    """The report as an HTML file.

    Args:
        found: The studies; of several there is a comparison.
        metric: The objective that the plots show; None: the first.

    Raises:
        UserError: A study has no such metric, or a package is missing.
    """
    return page(facts(found, metric))


def page(reports: Sequence[StudyReport]) -> bytes:
    """The page of what :func:`facts` has found. Raises UserError where a package is missing."""
    try:
        import jinja2
    except ImportError:
        raise UserError("reports need jinja2, which is not installed: pip install 'pilotune[report]'") from None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = [each.name for each in reports if each.name]
    return environment.get_template("report.html").render(
        title=f"Report of {', '.join(names)}",
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        reports=reports,
        picture=picture,
        numbers=numbers,
    ).encode()  # fmt: skip


def picture(figure: Figure) -> str:
    """The figure as the address of an image that is in the address itself."""
    return "data:image/svg+xml;base64," + base64.b64encode(image(figure, "svg", bare=True, raster=RASTER)).decode()


def numbers(figure: Figure) -> Table:
    """The numbers that matter most of a figure, as a table."""
    return pairs(f"Numbers of: {figure.title}", list[tuple[str, Any]](figure.main), ("what", "value"))


__all__ = ["Section", "StudyReport", "Table", "facts", "page", "report"]
