"""``pilotune export``: write a study's trials, or its best parameters, to a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ....errors import UserError
from ...analysis import FORMATS, strict
from ..formatting import count
from ..options import name_argument, storage_option
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
@click.option("--trial", "trial", type=click.IntRange(min=0), metavar="N", help="Like --best, but those of trial N.")
def export_command(
    name: str | None,
    storage: str | None,
    form: str | None,
    out: Path | None,
    best: bool,
    reports: bool,
    trial: int | None,
) -> None:
    """Write all trials as CSV, JSON or Parquet, or the best parameters as a file to train with.

    \b
    pilotune export my-study -o trials.parquet
    pilotune export my-study --reports -o reports.csv
    pilotune export my-study --best -o best.yaml
    """
    import io

    from ...analysis import export, export_reports, format_of

    buffer = io.BytesIO()
    if reports and (best or trial is not None):
        raise UserError("--reports writes what trials reported, --best and --trial write parameters: give one of them")
    if best or trial is not None:
        kind = format_of(out, form, ("yaml", "json"))
        if kind not in ("yaml", "json"):
            raise UserError(f"best parameters are written as yaml or json, not as {kind}")
        data = read_named_study(name, storage)
        buffer.write(params_file(data, trial, kind).encode())
        done = f"parameters of {'trial ' + str(trial) if trial is not None else 'the best trial'}"
    else:
        kind = format_of(out, form)
        if kind not in FORMATS:
            what = "reports" if reports else "trials"
            raise UserError(f"{what} are written as {', '.join(FORMATS)}, not as {kind}; or add --best")
        if kind == "parquet" and out is None and sys.stdout.isatty():
            raise UserError("Parquet cannot be shown on a terminal; give --out FILE")
        data = read_named_study(name, storage)
        done = (
            count(export_reports(data, kind, buffer), "report")
            if reports
            else count(export(data, kind, buffer), "trial")
        )
    if out is None:
        click.echo(buffer.getvalue(), nl=False)
    else:
        out.write_bytes(buffer.getvalue())
        click.echo(f"wrote {done} of {data.name} to {out}", err=True)


def params_file(data: StudyData, trial: int | None, kind: str) -> str:
    """Parameters and constants of the best trial, or of ``trial``, as YAML or JSON text."""
    import json

    from ...analysis import best_params

    params = strict(best_params(data, trial))
    if kind == "json":
        return json.dumps(params, indent=2) + "\n"
    from ....yamlfile import dump_plain

    return dump_plain(params)
