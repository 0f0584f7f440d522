"""What came out: ``best``, ``trials``, ``export``, ``importance``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ....errors import PilotuneError, UserError
from ...analysis import EVALUATORS, FORMATS, PAUSED, STATES, strict
from ..formatting import count, cut, duration, echo_json, exact, number, pairs, table, terminal_width
from ..options import json_option, name_argument, storage_option
from ..resolve import find

if TYPE_CHECKING:
    from ...analysis import Row, StudyData

REASON_WIDTH = 160
"""Characters of a reason that a table shows; JSON and files have all of it."""


def read(name: str | None, storage: str | None) -> StudyData:
    from ...analysis import read_study

    found = find(name, storage)
    return read_study(found.storage, found.name)


@click.command("best")
@name_argument(required=False)
@storage_option
@json_option
def best_command(name: str | None, storage: str | None, as_json: bool) -> None:
    """Show the best trial of a study, or the Pareto front of several objectives.

    NAME is a study's name or its study file; it may be left out when you have run only one.
    """
    from ...analysis import best_trials

    data = read(name, storage)
    front = best_trials(data)
    if as_json:
        best = [row.as_dict() for row in front]
        echo_json({"study": data.name, "directions": data.directions, "metrics": data.metrics, "best": best})
    if not front:
        raise PilotuneError(f"study {data.name!r} has no complete trial yet, so there is no best one")
    if not as_json:
        click.echo(describe(data, front))


def describe(data: StudyData, front: Sequence[Row]) -> str:
    """The best trial with all its parameters, or the front as a table."""
    if len(front) > 1:
        return f"{len(front)} trials on the Pareto front\n{trials_table(data.metrics, front, terminal_width())}"
    row = front[0]
    lines = [("trial", str(row.number)), *((name, exact(value)) for name, value in row.values.items())]
    lines += [(f"  {name}", exact(value)) for name, value in row.params.items()]
    lines.append(("seconds", number(row.seconds)))
    if row.attempts > 1:
        lines.append(("attempts", str(row.attempts)))
    if row.directory:
        lines.append(("files", row.directory))
    return pairs(lines)


@click.command("trials")
@name_argument(required=False)
@storage_option
@click.option(
    "--state", "states", type=click.Choice([*STATES, PAUSED]), multiple=True, help="Only these; may be repeated."
)
@click.option(
    "--sort",
    default="number",
    show_default=True,
    metavar="KEY",
    help="value or a metric (best first), number, seconds, state, attempts, host or a parameter; -KEY the other way.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N after sorting.")
@json_option
def trials_command(
    name: str | None, storage: str | None, states: tuple[str, ...], sort: str, limit: int | None, as_json: bool
) -> None:
    """List the trials of a study, with the reason of those that failed.

    A pruned or paused trial is shown with the last value that it reported.
    """
    from ...analysis import rows

    data = read(name, storage)
    items = rows(data, states, sort, limit)
    if as_json:
        echo_json([row.as_dict() for row in items])
    elif items:
        click.echo(trials_table(data.metrics, items, terminal_width()))
    else:
        click.echo(f"no trials{' in state ' + ' or '.join(states) if states else ' yet'}", err=True)


def trials_table(metrics: Sequence[str], items: Sequence[Row], width: int | None) -> str:
    """One line a trial. Where parameters' columns do not fit into ``width`` they become one column at the end."""
    from ...analysis import columns

    names = columns(items)
    reasons = any(row.reason for row in items)
    left = ["trial", "state", *metrics]
    right = ["seconds", *(["attempts"] if any(row.attempts > 1 for row in items) else [])]

    def cells(row: Row) -> list[str]:
        state = row.state if row.rung is None else f"{row.state} at {row.rung}"
        return [str(row.number), state, *(number(row.values.get(metric)) for metric in metrics)]

    def more(row: Row) -> list[str]:
        return [duration(row.seconds), *([str(row.attempts)] if len(right) > 1 else [])]

    def why(row: Row) -> list[str]:
        return [cut(row.reason, REASON_WIDTH)] if reasons else []

    def value(row: Row, name: str) -> str:
        return number(row.params[name]) if name in row.params else ""

    flush = ("trial", *metrics, *right, *(n for n in names if any(isinstance(r.params.get(n), float) for r in items)))
    head = [*left, *names, *right]
    lines = [[*cells(row), *(value(row, name) for name in names), *more(row)] for row in items]
    plain = table(head, lines, right=flush)
    if width is not None and max(map(len, plain.splitlines())) > width:
        head = [*left, *right, *(["reason"] if reasons else []), "parameters"]
        compact = [" ".join(f"{name}={number(value)}" for name, value in row.params.items()) for row in items]
        lines = [[*cells(row), *more(row), *why(row), text] for row, text in zip(items, compact, strict=True)]
        return table(head, lines, right=flush, width=width)
    if reasons:
        head, lines = [*head, "reason"], [[*line, *why(row)] for line, row in zip(lines, items, strict=True)]
    return table(head, lines, right=flush, width=width)


