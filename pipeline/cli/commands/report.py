"""``pilotune report``: one file about a study, to send or to print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ....errors import UserError
from ..brief_docstrings import import_matplotlib
from ..options import StudyName, json_option, metric_option, storage_option
from ..output_file import check_writable, write_file
from ..results import read_named_study


@click.command("report")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", type=StudyName())
@storage_option
@click.option("--out", "-o", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", default="report.html",
              show_default=True, help="The HTML file to write.")  # fmt: skip
@metric_option
@json_option
def report_command(names: tuple[str, ...], storage: str | None, out: Path, metric: str | None, as_json: bool) -> None:
    """Write a report of one study, or of several with a comparison.

    \b
    pilotune report my-study
    pilotune report my-study other-study -o comparison.html

    It says what was asked, what came out, which trials are as good for all that is known, why trials failed, where and
    for how long they ran, what pruning saved, with which versions, and how to reproduce it; with all plots. The file
    needs no network, and can be printed. Needs pip install 'pilotune[report]'.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"a report is an HTML file; end {out.name!r} with .html")
    check_writable(None if as_json else out)
    from ...analysis.collector import no_collection

    with no_collection():
        _report(tuple(dict.fromkeys(names)), storage, out, metric, as_json)


def _report(names: Sequence[str], storage: str | None, out: Path, metric: str | None, as_json: bool) -> None:
    """Read the studies, and print or write the report."""
    from ...analysis.report import facts, page
    from ..stdout import echo_json

    found = facts([read_named_study(name, storage) for name in names], metric)
    if as_json:
        echo_json({"reports": [each.as_dict() for each in found]})
        return
    import_matplotlib()
    write_file(out, page(found))
    click.echo(f"wrote the report of {', '.join(each.name for each in found if each.name)} to {out}", err=True)
