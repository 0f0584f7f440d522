"""``pilotune export``: write a study's trials, or its best parameters, to a file."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ....errors import UserError
from ....grammar import count
from ...analysis import FORMATS, strict
from ..options import metric_option, name_argument, parameter_option, storage_option
from ..output_file import check_writable, write_file
from ..plot_kinds import KINDS
from ..results import read_named_study

if TYPE_CHECKING:
    from ...analysis import StudyData


@click.command("export")
@name_argument(required=False)
@storage_option
@click.option("--format", "form", type=click.Choice([*FORMATS, "yaml"]), help="Default: from FILE's name, else csv.")
@click.option("--out", "-o", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Default: stdout.")
@click.option("--best", is_flag=True, help="Only the best trial's parameters, as YAML (default) or JSON.")
@click.option("--reports", is_flag=True, help="All values that trials reported, one line for each trial and step.")
@click.option(
    "--schedule", is_flag=True, help="The parameters of each stage that led to the best trial (pbt, pb2), as YAML."
)
@click.option("--plot", type=click.Choice(KINDS), metavar="KIND", help="The numbers of this kind of pilotune plot.")
@metric_option
@parameter_option
@click.option(
    "--trial", "trial", type=click.IntRange(min=0), metavar="N", help="Like --best or --schedule, but of trial N."
)
def export_command(
    name: str | None,
    storage: str | None,
    form: str | None,
    out: Path | None,
    best: bool,
    reports: bool,
    schedule: bool,
    plot: str | None,
    metric: str | None,
    parameters: tuple[str, ...],
    trial: int | None,
) -> None:
    """Write all trials as CSV, JSON or Parquet, or the best parameters as a file to train with.

    \b
    pilotune export my-study -o trials.parquet
    pilotune export my-study --reports -o reports.csv
    pilotune export my-study --best -o best.yaml
    pilotune export my-study --schedule -o schedule.yaml
    pilotune export my-study --plot timeline -o timeline.csv
    """
    import io

    from ...analysis import export, export_reports, format_of

    buffer, note = io.BytesIO(), ""
    check_writable(out)
    if plot and (best or reports or schedule or trial is not None):
        raise UserError("--plot writes the numbers of a plot: give neither --best, --reports, --schedule nor --trial")
    if not plot and (metric or parameters):
        raise UserError(f"--{'metric' if metric else 'param'} belongs to --plot KIND, which is missing")
    if reports and (best or trial is not None):
        raise UserError("--reports writes what trials reported, --best and --trial write parameters: give one of them")
    if schedule and (best or reports):
        raise UserError(f"--schedule and {'--best' if best else '--reports'} write different things: give one of them")
    if best or schedule or trial is not None:
        kind = format_of(out, form, ("yaml", "json"))
        what = "a schedule is" if schedule else "best parameters are"
        if kind not in ("yaml", "json"):
            raise UserError(f"{what} written as yaml or json, not as {kind}")
        data = read_named_study(name, storage)
        buffer.write((schedule_file if schedule else params_file)(data, trial, kind).encode())
        note = "" if schedule else copied_note(data, trial)
        of = "trial " + str(trial) if trial is not None else "the best trial"
        done = f"{'schedule' if schedule else 'parameters'} of {of}"
    else:
        kind = format_of(out, form)
        if kind not in FORMATS:
            what = "numbers of a plot" if plot else "reports" if reports else "trials"
            raise UserError(f"{what} are written as {', '.join(FORMATS)}, not as {kind}; or add --best")
        if kind == "parquet" and out is None and sys.stdout.isatty():
            raise UserError("Parquet cannot be shown on a terminal; give --out FILE")
        data = read_named_study(name, storage, plot_needs(plot, parameters) if plot else None)
        if plot:
            done = f"the numbers of the plot {plot}"
            buffer.write(plot_file(data, plot, kind, metric, parameters))
        elif reports:
            done = count(export_reports(data, kind, buffer), "report")
        else:
            done = count(export(data, kind, buffer), "trial")
    click.echo(note, nl=False, err=True)
    if out is None:
        click.echo(buffer.getvalue(), nl=False)
    else:
        write_file(out, buffer.getvalue())
        click.echo(f"wrote {done} of {data.name} to {out}", err=True)


def plot_needs(plot: str, parameters: tuple[str, ...]) -> Collection[str] | None:
    """The parts of the trials that the numbers of a plot are made of."""
    from ...analysis.plots import needed

    return needed([plot], parameters)


def plot_file(data: StudyData, plot: str, kind: str, metric: str | None, parameters: tuple[str, ...]) -> bytes:
    """The numbers of a plot as CSV, JSON or Parquet."""
    from ...analysis import table_bytes
    from ...analysis.plots import make

    return table_bytes(make(data, [plot], metric, parameters)[0].table, kind)


def params_file(data: StudyData, trial: int | None, kind: str) -> str:
    """Parameters and constants of the best trial, or of ``trial``, as YAML or JSON text."""
    from ...analysis import best_params

    return plain(best_params(data, trial), kind)


def copied_note(data: StudyData, trial: int | None) -> str:
    """A note, where the parameters alone do not lead to the best trial, or to ``trial``: it is a copy of another."""
    from ...analysis import best_trials, row_of

    chosen = None if trial is None else data.trial(trial)
    row = best_trials(data)[0] if chosen is None else row_of(chosen, data.metrics)
    if row.start_step is None:
        return ""
    return (
        f"note: trial {row.number} started from the checkpoint of trial {row.parent} after step {row.start_step}, so "
        "these parameters alone do not lead to it; --schedule writes all stages\n"
    )


def schedule_file(data: StudyData, trial: int | None, kind: str) -> str:
    """The stages that led to the best trial, or to ``trial``, as YAML or JSON text."""
    from ...analysis import best_params, best_trials, schedule_of

    if trial is None:
        best_params(data)  # says it where there is no best trial, or there are several
        trial = best_trials(data)[0].number
    return plain({"schedule": [stage.as_dict() for stage in schedule_of(data, trial)]}, kind)


def plain(values: Any, kind: str) -> str:
    """Plain data as YAML or JSON text."""
    import json

    from ....yamlfile import dump_plain

    return json.dumps(strict(values), indent=2) + "\n" if kind == "json" else dump_plain(strict(values))