@click.command("export")
@name_argument(required=False)
@storage_option
@click.option("--format", "form", type=click.Choice([*FORMATS, "yaml"]), help="Default: from FILE's name, else csv.")
@click.option("--out", "-o", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Default: stdout.")
@click.option("--best", is_flag=True, help="Only the best parameters, as YAML (default) or JSON, to train with.")
@click.option("--trial", "trial", type=click.IntRange(min=0), metavar="N", help="Like --best, of trial N.")
def export_command(
    name: str | None, storage: str | None, form: str | None, out: Path | None, best: bool, trial: int | None
) -> None:
    """Write all trials as CSV, JSON or Parquet, or the best parameters as a file to train with.

    \b
    pilotune export my-study -o trials.parquet
    pilotune export my-study --best -o best.yaml
    """
    import io

    from ...analysis import export, format_of

    buffer = io.BytesIO()
    if best or trial is not None:
        kind = format_of(out, form, ("yaml", "json"))
        if kind not in ("yaml", "json"):
            raise UserError(f"best parameters are written as yaml or json, not as {kind}")
        data = read(name, storage)
        buffer.write(best_file(data, trial, kind).encode())
        done = f"parameters of {'trial ' + str(trial) if trial is not None else 'the best trial'}"
    else:
        kind = format_of(out, form)
        if kind not in FORMATS:
            raise UserError(f"trials are written as {', '.join(FORMATS)}, not as {kind}; or add --best")
        if kind == "parquet" and out is None and sys.stdout.isatty():
            raise UserError("Parquet is not for a terminal; give --out FILE")
        data = read(name, storage)
        done = count(export(data, kind, buffer), "trial")
    if out is None:
        click.echo(buffer.getvalue(), nl=False)
    else:
        out.write_bytes(buffer.getvalue())
        click.echo(f"wrote {done} of {data.name} to {out}", err=True)


def best_file(data: StudyData, trial: int | None, kind: str) -> str:
    """Parameters and constants of the best trial, or of ``trial``, as YAML or JSON text."""
    import json

    from ...analysis import best_params

    params = strict(best_params(data, trial))
    if kind == "json":
        return json.dumps(params, indent=2) + "\n"
    import yaml

    return str(yaml.safe_dump(params, sort_keys=False, allow_unicode=True))


@click.command("importance")
@name_argument(required=False)
@storage_option
@click.option("--evaluator", type=click.Choice(EVALUATORS), default="ped-anova", show_default=True)
@click.option("--metric", metavar="NAME", help="For this objective of several.")
@json_option
def importance_command(
    name: str | None, storage: str | None, evaluator: str, metric: str | None, as_json: bool
) -> None:
    """Show which parameters mattered for the value, as shares of 1.

    fanova and mean-decrease-impurity need scikit-learn; ped-anova does not.
    """
    from ...analysis import importances

    data = read(name, storage)
    shares = importances(data, evaluator, metric)
    if as_json:
        echo_json({"study": data.name, "evaluator": evaluator, "metric": metric, "importance": shares})
        return
    lines = [[param, f"{share:.3f}", "#" * round(30 * share)] for param, share in shares.items()]
    click.echo(table(["parameter", "importance", ""], lines, right=["importance"]))
