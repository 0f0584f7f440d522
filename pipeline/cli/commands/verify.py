"""``pilotune verify``: check that no result of a study was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ....grammar import count
from ...studies.formatting import pairs
from ...studies.resolve import resolve_study
from ...studies.unfinished_jobs import add_unfinished_jobs
from ..options import json_option, name_argument, storage_option
from ..stdout import echo_json

if TYPE_CHECKING:
    from ...analysis.audit import Audit, AuditFinding

SHOWN = 20
"""Findings of a kind that are printed; JSON has all of them."""


@click.command("verify")
@name_argument(required=False)
@storage_option
@json_option
def verify_command(name: str | None, storage: str | None, as_json: bool) -> int:
    """Check that a study's database agrees with the files that its workers wrote. Nothing is changed.

    Every outcome file in the run directories is accounted for: kept in the database, retried, ignored because it came
    late from an attempt that had been replaced, or waiting for the next driver. Exit code 1 means that a result is
    lost, doubled or altered. May be used while a campaign runs.
    """
    from ...analysis.audit import audit

    study = resolve_study(name, storage)
    result = audit(study.storage, study.name)
    add_unfinished_jobs(result)
    if as_json:
        echo_json(result.to_json())
    else:
        show(result)
    return 0 if result.ok else 1


def show(result: Audit) -> None:
    """Print the counts, then the notes, then the violations."""
    states = ", ".join(f"{number} {state}" for state, number in result.states.items() if number)
    fates = ", ".join(fate_in_words(fate, n) for fate, n in result.outcomes.items() if n and fate != "written")
    written = result.outcomes.get("written", 0)
    lines = [
        ("study", result.study),
        ("trials", f"{result.trials}: {states}" if states else "0"),
        ("outcomes", f"{written} written: {fates}" if written else "none written"),
    ]
    if result.artifacts:
        lines.append(("artifacts", f"of {count(result.artifacts, 'trial')}"))
    click.echo(pairs(lines))
    show_findings("note", result.notes)
    show_findings("violation", result.violations)
    click.echo("No problems found." if result.ok else count(len(result.violations), "violation"))


def fate_in_words(fate: str, amount: int) -> str:
    """How many outcomes had this fate.

    >>> fate_in_words("kept", 20), fate_in_words("fenced", 1)
    ('20 kept', '1 late result of a replaced attempt, ignored')
    """
    if fate != "fenced":
        return f"{amount} {fate}"
    return f"{count(amount, 'late result')} of {'a replaced attempt' if amount == 1 else 'replaced attempts'}, ignored"


def show_findings(head: str, findings: list[AuditFinding]) -> None:
    """Print one line for each finding, SHOWN of them at most."""
    for each in findings[:SHOWN]:
        place = f" ({each.file})" if each.file else ""
        click.echo(f"{head}: {each.what}{place}")
    if len(findings) > SHOWN:
        click.echo(f"{head}: and {len(findings) - SHOWN} more; --json has all of them")
