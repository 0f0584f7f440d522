"""``pilotune importance``: which parameters mattered."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from ...analysis import EVALUATORS
from ..formatting import count, echo_json, table
from ..options import json_option, name_argument, storage_option
from ..results import read_named_study

if TYPE_CHECKING:
    from ...analysis import Importances

UNCERTAIN = "not distinguishable from chance"


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

    The interval says how a share varies with the trials that happened to run. "by chance" is what the parameter's
    values reach when they are shuffled between the trials. Below stands what the trials say about the space: ranges
    to widen, choices to leave out, parameters to fix. fanova and mean-decrease-impurity need scikit-learn; ped-anova
    does not.
    """
    from ...analysis import measure

    found = measure(read_named_study(name, storage), evaluator, metric)
    if as_json:
        echo_json(importance_json(found))
        return
    lines = [
        [param, f"{share:.3f}", "{:.2f} to {:.2f}".format(*found.intervals[param]), f"{found.chance[param]:.3f}",
         "#" * round(30 * share) if param in found.certain else UNCERTAIN]
        for param, share in found.shares.items()
    ]  # fmt: skip
    click.echo(table(["parameter", "importance", "90 %", "by chance", ""], lines, right=["importance", "by chance"]))
    click.echo("\n" + "\n".join(explained(found)))


def importance_json(found: Importances) -> dict[str, object]:
    """The importances for ``--json``."""
    return {
        "study": found.study,
        "evaluator": found.evaluator,
        "metric": found.metric,
        "importance": dict(found.shares),
        "interval": {param: list(ends) for param, ends in found.intervals.items()},
        "by_chance": dict(found.chance),
        "distinguishable": {param: param in found.certain for param in found.shares},
        "trials": found.trials,
        "trials_used": found.used,
        "active": dict(found.active),
        "left_out": list(found.left_out),
        "advice": [dataclasses.asdict(each) for each in found.advice],
    }


def explained(found: Importances) -> list[str]:
    """What the shares are computed from, and what they do not say, a line each."""
    infinite = found.complete - found.used
    what = "complete" + (f", without {count(infinite, 'trial')} whose value is not finite" if infinite else "")
    lines = [f"by {found.evaluator}, from {found.used} of {count(found.trials, 'trial')} ({what})"]
    if found.active:
        parts = ", ".join(f"{param} in {count(number, 'trial')}" for param, number in found.active.items())
        lines.append(f"conditional parameters count only in the trials that have them: {parts}")
    if found.left_out:
        lines.append(f"left out, since not every complete trial has them: {', '.join(found.left_out)} "
                     "(--evaluator ped-anova uses them)")  # fmt: skip
    if len(found.shares) == 1:
        lines.append("the only parameter has the share 1, whatever it does")
    if not found.certain:
        lines.append("no parameter can be told from chance with these trials")
    if found.advice:
        lines += ["", "for the next study:", *(f"- {each.text}" for each in found.advice)]
    return lines
