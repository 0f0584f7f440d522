"""``pilotune build``: the network of a trial as a PyTorch program, or as a picture."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ....errors import UserError
from ...studies.resolve import resolve_study
from ..options import name_argument, storage_option
from ..output_file import check_writable, write_file

if TYPE_CHECKING:
    from ...analysis import StudyData
    from ...architecture.network import Network

PICTURE = ".svg"
"""End of the name of a file that is a picture."""


@click.command("build")
@name_argument(required=False)
@storage_option
@click.option(
    "--trial", "trial", type=click.IntRange(min=0), metavar="N", help="This trial's. Default: the best one's."
)
@click.option("--graph", metavar="NAME", help="Of this graph. Default: the only one of the study's space.")
@click.option(
    "--out", "-o", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Default: stdout. A picture where the name ends in .svg.",
)  # fmt: skip
def build_command(
    name: str | None, storage: str | None, trial: int | None, graph: str | None, out: Path | None
) -> None:
    """Write the network of a trial as a PyTorch program that needs nothing of Pilotune, or draw it.

    NAME is a study's name or its study file; it may be left out when you have run only one. The program has the class
    Net, which loads the weights that the trial's network has saved.

    \b
    pilotune build my-study > net.py
    pilotune build my-study --trial 17 -o net.py
    pilotune build my-study -o net.svg
    """
    from ...analysis import best_params, read_study
    from ...architecture.drawing import drawing
    from ...architecture.source import source

    check_writable(out)
    study = resolve_study(name, storage)
    data = read_study(study.storage, study.name)
    chosen = _graph(data, graph)
    params = best_params(data, trial)
    if study.study_file is not None:
        sys.path.insert(0, str(study.study_file.parent))  # where layers of the user's own are
    network = _network(data, params, chosen)
    number = f"trial {trial}" if trial is not None else "the best trial"
    title = f"The network of {number} of the study {data.name}."
    if out is not None and out.suffix == PICTURE:
        content, what = drawing(network, title), "a picture"
    else:
        content, what = source(network, title), "a program"
    if out is None:
        click.echo(content, nl=False)
    else:
        write_file(out, content.encode())
        click.echo(f"wrote {what} of the network of {number} to {out}", err=True)


def _graph(data: StudyData, name: str | None) -> str:
    """The graph that is meant. Raises UserError."""
    graphs = list(data.graphs)
    if not graphs:
        raise UserError(f"the space of study {data.name!r} has no graph, so its trials have no network to build")
    if name is None and len(graphs) > 1:
        raise UserError(
            f"the space of study {data.name!r} has the graphs {', '.join(graphs)}; choose with --graph NAME"
        )
    if name is not None and name not in graphs:
        raise UserError(f"the space of study {data.name!r} has no graph {name!r}; it has {', '.join(graphs)}")
    return name or graphs[0]


def _network(data: StudyData, params: dict[str, Any], name: str) -> Network:
    """The network, measured with PyTorch only where it has layers of the user's own."""
    from ...architecture.build import network_of
    from ...architecture.graph import Graph
    from ...architecture.network import NetworkError, network

    try:
        found = network(Graph.from_data(data.graphs[name]), params, name)
    except (NetworkError, ValueError) as error:
        raise UserError(f"study {data.name!r}: {error}") from None
    return found if found.shape is not None and found.parameters is not None else network_of(params, name)
