"""What the commands that show results share: reading the study, and the table of trials."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from ...filesystems import size_in_words
from ..studies.formatting import cut, duration, number, parameter, table
from ..studies.harmless import harmless
from ..studies.resolve import resolve_study

if TYPE_CHECKING:
    from ..analysis import Row, StudyData
    from ..noise.bounds import CautiousBest

UNFINISHED = ("running", "interrupted")
"""States of trials whose last reported step is shown."""

ALIKE = 8
"""Trials that are listed of those that cannot be told apart from the best one."""

REASON_WIDTH = 160
"""Characters of a reason in a table; JSON and files have all of it."""


def read_named_study(name: str | None, storage: str | None, parts: Collection[str] | None = None) -> StudyData:
    """Read the study that a NAME and ``--storage`` mean, or only these parts of its trials.

    Raises as ``resolve_study`` and ``read_study`` do.
    """
    from ..analysis import read_study

    study = resolve_study(name, storage)
    return read_study(study.storage, study.name, parts)


def alike_text(found: CautiousBest | None) -> str:
    """Which other trials cannot be told apart from the best one, as a sentence; empty if there are none."""
    if found is None or not found.alike:
        return ""
    first, more = found.alike[:ALIKE], len(found.alike) - ALIKE
    listed = [str(each) for each in first] + ([f"{more:,} more"] if more > 0 else [])
    names = " and ".join([", ".join(listed[:-1]), listed[-1]]) if len(listed) > 1 else listed[0]
    what = "trial" if len(found.alike) == 1 else "trials"
    return f"{what} {names} cannot be told apart from it"


def trials_table(metrics: Sequence[str], items: Sequence[Row], width: int | None) -> str:
    """One line for each trial.

    Args:
        metrics: Names of the values.
        items: The trials.
        width: Columns of the terminal. If the parameters' columns do not fit, they become one column at the end.
            None: no limit.
    """
    from ..analysis import columns

    names = columns(items)
    reasons = any(row.reason for row in items)
    left = ["trial", "state", *metrics]
    repeated = any(row.repetitions for row in items)
    left += ["runs", "spread"] if repeated else []
    costs = any(row.node_hours for row in items)
    measured = any(row.peak_memory for row in items)
    tried_again = any(row.attempts > max(1, len(row.repetitions)) for row in items)
    right = ["seconds", *(["node-hours"] if costs else []), *(["memory"] if measured else [])]
    right += ["attempts"] if tried_again else []

    def cells(row: Row) -> list[str]:
        at = row.rung if row.rung is not None or row.state not in UNFINISHED else row.step
        state = row.state if at is None else f"{row.state} at {at}"
        spread = " ".join(f"{each:.2g}" for each in row.spread.values())
        runs = [str(len(row.repetitions) or ""), spread] if repeated else []
        return [str(row.number), state, *(number(row.values.get(metric)) for metric in metrics), *runs]

    def more(row: Row) -> list[str]:
        cost = [number(row.node_hours)] if costs else []
        memory = [size_in_words(row.peak_memory) if row.peak_memory else "-"] if measured else []
        return [duration(row.seconds), *cost, *memory, *([str(row.attempts)] if tried_again else [])]

    def why(row: Row) -> list[str]:
        return [cut(harmless(row.reason), REASON_WIDTH)] if reasons else []

    def value(row: Row, name: str) -> str:
        return parameter(row.params[name], number) if name in row.params else ""

    numbers = (name for name in names if any(isinstance(row.params.get(name), float) for row in items))
    flush = ("trial", *metrics, "runs", "spread", *right, *numbers)
    head = [*left, *names, *right]
    lines = [[*cells(row), *(value(row, name) for name in names), *more(row)] for row in items]
    plain = table(head, lines, right=flush)
    if width is not None and max(map(len, plain.splitlines())) > width:
        head = [*left, *right, *(["reason"] if reasons else []), "parameters"]
        compact = [
            " ".join(f"{name}={parameter(value, number)}" for name, value in row.params.items()) for row in items
        ]
        lines = [[*cells(row), *more(row), *why(row), text] for row, text in zip(items, compact, strict=True)]
        return table(head, lines, right=flush, width=width)
    if reasons:
        head, lines = [*head, "reason"], [[*line, *why(row)] for line, row in zip(lines, items, strict=True)]
    return table(head, lines, right=flush, width=width)
