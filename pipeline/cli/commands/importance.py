"""``pilotune importance``: which parameters mattered."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from ....grammar import count
from ...analysis import EVALUATORS
from ...studies.formatting import table
from ..options import json_option, metric_option, name_argument, storage_option
from ..results import read_named_study
from ..stdout import echo_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...analysis import Importances
    from ...analysis.interactions import Interaction

UNCERTAIN = "not distinguishable from chance"
MOST_PAIRS = 5
"""Interactions that are shown; ``--json`` has all."""


@click.command("importance")
@name_argument(required=False)
@storage_option
@click.option("--evaluator", type=click.Choice(EVALUATORS), default="ped-anova", show_default=True)
@metric_option
@json_option
def importance_command(
    name: str | None, storage: str | None, evaluator: str, metric: str | None, as_json: bool
) -> None:
    """Show how much each parameter mattered for the value; the shares add up to 1.

    The interval says how a share varies with the trials that happened to run. "by chance" is what the parameter's
    values reach when they are shuffled between the trials. An interaction is what two parameters explain only
    together, as a share of the variance over the space (by fanova; needs scikit-learn). Below stands what the trials
    say about the space: ranges to widen, choices to leave out, parameters to fix. fanova and mean-decrease-impurity
    need scikit-learn; ped-anova does not.
    """
    from ...analysis import measure

    found = measure(read_named_study(name, storage), evaluator, metric)
    if as_json:
        echo_json(importance_json(found))
        return
    lines = [
        _line(param, share, found.intervals[param], found.chance[param], param in found.certain)
        for param, share in found.shares.items()
    ]
    click.echo(table(["parameter", "importance", "90 %", "by chance", ""], lines, right=["importance", "by chance"]))
    if pairs := pair_lines(found.interactions):
        click.echo()
        click.echo(table(["interaction", "share", "90 %", "by chance", ""], pairs, right=["share", "by chance"]))
    click.echo("\n" + "\n".join(explained(found)))


def _line(what: str, share: float, interval: tuple[float, float], chance: float, certain: bool) -> list[str]:
    bar = "#" * round(30 * share) if certain else UNCERTAIN
    return [what, f"{share:.3f}", "{:.2f} to {:.2f}".format(*interval), f"{chance:.3f}", bar]


def pair_lines(found: Sequence[Interaction]) -> list[list[str]]:
    """The lines of the table of interactions: those that can be told from chance, but no more than MOST_PAIRS."""
    return [
        _line(" x ".join(each.pair), each.share, each.interval, each.chance, True)
        for each in [each for each in found if each.certain][:MOST_PAIRS]
    ]


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
        "interactions": [
            {
                "parameters": list(each.pair),
                "share": each.share,
                "alone": list(each.alone),
                "interval": list(each.interval),
                "by_chance": each.chance,
                "distinguishable": each.certain,
            }
            for each in found.interactions
        ],
        "no_interactions": found.no_interactions or None,
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
    lines += interactions_explained(found)
    if found.advice:
        lines += ["", "for the next study:", *(f"- {each.text}" for each in found.advice)]
    return lines


def interactions_explained(found: Importances) -> list[str]:
    """What the interactions say, a line each; nothing where there can be none."""
    if found.no_interactions:
        return [f"no interactions: {found.no_interactions}"] if len(found.shares) > 1 else []
    certain = [each for each in found.interactions if each.certain]
    if not certain:
        return ["no interaction of two parameters can be told from chance with these trials"]
    lines = ["an interaction is the share of the variance that two parameters explain only together, by fanova"]
    for each in certain:
        if each.dominates:
            one, two = each.pair
            lines.append(
                f"{one} and {two} act together: {each.share:.0%} of the variance, and alone {each.alone[0]:.0%} and "
                f"{each.alone[1]:.0%}; search them in one study, and fix neither by itself"
            )
    return lines
