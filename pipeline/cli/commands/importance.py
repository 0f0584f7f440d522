"""``pilotune importance``: which parameters mattered."""

from __future__ import annotations

import click

from ...analysis import EVALUATORS
from ..formatting import echo_json, table
from ..options import json_option, name_argument, storage_option
from ..results import read_named_study


@click.command("importance")
@name_argument(required=False)
@storage_option
@click.option("--evaluator", type=click.Choice(EVALUATORS), default="ped-anova", show_default=True)
@click.option("--metric", metavar="NAME", help="Which of several objectives.")
@json_option
def importance_command(
    name: str | None, storage: str | None, evaluator: str, metric: str | None, as_json: bool
) -> None:
    """Show how much each parameter mattered for the value; the shares add up to 1.

    fanova and mean-decrease-impurity need scikit-learn; ped-anova does not.
    """
    from ...analysis import importances

    data = read_named_study(name, storage)
    shares = importances(data, evaluator, metric)
    if as_json:
        echo_json({"study": data.name, "evaluator": evaluator, "metric": metric, "importance": shares})
        return
    lines = [[param, f"{share:.3f}", "#" * round(30 * share)] for param, share in shares.items()]
    click.echo(table(["parameter", "importance", ""], lines, right=["importance"]))
