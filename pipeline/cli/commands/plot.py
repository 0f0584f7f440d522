"""``pilotune plot``: pictures of a study."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ....errors import UserError
from ....grammar import count
from ..brief_docstrings import import_matplotlib
from ..options import json_option, metric_option, name_argument, parameter_option, storage_option
from ..output_file import check_writable, write_file
from ..plot_kinds import KINDS, TEXT
from ..results import read_named_study
from ..stdout import echo_json

if TYPE_CHECKING:
    from ...analysis import StudyData
    from ...analysis.plots import Figure

ENDINGS = ("html", "png", "svg", "pdf")
WIDTH = 100
"""Columns of a text plot that does not go to a terminal."""


@click.command("plot")
@name_argument()
@click.argument("kinds", nargs=-1, metavar="[KIND]...", type=click.Choice(KINDS))
@storage_option
@click.option("--out", "-o", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="A page (.html), or pictures (.png, .svg, .pdf).")  # fmt: skip
@metric_option
@parameter_option
@json_option
def plot_command(
    name: str,
    kinds: tuple[str, ...],
    storage: str | None,
    out: Path | None,
    metric: str | None,
    parameters: tuple[str, ...],
    as_json: bool,
) -> None:
    """Draw a study: a page or pictures with --out FILE, else text on the terminal.

    \b
    KIND is one or more of these; all that suit the study, if none is given:
    history      the value of each trial, and the best so far
    pareto       the Pareto front of several objectives
    curves       what trials reported, and the rungs at which they were pruned
    importance   how much each parameter mattered
    slice        the value over each parameter
    parallel     a line for each trial across all parameters
    contour      the value over pairs of parameters
    timeline     a row for each worker: waiting, running, pruned, lost
    utilization  how many workers there were, and how many were busy
    blocks       how long blocks waited in the queue, and how long they ran
    cost         the time and the node-hours that the trials took

    \b
    pilotune plot my-study history
    pilotune plot my-study -o plots.html
    pilotune plot my-study timeline utilization -o figure.pdf

    An HTML file has all plots on one page, which opens without a network. Of pictures each kind has its own file:
    figure-timeline.pdf, figure-utilization.pdf. Needs pip install 'pilotune[plots]'.
    """
    ending = "" if out is None else ending_of(out)
    if out is not None and ending not in ENDINGS:
        raise UserError(f"cannot tell a form from {out.name!r}; end it with {', '.join(f'.{e}' for e in ENDINGS)}")
    shown = kinds or (TEXT if out is None and not as_json else ())
    if out is None and not as_json and (unable := [kind for kind in kinds if kind not in TEXT]):
        raise UserError(
            f"{', '.join(unable)} cannot be drawn as text; give -o FILE.html or .png, or choose {', '.join(TEXT)}"
        )
    check_writable(out)
    from ...analysis.collector import no_collection
    from ...analysis.plots import needed

    with no_collection():
        data = read_named_study(name, storage, needed(shown, parameters))
        _plot(data, shown, out, metric, parameters, as_json, not kinds)


def _plot(
    data: StudyData,
    kinds: Sequence[str],
    out: Path | None,
    metric: str | None,
    parameters: Sequence[str],
    as_json: bool,
    skip: bool,
) -> None:
    """Make the figures, and print or write them. ``skip``: leave out kinds that do not suit the study."""
    from ...analysis.plots import make

    figures = make(data, kinds, metric, parameters, skip)
    if as_json:
        echo_json({"study": data.name, "plots": [figure_json(figure) for figure in figures]})
    elif out is None:
        show(figures)
    else:
        files = write(data, figures, out)
        click.echo(f"wrote {count(len(figures), 'plot')} of {data.name} to {', '.join(map(str, files))}", err=True)


def ending_of(file: Path) -> str:
    """The form that a file's name asks for."""
    return file.suffix.lower()[1:]


def figure_json(figure: Figure) -> dict[str, object]:
    """What a plot shows, for ``--json``; its numbers are in ``pilotune export --plot``."""
    return {"kind": figure.kind, "title": figure.title, "caption": figure.caption, "numbers": dict(figure.main)}


def show(figures: list[Figure]) -> None:
    """Draw on the terminal, in its width and with its colours if it is one."""
    from ...analysis.plots import text
    from ..stdout import terminal_width

    width = terminal_width() or WIDTH
    click.echo("\n\n".join(text(figure, width, sys.stdout.isatty()) for figure in figures))


def write(data: StudyData, figures: list[Figure], out: Path) -> list[Path]:
    """Write a page, or a picture for each figure; returns the files."""
    from ...analysis.plots import image, page

    ending = ending_of(out)
    if ending == "html":
        write_file(out, page(f"Study {data.name}", figures))
        return [out]
    import_matplotlib()
    one = len(figures) == 1
    files = [out if one else out.with_name(f"{out.stem}-{figure.kind}{out.suffix}") for figure in figures]
    for file, figure in zip(files, figures, strict=True):
        write_file(file, image(figure, ending))
    return files
